"""What an X.509 certificate says of a peer; the only place where one is turned into plain values."""

from collections.abc import Sequence

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256, Hash
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.model.identity import ChainLink, PeerCertificate

UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for a certificate, or a part of one, that it can't read; OpenSSL may have read it."""

WEAK_DIGESTS = frozenset({"md5", "sha1"})
"""What nothing may be signed with; OpenSSL's security level 2, which the doors hold every chain to."""


class UnusableCertificateError(Exception):
    """A certificate that no client can be named by; its text is words for the journal."""


def peer_certificate(certificate: x509.Certificate, issuers: Sequence[x509.Certificate] = ()) -> PeerCertificate:
    """
    Return what a client's certificate says of it, once it was verified by the given issuers, its own first.

    Raises UnusableCertificateError where it isn't good for a client (RFC 5280 section 4.2.1.12: an
    extendedKeyUsage with clientAuth is demanded here; `anyExtendedKeyUsage` does not replace it), can't be
    parsed, or carries a name with a control character.
    """
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        raise UnusableCertificateError("it has no extendedKeyUsage, and clientAuth is required") from None
    except UNREADABLE as error:
        raise UnusableCertificateError("its extensions can't be read") from error
    if ExtendedKeyUsageOID.CLIENT_AUTH not in usages:
        raise UnusableCertificateError("its extendedKeyUsage lacks clientAuth")
    try:
        peer = describe(certificate, issuers)
    except UNREADABLE as error:
        raise UnusableCertificateError("its names can't be read") from error
    # Names become clients, and clients appear in header fields and logs.
    if not all(name.isprintable() for name in (peer.common_name or "", *peer.dns, *peer.uris)):
        raise UnusableCertificateError("one of its names holds a control character")
    return peer


def key_identifier(certificate: x509.Certificate) -> str:
    """Return the SHA-256 of the certificate's public key (its subjectPublicKeyInfo), in lower-case hex."""
    return _sha256(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def describe(certificate: x509.Certificate, issuers: Sequence[x509.Certificate] = ()) -> PeerCertificate:
    """
    Return what the certificate says, whether or not a client may use it.

    Raises one of UNREADABLE where it can't be parsed.
    """
    names = _alternative_names(certificate)
    common_names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    common_name = common_names[0].value if len(common_names) == 1 else None
    return PeerCertificate(
        subject=certificate.subject.rfc4514_string(),
        common_name=common_name if isinstance(common_name, str) else None,
        dns=tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        uris=tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
        fingerprint=certificate.fingerprint(SHA256()).hex(),
        spki=key_identifier(certificate),
        serial=f"{certificate.serial_number:x}",
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        issuer=certificate.issuer.rfc4514_string(),
        issuers=tuple(ChainLink(f"{each.serial_number:x}", key_identifier(each)) for each in issuers),
    )


def _alternative_names(certificate: x509.Certificate) -> x509.SubjectAlternativeName:
    try:
        return certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return x509.SubjectAlternativeName([])


def _sha256(octets: bytes) -> str:
    digest = Hash(SHA256())
    digest.update(octets)
    return digest.finalize().hex()

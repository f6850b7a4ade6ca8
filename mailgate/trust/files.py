"""Reading the files of the ``[tls]`` table, with every fault told before a handshake could meet it."""

import stat
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from mailgate.trust.certificate import UNREADABLE, key_identifier
from mailgate.trust.revocation import RevocationList, read_revocation_lists
from mailgate.trust.settings import TrustError, TrustSettings

_BEGIN = b"-----BEGIN CERTIFICATE-----"

PrivateKey = RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey


@dataclass(frozen=True, slots=True)
class Credentials:
    """
    What one generation of the server's trust is made of.

    Attributes:
        chain: the server's leaf, then its intermediates.
        key: the leaf's private key.
        client_cas: the certificates that a client's must chain to.
        lists: the revocation lists of those, by key identifier, or None where there are none.
        crls: those lists, as they came.
        exposed: the mode of the key's file where others than its owner may read it, or None.

    """

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey
    client_cas: tuple[x509.Certificate, ...]
    lists: Mapping[str, RevocationList] | None
    crls: tuple[x509.CertificateRevocationList, ...] = ()
    exposed: int | None = None


def load_credentials(settings: TrustSettings, now: datetime, known: PrivateKey | None = None) -> Credentials:
    """
    Read and check every file. Raises TrustError with one sentence that names the file at fault.

    A key that can't be read any more, since privileges were dropped, may be the `known` one.
    """
    chain, key = load_identity(settings.certificate, settings.private_key, "server certificate", known)
    client_cas = _certificates(settings.client_ca, "client CA")
    _check_dates(settings.certificate, chain[0], now)
    _check_server_usage(settings.certificate, chain[0])
    for certificate in client_cas:
        _check_authority(settings.client_ca, certificate)
    if all(certificate.not_valid_after_utc <= now for certificate in client_cas):
        raise TrustError(f"the client CA file {settings.client_ca} holds no certificate that is still valid")
    lists: Mapping[str, RevocationList] | None = None
    if settings.client_crl is not None:
        octets = _read(settings.client_crl, "CRL")
        lists = read_revocation_lists(settings.client_crl, octets, client_cas, now)
    crls = () if lists is None else tuple(crl for found in lists.values() for crl in found.crls)
    return Credentials(chain, key, client_cas, lists, crls, _exposed(settings.private_key))


def load_identity(
    certificate: Path, private_key: Path, what: str, known: PrivateKey | None = None
) -> tuple[tuple[x509.Certificate, ...], PrivateKey]:
    """
    Return a certificate with its intermediates, and the key that fits it. Raises TrustError.

    The `known` key counts where its file may not be read.
    """
    chain = _certificates(certificate, what)
    key = _private_key(private_key, known)
    try:
        fits = _public(chain[0].public_key()) == _public(key.public_key())
    except UNREADABLE as error:
        raise TrustError(f"the {what} {certificate} is for a kind of key unknown here") from error
    if not fits:
        raise TrustError(f"the private key {private_key} doesn't fit the first certificate in {certificate}")
    return chain, key


def read_authorities(path: Path) -> frozenset[str]:
    """Return the key identifiers of the CAs in a PEM file. Raises TrustError."""
    certificates = _certificates(path, "CA")
    for certificate in certificates:
        _check_authority(path, certificate)
    return frozenset(map(key_identifier, certificates))


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TrustError(f"the {what} file {path} can't be read: {error.strerror}") from error


def _certificates(path: Path, what: str) -> tuple[x509.Certificate, ...]:
    octets = _read(path, what)
    try:
        certificates = tuple(x509.load_pem_x509_certificates(octets))
    except UNREADABLE as error:
        raise TrustError(f"the {what} file {path} holds no certificate in PEM form that can be read") from error
    # Whoever is behind the cut would otherwise not be trusted any more.
    if len(certificates) != octets.count(_BEGIN):
        raise TrustError(f"the {what} file {path} is cut off within a certificate")
    return certificates


def _private_key(path: Path, known: PrivateKey | None) -> PrivateKey:
    try:
        octets = path.read_bytes()
    except OSError as error:
        if known is not None and isinstance(error, PermissionError):
            return known
        raise TrustError(f"the private key file {path} can't be read: {error.strerror}") from error
    return parse_private_key(path, octets)


def parse_private_key(path: Path, octets: bytes) -> PrivateKey:
    """Return the key that a file holds in PEM. Raises TrustError."""
    try:
        key = load_pem_private_key(octets, password=None)
    except TypeError as error:
        raise TrustError(
            f"the private key {path} is encrypted; the gateway needs it without a passphrase"
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise TrustError(f"the private key file {path} holds no key in PEM form that can be read") from error
    if not isinstance(key, RSAPrivateKey | EllipticCurvePrivateKey | Ed25519PrivateKey):
        raise TrustError(f"the private key {path} is of a kind that TLS can't use; RSA, EC and Ed25519 are")
    return key


def _exposed(path: Path) -> int | None:
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError:
        return None
    return mode if mode & (stat.S_IRWXG | stat.S_IRWXO) else None


def _public(key: object) -> bytes:
    # Every public key of cryptography has this method, but its types share no base that says so.
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)  # type: ignore[attr-defined, no-any-return]


def _check_dates(path: Path, certificate: x509.Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begin:
        raise TrustError(f"the server certificate {path} is not valid before {begin:%Y-%m-%d %H:%M} UTC")
    if now >= end:
        raise TrustError(f"the server certificate {path} expired on {end:%Y-%m-%d %H:%M} UTC")


def _check_server_usage(path: Path, certificate: x509.Certificate) -> None:
    try:
        usages = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return
    except UNREADABLE as error:
        raise TrustError(f"the extensions of the server certificate {path} can't be read") from error
    if not {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & set(usages):
        raise TrustError(
            f"the server certificate {path} is not for a server: its extendedKeyUsage lacks serverAuth"
        )


def _check_authority(path: Path, certificate: x509.Certificate) -> None:
    try:
        key_identifier(certificate)
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        # Certificates of version 1 had no way to say that they belong to a CA.
        authority = certificate.version is x509.Version.v1 and certificate.issuer == certificate.subject
    except UNREADABLE as error:
        raise TrustError(f"the key or the extensions of a certificate in {path} can't be read") from error
    else:
        authority = constraints.ca
    if not authority:
        raise TrustError(
            f"the CA file {path} holds {certificate.subject.rfc4514_string()}, which is no CA certificate"
        )

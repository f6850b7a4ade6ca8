"""Certificates as values: what each kind holds (RFC 5280 section 4.2); no file is touched here."""

import datetime
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.ca.errors import CertificateAuthorityError

CLOCK_SKEW = datetime.timedelta(hours=1)
"""How far a certificate's beginning lies back: devices without a battery-backed clock run late."""

RSA_BITS = 3072
"""NIST SP 800-57 part 1, table 2: what is to hold past 2030, as a CA of ten years is."""

MAX_SERIAL_BITS = 159
"""RFC 5280 section 4.1.2.2: positive, and 20 octets at most; older CAs didn't always heed it."""

IssuerKey: TypeAlias = (
    rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey
)
PublicKey: TypeAlias = (
    rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey
)
LeafKey: TypeAlias = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


class KeyType(Enum):
    """What kind of key is made: P-256, or RSA for devices that know nothing else."""

    EC = "ec"
    RSA = "rsa"


class Purpose(Enum):
    """What a leaf is for, as extendedKeyUsage says it."""

    SERVER = ExtendedKeyUsageOID.SERVER_AUTH
    CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH


@dataclass(frozen=True, slots=True)
class Issuer:
    """A CA certificate with its key, judged to belong together."""

    certificate: x509.Certificate
    key: IssuerKey


def new_key(key_type: KeyType) -> LeafKey:
    """Return a new private key from the system's random source."""
    if key_type is KeyType.RSA:
        return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: LeafKey) -> bytes:
    """Return the key as unencrypted PKCS #8 PEM."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def certificate_pem(certificate: x509.Certificate) -> bytes:
    """Return the certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def new_ca(key: LeafKey, common_name: str, now: datetime.datetime, days: int) -> x509.Certificate:
    """Return a self-signed CA certificate that may sign leaves, CRLs, and CAs that have none below them."""
    subject = _subject(common_name)
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    return (
        _builder(subject, subject, key.public_key(), now - CLOCK_SKEW, _end(now, days))
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(_key_usage(certificate_sign=True), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )


def reissued_ca(issuer: Issuer, now: datetime.datetime, days: int, *, shorten: bool) -> x509.Certificate:
    """
    Return the issuer's certificate anew under the same key, with the keyUsage and basicConstraints a CA must have.

    Subject, key identifier, path length and every other extension stay, and so does the serial number, since a
    leaf may name its issuer by it (RFC 5280 section 4.2.1.1): each leaf verifies with the new certificate as with
    the old. It ends `days` from now; without `shorten` not before the old one, however.

    Raises CertificateAuthorityError when another CA issued the certificate: only that CA can do this.
    """
    old, key = issuer.certificate, issuer.key
    if old.issuer != old.subject:
        raise CertificateAuthorityError(
            f"This CA was itself issued by {old.issuer.rfc4514_string()}: only that one can renew it.",
        )
    end = _end(now, days)
    if not shorten:
        end = max(end, old.not_valid_after_utc)
    begin = min(old.not_valid_before_utc, now - CLOCK_SKEW)
    keeps_serial = old.serial_number > 0 and old.serial_number.bit_length() <= MAX_SERIAL_BITS
    builder = _builder(old.subject, old.subject, key.public_key(), begin, end).serial_number(
        old.serial_number if keeps_serial else x509.random_serial_number(),
    )
    for extension in _reissued_extensions(old, key):
        builder = builder.add_extension(extension.value, extension.critical)
    return builder.sign(key, digest_of(key))


def _reissued_extensions(old: x509.Certificate, key: IssuerKey) -> list[x509.Extension[x509.ExtensionType]]:
    kept = {extension.oid: extension for extension in old.extensions}
    constraints = _constraints(old)
    length = constraints.path_length if constraints is not None else None
    usage = key_usage_of(old)
    required = [
        (True, x509.BasicConstraints(ca=True, path_length=length)),
        (True, _key_usage(certificate_sign=True, digital_signature=usage is not None and usage.digital_signature)),
    ]
    for critical, value in required:
        kept[value.oid] = x509.Extension(value.oid, critical, value)
    if x509.SubjectKeyIdentifier.oid not in kept:
        identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        kept[identifier.oid] = x509.Extension(identifier.oid, False, identifier)
    return list(kept.values())


def new_leaf(
    issuer: Issuer,
    key: LeafKey,
    common_name: str | None,
    names: Sequence[x509.GeneralName],
    purpose: Purpose,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """Return what `leaf_of` does, for a subject that has a CN at most."""
    subject = _subject(common_name) if common_name is not None else x509.Name([])
    return leaf_of(issuer, key.public_key(), subject, names, purpose, now, days)


def leaf_of(
    issuer: Issuer,
    key: PublicKey,
    subject: x509.Name,
    names: Sequence[x509.GeneralName],
    purpose: Purpose,
    now: datetime.datetime,
    days: int,
) -> x509.Certificate:
    """
    Return a certificate for one `purpose` and no other, with `names` as its subjectAltName, if there are any.

    It ends `days` from now, or with its CA where that is earlier: past that no one could verify it.
    Without a subject the subjectAltName is critical (RFC 5280 section 4.2.1.6).
    """
    ca = issuer.certificate
    end = min(_end(now, days), ca.not_valid_after_utc)
    begin = min(max(now - CLOCK_SKEW, ca.not_valid_before_utc), end)
    builder = (
        _builder(subject, ca.subject, key, begin, end)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(digital_signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([purpose.value]), critical=False)
        .add_extension(_authority_key_identifier(ca), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=not list(subject))
    return builder.sign(issuer.key, digest_of(issuer.key))


def new_intermediate(
    issuer: Issuer, key: LeafKey, common_name: str, now: datetime.datetime, days: int
) -> x509.Certificate:
    """
    Return the certificate of a CA below this one, which may sign leaves and CRLs, and no further CA.

    Raises CertificateAuthorityError where this CA may have none below it.
    """
    ca = issuer.certificate
    constraints = _constraints(ca)
    if constraints is not None and constraints.path_length == 0:
        raise CertificateAuthorityError(
            "This CA may have no CA below it (its path length is 0): make a new one, or sign leaves with this one."
        )
    end = min(_end(now, days), ca.not_valid_after_utc)
    return (
        _builder(_subject(common_name), ca.subject, key.public_key(), now - CLOCK_SKEW, end)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(certificate_sign=True), critical=True)
        .add_extension(_authority_key_identifier(ca), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(issuer.key, digest_of(issuer.key))
    )


def judged_issuer(
    certificate: x509.Certificate, key: IssuerKey, now: datetime.datetime, *, renewing: bool
) -> Issuer:
    """
    Return certificate and key as an issuer.

    Raises ValueError, its text a clause that says why, when they don't belong together or the
    certificate is no CA's; and unless `renewing`, when it may not sign or isn't valid at `now`.
    """
    if key.public_key() != certificate.public_key():
        raise ValueError("the key is not the certificate's")
    constraints = _constraints(certificate)
    if constraints is not None and not constraints.ca:
        raise ValueError("the certificate is not a CA's (basicConstraints says CA:FALSE)")
    usage = key_usage_of(certificate)
    if not renewing:
        if usage is not None and not usage.key_cert_sign:
            raise ValueError("the certificate may not sign others (keyUsage has no keyCertSign)")
        if now > certificate.not_valid_after_utc:
            ended = certificate.not_valid_after_utc.date()
            raise ValueError(f"the CA expired on {ended}; `mailgate ca init --reissue` renews it")
        if now < certificate.not_valid_before_utc:
            begins = certificate.not_valid_before_utc.isoformat(" ")
            raise ValueError(f"the CA is not valid before {begins}; is the clock right?")
    return Issuer(certificate, key)


def lacks_key_usage(certificate: x509.Certificate) -> bool:
    """Return whether clients that hold a CA to RFC 5280, as Python 3.13 does, refuse it for want of keyUsage."""
    return key_usage_of(certificate) is None


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _end(now: datetime.datetime, days: int) -> datetime.datetime:
    try:
        return now + datetime.timedelta(days=days)
    except OverflowError as error:
        raise CertificateAuthorityError(f"{days} days reach past the year 9999.") from error


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: PublicKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _key_usage(*, digital_signature: bool = False, certificate_sign: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=digital_signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificate_sign,
        crl_sign=certificate_sign,
        encipher_only=False,
        decipher_only=False,
    )


def digest_of(key: IssuerKey) -> hashes.SHA256 | None:
    """Return what a key signs with; Ed25519 and Ed448 bring their own digest (RFC 8410)."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey) else hashes.SHA256()


def _authority_key_identifier(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        identifier = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        identifier = x509.SubjectKeyIdentifier.from_public_key(ca.public_key())
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier)


def _constraints(certificate: x509.Certificate) -> x509.BasicConstraints | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        return None


def key_usage_of(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """Return what a certificate's key may be used for, or None where it doesn't say."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None

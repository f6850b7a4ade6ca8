"""A client's side of a renewal: a request for the next certificate of the same names."""

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7

from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import IssuerKey, digest_of


def request_like(certificate: x509.Certificate, key: IssuerKey) -> bytes:
    """Return a certificate request (PKCS #10, in DER) for the names of a certificate and the given key."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(certificate.subject)
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        pass
    else:
        builder = builder.add_extension(names.value, critical=names.critical)
    return builder.sign(key, digest_of(key)).public_bytes(Encoding.DER)


def issued_for(key: IssuerKey, before: x509.Certificate, packed: bytes) -> x509.Certificate:
    """
    Return the certificate for our key among those that came as PKCS #7, in DER.

    Raises CertificateAuthorityError where there is none, or it is not the one before with other dates.
    """
    try:
        found = [
            each for each in pkcs7.load_der_pkcs7_certificates(packed) if each.public_key() == key.public_key()
        ]
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateAuthorityError("The gateway's answer holds no certificates that can be read.") from error
    if len(found) != 1 or _says(found[0]) != _says(before):
        raise CertificateAuthorityError("The gateway's answer holds no certificate for our key and name.")
    return found[0]


def _says(certificate: x509.Certificate) -> tuple[object, ...]:
    """Return whom a certificate names, and what for."""
    kinds = (x509.SubjectAlternativeName, x509.ExtendedKeyUsage)
    every = {type(extension.value): extension.value for extension in certificate.extensions}
    return certificate.subject, *(every.get(kind) for kind in kinds)

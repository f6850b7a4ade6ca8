"""What lies on disk, read back: the CA's certificate with its key, and the certificates of a file."""

import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from mailgate.ca import files, issue
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import Issuer, IssuerKey


def issuer(certificate_file: Path, key_file: Path, now: datetime.datetime, *, renewing: bool) -> Issuer:
    """
    Return the CA's certificate and key, once they are found fit to issue at the time `now`.

    `renewing` asks no more of them than that the certificate can be made anew under the same key. Raises
    CertificateAuthorityError with a sentence on what is wrong with which file, OSError where one can't be read.
    """
    try:
        certificate = x509.load_pem_x509_certificate(files.read(certificate_file))
    except ValueError as error:
        raise CertificateAuthorityError(f"{certificate_file} holds no readable PEM certificate.") from error
    key = private_key(key_file)
    try:
        return issue.judged_issuer(certificate, key, now, renewing=renewing)
    except ValueError as error:
        raise CertificateAuthorityError(
            f"{certificate_file} with {key_file} can't issue certificates: {error}.",
        ) from error


def certificates_in(path: Path) -> list[x509.Certificate]:
    """Return the certificates of a file; one that is missing, or holds none, has none to lose."""
    if not path.exists():
        return []
    try:
        return x509.load_pem_x509_certificates(files.read(path))
    except (ValueError, CertificateAuthorityError):
        return []


def private_key(path: Path) -> IssuerKey:
    """Return the private key in a PEM file. Raises CertificateAuthorityError with a sentence, or OSError."""
    content = files.read(path)
    try:
        key = serialization.load_pem_private_key(content, password=None)
    except TypeError as error:
        raise CertificateAuthorityError(
            f"{path} is encrypted: put an unencrypted copy (`openssl pkey -in … -out …`) in its "
            "place for as long as it is used.",
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise CertificateAuthorityError(f"{path} holds no readable PEM private key.") from error
    if not isinstance(key, IssuerKey):
        raise CertificateAuthorityError(f"{path} is neither an RSA, an EC nor an Ed25519 key.")
    return key

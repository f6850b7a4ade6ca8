"""Renewing a client's certificate at its own request: the key may change, the identity may not."""

import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from mailgate.ca.issue import Issuer, PublicKey, Purpose, leaf_of

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    InvalidSignature,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What cryptography raises for a request that it can't read."""

_SHORTEST_RSA, _LONGEST_RSA = 2048, 4096
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


class RenewalRefusedError(Exception):
    """A request that no certificate is issued for; its text is a sentence for the client."""


def renewed(issuer: Issuer, request: bytes, current: bytes, now: datetime.datetime, days: int) -> x509.Certificate:
    """
    Return the certificate that follows the `current` one, for the key in a `request` (PKCS #10), both in DER.

    It is for clients only, with the subject and subjectAltName that the current one has (RFC 7030 section 4.2.2),
    and lasts `days` from now or as long as its CA. Raises RenewalRefusedError.
    """
    try:
        asked = x509.load_der_x509_csr(request)
        signed = asked.is_signature_valid
        names = _alternative_names(asked.extensions)
        subject = asked.subject
    except _UNREADABLE as error:
        raise RenewalRefusedError("the body is no certificate request (PKCS #10) that can be read") from error
    if not signed:
        raise RenewalRefusedError("the request isn't signed with its own key")
    key = _fit(asked.public_key())
    if key is None:
        raise RenewalRefusedError(
            "the request's key must be RSA of 2048 to 4096 bits, P-256, P-384, P-521 or Ed25519"
        )
    before = x509.load_der_x509_certificate(current)
    if subject != before.subject:
        raise RenewalRefusedError(
            f"the request's subject must be that of the certificate: {before.subject.rfc4514_string()}"
        )
    kept = _alternative_names(before.extensions)
    if set(names) != set(kept):
        raise RenewalRefusedError(
            "the request's subjectAltName must have the names of the certificate, all and no other"
        )
    return leaf_of(issuer, key, before.subject, kept, Purpose.CLIENT, now, days)


def _fit(key: object) -> PublicKey | None:
    match key:
        case rsa.RSAPublicKey() if _SHORTEST_RSA <= key.key_size <= _LONGEST_RSA:
            return key
        case ec.EllipticCurvePublicKey() if key.curve.name in _CURVES:
            return key
        case ed25519.Ed25519PublicKey():
            return key
    return None


def _alternative_names(extensions: x509.Extensions) -> tuple[x509.GeneralName, ...]:
    try:
        return tuple(extensions.get_extension_for_class(x509.SubjectAlternativeName).value)
    except x509.ExtensionNotFound:
        return ()

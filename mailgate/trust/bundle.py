"""How the CAs of a bundle stand to each other."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags
from OpenSSL.SSL import X509VerificationCodes

from mailgate.model.identity import ChainLink
from mailgate.trust.certificate import key_identifier

_CODES = X509VerificationCodes
_NOT_BY_THIS = frozenset(
    {
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT,
        _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY,
        _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE,
        _CODES.ERR_CERT_SIGNATURE_FAILURE,
        _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN,
    }
)
"""With these, OpenSSL says that a certificate was issued by another one. Any other fault is that of a child."""


@dataclass(slots=True, eq=False)
class BundledCa:
    """
    A CA of a bundle.

    Attributes:
        link: its serial number and key.
        expired: whether it had expired when the bundle was loaded.
        parents: those of the bundle that have issued it, under another key than its own.

    """

    certificate: x509.Certificate
    link: ChainLink
    expired: bool
    parents: list["BundledCa"] = field(default_factory=list)


def link_of(certificate: x509.Certificate) -> ChainLink:
    """Return what is kept of a certificate in a chain."""
    return ChainLink(f"{certificate.serial_number:x}", key_identifier(certificate))


def linked(certificates: Sequence[x509.Certificate], now: datetime) -> list[BundledCa]:
    """
    Return the CAs with their parents.

    Who issued whom is OpenSSL's judgement, as in a handshake: its way to compare names, and any digest.
    """
    bundle = [
        BundledCa(certificate, link_of(certificate), certificate.not_valid_after_utc <= now)
        for certificate in certificates
    ]
    for child in bundle:
        child.parents = [
            parent
            for parent in bundle
            if parent.link.spki != child.link.spki and _issued(child.certificate, parent.certificate)
        ]
    return bundle


@lru_cache(maxsize=10_000)
def _issued(child: x509.Certificate, parent: x509.Certificate) -> bool:
    store = X509Store()
    store.add_cert(X509.from_cryptography(parent))
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    store.set_time(child.not_valid_before_utc + timedelta(seconds=1))
    try:
        X509StoreContext(store, X509.from_cryptography(child)).verify_certificate()
    except X509StoreContextError as error:
        if error.errors[0] == _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
            return _signed(child, parent)
        return error.errors[0] not in _NOT_BY_THIS
    return True


def _signed(child: x509.Certificate, parent: x509.Certificate) -> bool:
    """Tell whether what OpenSSL takes for self-signed, by names alone, is signed by another key of its name."""
    try:
        child.verify_directly_issued_by(parent)
    except InvalidSignature:
        return False
    except (ValueError, TypeError):
        # Of another name, or by a digest that nobody computes any more: then rather one parent too many.
        return child.issuer == parent.subject
    return True

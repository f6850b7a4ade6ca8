"""What the doors would make of a certificate, found out without a handshake."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from OpenSSL.crypto import X509, X509Store, X509StoreContext, X509StoreContextError, X509StoreFlags

from mailgate.model.identity import PeerCertificate
from mailgate.trust.authorities import Authorities
from mailgate.trust.certificate import (
    UNREADABLE,
    WEAK_DIGESTS,
    UnusableCertificateError,
    key_identifier,
    peer_certificate,
)
from mailgate.trust.reasons import of_verification

_SHORTEST_RSA, _SHORTEST_EC = 2048, 224
"""In bits; OpenSSL's security level 2 (112 bits of security), which the doors hold every chain to."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: whether it is as it should be, and in words what it is."""

    about: str
    good: bool
    words: str


@dataclass(frozen=True, slots=True)
class Examination:
    """All that was found, and who the peer would be; None where the handshake would be refused."""

    findings: tuple[Finding, ...]
    peer: PeerCertificate | None


def examine(
    leaf: x509.Certificate,
    sent: Sequence[x509.Certificate],
    authorities: Authorities,
    now: datetime,
    lists_as_of: datetime | None = None,
) -> Examination:
    """
    Examine a client's certificate, and those it would send with it, as of `now`.

    Whether a CRL is overdue is told as of `lists_as_of`, if that is given: another day will have another one.
    """
    findings = [_dates(leaf, now)]
    chain = _verified(leaf, sent, authorities, now)
    if isinstance(chain, Finding):
        return Examination((*findings, chain), None)
    findings.append(Finding("chain", True, " ← ".join(_name(each) for each in chain)))
    findings += _weaknesses(chain)
    if not _may_sign(leaf):
        why = "its keyUsage has neither digitalSignature nor keyAgreement"
        return Examination((*findings, Finding("purpose", False, why)), None)
    try:
        peer = peer_certificate(leaf, chain[1:])
    except UnusableCertificateError as error:
        return Examination((*findings, Finding("purpose", False, str(error))), None)
    findings.append(Finding("purpose", True, "its extendedKeyUsage has clientAuth"))
    today = lists_as_of or now
    objection = authorities.object_to(peer, today)
    if objection is not None:
        findings.append(Finding("revocation", False, str(objection)))
    else:
        findings.append(Finding("revocation", True, _lists(chain, authorities, today)))
    return Examination(tuple(findings), peer if all(each.good for each in findings) else None)


def _dates(leaf: x509.Certificate, now: datetime) -> Finding:
    begin, end = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    span = f"{begin:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
    if now < begin:
        return Finding("dates", False, f"{span}: it is not yet valid")
    if now >= end:
        return Finding("dates", False, f"{span}: it has expired")
    return Finding("dates", True, f"{span}: {(end - now).days} days left")


def _verified(
    leaf: x509.Certificate, sent: Sequence[x509.Certificate], authorities: Authorities, now: datetime
) -> list[x509.Certificate] | Finding:
    """Return the chain as OpenSSL builds it, up to a CA's issuer that is trusted too, or why there is none."""
    store = X509Store()
    for authority in authorities.certificates:
        store.add_cert(X509.from_cryptography(authority))
    store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    # The leaf's own dates have been judged: what is asked here is whether its issuers were good meanwhile.
    last = leaf.not_valid_after_utc - timedelta(seconds=1)
    store.set_time(min(max(now, leaf.not_valid_before_utc), last))
    others = [X509.from_cryptography(each) for each in sent]
    try:
        verified = X509StoreContext(store, X509.from_cryptography(leaf), others).get_verified_chain()
        chain = [each.to_cryptography() for each in verified]
    except X509StoreContextError as error:
        code, depth = error.errors[:2]
        return Finding("chain", False, f"{of_verification(code, depth)} (issuer: {leaf.issuer.rfc4514_string()})")
    except UNREADABLE:
        return Finding("chain", False, "a certificate of the chain can't be read")
    return [*chain, *authorities.above(chain[-1])]


def _may_sign(leaf: x509.Certificate) -> bool:
    """Tell whether OpenSSL would take the key for a client's, as far as its keyUsage goes."""
    try:
        usage = leaf.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return True
    except UNREADABLE:
        return False
    return usage.digital_signature or usage.key_agreement


def _weaknesses(chain: Sequence[x509.Certificate]) -> Iterator[Finding]:
    for depth, certificate in enumerate(chain):
        key = certificate.public_key()
        shortest = _SHORTEST_RSA if isinstance(key, RSAPublicKey) else _SHORTEST_EC
        if isinstance(key, RSAPublicKey | EllipticCurvePublicKey) and key.key_size < shortest:
            yield Finding(
                "key", False, f"{_name(certificate)} has a key of {key.key_size} bits, which is too short"
            )
        digest = certificate.signature_hash_algorithm
        # Nobody looks at the signature of what is trusted as it is.
        if depth < len(chain) - 1 and digest is not None and digest.name in WEAK_DIGESTS:
            yield Finding("key", False, f"{_name(certificate)} is signed with {digest.name}, which is too weak")


def _lists(chain: Sequence[x509.Certificate], authorities: Authorities, now: datetime) -> str:
    lists = authorities.lists
    if lists is None:
        return "there is no client_crl, so nothing is ever revoked"
    found = [lists[key] for key in map(key_identifier, chain[1:]) if key in lists]
    return "; ".join(
        f"not in the CRL of {each.subject} of {each.this_update:%Y-%m-%d %H:%M}, the next "
        f"{'OVERDUE since' if each.expired(now) else 'due'} {each.next_update:%Y-%m-%d %H:%M} UTC"
        for each in found
    )


def _name(certificate: x509.Certificate) -> str:
    return certificate.subject.rfc4514_string() or f"serial {certificate.serial_number:x}"

"""What one handshake learns of its peer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from cryptography import x509
from OpenSSL.crypto import X509

from mailgate.model.identity import PeerCertificate
from mailgate.trust.authorities import Objection
from mailgate.trust.certificate import UNREADABLE, UnusableCertificateError, describe, peer_certificate
from mailgate.trust.reasons import OF_LISTS, REVOKED, of_verification


@dataclass(frozen=True, slots=True)
class RefusedCertificate:
    """
    A certificate that ended a handshake.

    Attributes:
        reason: why, in words.
        subject, issuer, serial, names: whose it was; names as ``DNS:…`` and ``URI:…``. Empty where it can't be
            parsed.

    """

    reason: str
    subject: str = ""
    issuer: str = ""
    serial: str = ""
    names: tuple[str, ...] = ()


class ChainJudge(Protocol):
    """What is known of CAs, beyond what OpenSSL was told."""

    def object_to(self, peer: PeerCertificate) -> Objection | None:
        """Return why a peer whose chain was verified is not accepted, or None."""


class Handshake:
    """
    Judges the peer's certificates as OpenSSL walks the chain, and remembers what it saw.

    Attributes:
        peer: who the leaf names, once it was accepted. The peer has proved that the key is its own only when
            the handshake is complete.
        refused: the certificate that was not accepted, or None.

    """

    def __init__(self, alpn: Sequence[bytes], judge: ChainJudge) -> None:
        self._alpn = alpn
        self._judge = judge
        self._issuers: list[x509.Certificate] = []
        self.peer: PeerCertificate | None = None
        self.refused: RefusedCertificate | None = None

    def judge(self, certificate: X509, error: int, depth: int, *, accepted: bool) -> bool:
        """Return whether the handshake may go on, for each certificate from the CA down to the leaf (depth 0)."""
        try:
            parsed = certificate.to_cryptography()
        except UNREADABLE:
            # An exception would leave this callback as a traceback, which any stranger could ask for.
            why = (
                "its certificate was not accepted: it can't be read" if accepted else of_verification(error, depth)
            )
            self.refused = RefusedCertificate(why)
            return False
        if not accepted and (error in OF_LISTS or (error == REVOKED and depth)):
            # Whether a list is missing, late or another CA's, and which CA is revoked on the way up, is judged
            # with the rest, once the chain is verified.
            return True
        if not accepted:
            self.refused = _refused(parsed, of_verification(error, depth))
            return False
        if depth:
            self._issuers.insert(0, parsed)
            return True
        return self._judge_leaf(parsed)

    def _judge_leaf(self, leaf: x509.Certificate) -> bool:
        issuers, self._issuers = self._issuers, []
        try:
            peer = peer_certificate(leaf, issuers)
        except UnusableCertificateError as unusable:
            self.refused = _refused(leaf, f"its certificate was not accepted: {unusable}")
            return False
        objection = self._judge.object_to(peer)
        if objection is not None:
            self.refused = _refused(leaf, str(objection))
            return False
        self.peer = peer
        return True

    def select_protocol(self, offered: Sequence[bytes]) -> bytes | None:
        """Return the first of the door's protocols that the peer offers by ALPN."""
        return next((protocol for protocol in self._alpn if protocol in offered), None)


def _refused(certificate: x509.Certificate, reason: str) -> RefusedCertificate:
    try:
        seen = describe(certificate)
    except UNREADABLE:
        return RefusedCertificate(reason)
    return RefusedCertificate(reason, seen.subject, seen.issuer, seen.serial, seen.names)

"""The CAs that clients may come from, and what they have revoked since."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from cryptography import x509
from cryptography.exceptions import InvalidSignature

from mailgate.model.identity import ChainLink, PeerCertificate
from mailgate.trust.certificate import key_identifier
from mailgate.trust.revocation import RevocationList


@dataclass(frozen=True, slots=True)
class Objection:
    """
    Why a certificate is not accepted although its chain was verified.

    Attributes:
        reason: in words that follow "it was not accepted:".
        whose: words for the certificate at fault: the peer's own or one above it.
        revoked: whether it, or one above it, is revoked.

    """

    reason: str
    whose: str
    revoked: bool = False

    def __str__(self) -> str:
        return f"{self.whose} was not accepted: {self.reason}"


class Authorities:
    """
    One generation of trusted CAs and their revocation lists.

    `lists` is by the CAs' key identifiers, and None where nothing is ever revoked. CAs are known by their keys, so
    that a CA certificate which was renewed under the same key is the same CA.
    """

    def __init__(
        self,
        certificates: Sequence[x509.Certificate],
        lists: Mapping[str, RevocationList] | None,
        *,
        use_expired: bool,
    ) -> None:
        self.certificates = tuple(certificates)
        self.lists = lists
        self._use_expired = use_expired
        self._keys = frozenset(map(key_identifier, certificates))

    @property
    def revoked(self) -> int | None:
        """How many certificates are revoked, or None where nothing is ever revoked."""
        return None if self.lists is None else sum(len(found.serials) for found in self.lists.values())

    def trusts(self, certificate: x509.Certificate) -> bool:
        """Tell whether a CA is one of these, by its key."""
        return key_identifier(certificate) in self._keys

    def issuer_of(self, certificate: x509.Certificate) -> x509.Certificate | None:
        """Return the trusted CA that issued a certificate, or None; also where that is self-issued."""
        if certificate.issuer == certificate.subject:
            return None
        for authority in self.certificates:
            if authority.subject == certificate.issuer:
                try:
                    certificate.verify_directly_issued_by(authority)
                except (ValueError, TypeError, InvalidSignature):
                    continue
                return authority
        return None

    def object_to(self, peer: PeerCertificate, now: datetime) -> Objection | None:
        """
        Return why a peer whose chain was once verified is not accepted, or None.

        Holds for a handshake as for a connection that has lived through a reload.
        """
        chain = peer.chain
        if not any(link.spki in self._keys for link in chain):
            return Objection("its CA is not trusted any more", _OWN)
        if self.lists is None:
            return None
        for depth, (link, issuer) in enumerate(pairwise(chain)):
            if link.spki in self._keys and issuer.spki not in self._keys:
                # This one is trusted as it is; nothing is known of what is above it.
                return None
            reason = self._why_revoked(self.lists, link, issuer, now)
            if reason is not None:
                return Objection(reason, _OWN if depth == 0 else _ABOVE, revoked=reason == _REVOKED)
        return None

    def _why_revoked(
        self, lists: Mapping[str, RevocationList], link: ChainLink, issuer: ChainLink, now: datetime
    ) -> str | None:
        found = lists.get(issuer.spki)
        if found is None:
            return "there is no CRL of its CA"
        if link.serial in found.serials:
            return _REVOKED
        if found.expired(now) and not self._use_expired:
            return f"the CRL of its CA expired on {found.next_update:%Y-%m-%d %H:%M} UTC"
        return None


_OWN = "its certificate"
_ABOVE = "a CA certificate in its chain"
_REVOKED = "it is revoked"

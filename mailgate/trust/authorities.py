"""The CAs that clients may come from, and what they have revoked since."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import pairwise

from cryptography import x509

from mailgate.model.identity import ChainLink, PeerCertificate
from mailgate.trust.bundle import BundledCa, link_of, linked
from mailgate.trust.revocation import RevocationList

_OWN = "its certificate"
_ABOVE = "a CA certificate in its chain"
_REVOKED = "it is revoked"


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
    that a CA certificate which was renewed under the same key is the same CA. One that has expired by `now` need
    have no list, but what its last one revoked stays revoked.
    """

    def __init__(
        self,
        certificates: Sequence[x509.Certificate],
        lists: Mapping[str, RevocationList] | None,
        now: datetime,
        *,
        use_expired: bool,
    ) -> None:
        self.certificates = tuple(certificates)
        self.lists = lists
        self._use_expired = use_expired
        self._bundle: dict[str, list[BundledCa]] = {}
        for authority in linked(certificates, now):
            self._bundle.setdefault(authority.link.spki, []).append(authority)

    @property
    def revoked(self) -> int | None:
        """How many certificates are revoked, or None where nothing is ever revoked."""
        return None if self.lists is None else sum(len(found.serials) for found in self.lists.values())

    def trusts(self, certificate: x509.Certificate) -> bool:
        """Tell whether a CA is one of these, by its key."""
        return link_of(certificate).spki in self._bundle

    def above(self, certificate: x509.Certificate) -> Iterator[x509.Certificate]:
        """Yield the trusted CAs above one that is trusted, upwards, the first of several ways."""
        return (ca.certificate for ca in self._above(link_of(certificate).spki))

    def _above(self, key: str) -> Iterator[BundledCa]:
        seen = {key}
        while parents := [parent for ca in self._bundle.get(key, ()) for parent in ca.parents]:
            key = parents[0].link.spki
            if key in seen:
                return
            seen.add(key)
            yield parents[0]

    def object_to(self, peer: PeerCertificate, now: datetime) -> Objection | None:
        """
        Return why a peer whose chain was once verified is not accepted, or None.

        Holds for a handshake as for a connection that has lived through a reload: what is above the first CA that
        is trusted is that of this generation, whatever was there when the chain was verified.
        """
        depth = self._first_trusted(peer.chain)
        if depth is None:
            return Objection("its CA is not trusted any more", _OWN)
        return self._object_to_chain(peer.chain[: depth + 1], now)

    def complete(self, peer: PeerCertificate) -> PeerCertificate:
        """Return the peer with all CAs above it: above the first trusted one, those of this generation."""
        depth = self._first_trusted(peer.chain)
        if depth is None:
            return peer
        above = tuple(ca.link for ca in self._above(peer.chain[depth].spki))
        issuers = (*peer.issuers[:depth], *above)
        return peer if issuers == peer.issuers else replace(peer, issuers=issuers)

    def _first_trusted(self, chain: Sequence[ChainLink]) -> int | None:
        # Where there are issuers, the leaf's own key vouches for nothing, even if it is a CA's.
        depths = range(1, len(chain)) if len(chain) > 1 else range(1)
        return next((depth for depth in depths if chain[depth].spki in self._bundle), None)

    def _object_to_chain(self, chain: Sequence[ChainLink], now: datetime) -> Objection | None:
        if self.lists is None:
            return None
        for depth, (link, issuer) in enumerate(pairwise(chain)):
            reason = self._why(self.lists, link, issuer, now)
            if reason is not None:
                return Objection(reason, _OWN if depth == 0 else _ABOVE, revoked=reason == _REVOKED)
        reason = self._why_not_any(self.lists, self._bundle[chain[-1].spki], now, frozenset())
        whose = _OWN if len(chain) == 1 else _ABOVE
        return None if reason is None else Objection(reason, whose, revoked=reason == _REVOKED)

    def _why_not_any(
        self, lists: Mapping[str, RevocationList], cas: Sequence[BundledCa], now: datetime, seen: frozenset[str]
    ) -> str | None:
        """Return why none of some CAs is good, by those above it that are trusted too; None if one of them is."""
        reasons = [self._why_not(lists, ca, now, seen) for ca in cas]
        return None if None in reasons or not reasons else reasons[0]

    def _why_not(
        self, lists: Mapping[str, RevocationList], ca: BundledCa, now: datetime, seen: frozenset[str]
    ) -> str | None:
        parents = [parent for parent in ca.parents if parent.link.spki not in seen]
        seen |= {ca.link.spki}
        reasons = [
            self._why_below(lists, ca.link, parent, now) or self._why_not(lists, parent, now, seen)
            for parent in parents
        ]
        # One without a CA above it is trusted as it is.
        return None if None in reasons or not reasons else reasons[0]

    def _why_below(
        self, lists: Mapping[str, RevocationList], link: ChainLink, parent: BundledCa, now: datetime
    ) -> str | None:
        if not parent.expired:
            return self._why(lists, link, parent.link, now)
        last = lists.get(parent.link.spki)
        return _REVOKED if last is not None and link.serial in last.serials else None

    def _why(
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

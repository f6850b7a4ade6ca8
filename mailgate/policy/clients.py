"""Which client a certificate is: default deny, and never a guess."""

from collections.abc import Iterable

from mailgate.model.address import Address
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.policy.rules import ClientRules

WILDCARD = "*"

_SPIFFE = "spiffe://"

# The client is told: other entries' names are not its business.
_AMBIGUOUS = Refusal(RefusalCode.CLIENT_UNKNOWN, "the certificate matches more than one client")
_FOREIGN = Refusal(RefusalCode.CLIENT_UNKNOWN, "the certificate names a client that is bound to another CA")


class ClientDirectory:
    """
    The ``[clients]`` table, made for looking certificates up.

    Raises ValueError with a sentence where two entries claim the same certificate name and no CA tells them apart.
    """

    def __init__(self, entries: Iterable[ClientRules]) -> None:
        self._entries: dict[str, ClientRules] = {}
        self._by_certificate: dict[str, list[str]] = {}
        for rules in entries:
            self._entries[rules.label] = rules
            for name in dict.fromkeys(rules.certificates):
                claims = self._by_certificate.setdefault(name, [])
                for owner in claims:
                    if not _apart(self._entries[owner], rules):
                        raise ValueError(
                            f'clients "{owner}" and "{rules.label}" both claim the certificate {name}'
                        )
                claims.append(rules.label)

    def rules(self, label: str) -> ClientRules | None:
        """Return the entry of that name, or None where a reload has removed it."""
        return self._entries.get(label)

    def bounces(self, client: str) -> Address | None:
        """
        Return whom to tell of this client's messages that ended undelivered, or None for nobody.

        A client without an entry of its own is one of the wildcard entry, if there is one.
        """
        rules = self._entries.get(client) or self._entries.get(WILDCARD)
        return None if rules is None else rules.bounces

    def identify(self, certificate: PeerCertificate, door: str) -> ClientIdentity | Refusal:
        """
        Return the client that the certificate proves, if it may use the door.

        Refusals: `client_unknown` for a certificate that no entry names, or more than one, or one that is bound to
        another CA; `client_disabled`; `door_not_allowed`.
        """
        identity = self._proved(certificate)
        if isinstance(identity, Refusal):
            return identity
        rules = self._entries[identity.label]
        if not rules.enabled:
            return Refusal(RefusalCode.CLIENT_DISABLED, f'the client "{identity.client}" is disabled')
        if rules.doors is not None and door not in rules.doors:
            return Refusal(
                RefusalCode.DOOR_NOT_ALLOWED, f'the client "{identity.client}" may not use the door "{door}"'
            )
        return identity

    def claims(self, certificate: PeerCertificate) -> frozenset[str]:
        """Return the labels of all entries that name the certificate, whether or not they take it."""
        return frozenset(label for name in _names(certificate) for label in self._by_certificate.get(name, ()))

    def _proved(self, certificate: PeerCertificate) -> ClientIdentity | Refusal:
        claims = self.claims(certificate)
        labels = {label for label in claims if self._entries[label].trusts(certificate)}
        if len(labels) > 1:
            return _AMBIGUOUS
        if claims and not labels:
            return _FOREIGN
        identity = self._named(labels.pop(), certificate) if labels else self._wildcard(certificate)
        if identity is None:
            return Refusal(RefusalCode.CLIENT_UNKNOWN, "no client entry names this certificate")
        return identity if self._entries[identity.label].trusts(certificate) else _FOREIGN

    def _named(self, label: str, certificate: PeerCertificate) -> ClientIdentity:
        return ClientIdentity(client=label, label=label, certificate=certificate)

    def _wildcard(self, certificate: PeerCertificate) -> ClientIdentity | None:
        names = (certificate.common_name, *certificate.dns, *certificate.uris)
        name = next((name for name in names if name), None)
        # A certificate that only shares its name with an entry must not inherit that client's ids and keys.
        if WILDCARD not in self._entries or name is None or name in self._entries:
            return None
        return ClientIdentity(client=name, label=WILDCARD, certificate=certificate)


def _names(certificate: PeerCertificate) -> Iterable[str]:
    """Return what a certificate can be named by in an entry."""
    if certificate.common_name is not None:
        yield f"CN:{certificate.common_name}"
    yield from (f"DNS:{name}" for name in certificate.dns)
    for uri in certificate.uris:
        # A SPIFFE identity is the certificate's only URI (X509-SVID, section 2): of several, none is proved.
        if len(certificate.uris) == 1 or not uri.lower().startswith(_SPIFFE):
            yield f"URI:{uri}"
    yield f"SHA256:{certificate.fingerprint}"
    yield f"SPKI:{certificate.spki}"


def _apart(one: ClientRules, other: ClientRules) -> bool:
    """Tell whether no certificate can be of a CA that both entries are bound to."""
    return bool(one.authorities and other.authorities and not one.authorities & other.authorities)

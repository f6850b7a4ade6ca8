"""Which client a certificate is: default deny, and never a guess."""

from collections.abc import Iterable

from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.policy.rules import ClientRules

WILDCARD = "*"


class ClientDirectory:
    """
    The ``[clients]`` table, made for looking certificates up.

    Raises ValueError with a sentence where two entries claim the same certificate name.
    """

    def __init__(self, entries: Iterable[ClientRules]) -> None:
        self._entries: dict[str, ClientRules] = {}
        self._by_certificate: dict[str, str] = {}
        for rules in entries:
            self._entries[rules.label] = rules
            for name in rules.certificates:
                owner = self._by_certificate.setdefault(name, rules.label)
                if owner != rules.label:
                    raise ValueError(f'clients "{owner}" and "{rules.label}" both claim the certificate {name}')

    def rules(self, label: str) -> ClientRules | None:
        """Return the entry of that name, or None where a reload has removed it."""
        return self._entries.get(label)

    def identify(self, certificate: PeerCertificate, door: str) -> ClientIdentity | Refusal:
        """
        Return the client that the certificate proves, if it may use the door.

        Refusals: `client_unknown` for a certificate that no entry names, or more than one;
        `client_disabled`; `door_not_allowed`.
        """
        labels = {self._by_certificate[name] for name in _names(certificate) if name in self._by_certificate}
        if len(labels) > 1:
            listed = ", ".join(sorted(labels))
            return Refusal(RefusalCode.CLIENT_UNKNOWN, f"the certificate matches more than one client: {listed}")
        identity = self._named(labels.pop(), certificate) if labels else self._wildcard(certificate)
        if identity is None:
            return Refusal(RefusalCode.CLIENT_UNKNOWN, "no client entry names this certificate")
        rules = self._entries[identity.label]
        if not rules.enabled:
            return Refusal(RefusalCode.CLIENT_DISABLED, f'the client "{identity.client}" is disabled')
        if rules.doors is not None and door not in rules.doors:
            return Refusal(
                RefusalCode.DOOR_NOT_ALLOWED, f'the client "{identity.client}" may not use the door "{door}"'
            )
        return identity

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
    if certificate.common_name is not None:
        yield f"CN:{certificate.common_name}"
    yield from certificate.names
    yield f"SHA256:{certificate.fingerprint}"
    yield f"SPKI:{certificate.spki}"

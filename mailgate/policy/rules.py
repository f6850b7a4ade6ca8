"""What one entry of ``[clients]`` grants."""

from dataclasses import dataclass

from mailgate.model.address import Address


@dataclass(frozen=True, slots=True)
class AddressPattern:
    """
    Which addresses a rule names: ``*``, ``*@example.com``, ``*@*.example.com`` or one address.

    Attributes:
        local: a local part, or None for any; compared without regard to ASCII case.
        domain: a domain in A-labels, or None for any.
        subdomains: whether `domain` stands for everything below it (and not for itself).

    """

    local: str | None
    domain: str | None
    subdomains: bool = False

    def matches(self, address: Address) -> bool:
        """Tell whether the pattern names the address."""
        if self.local is not None and self.local.lower() != address.local.lower():
            return False
        if self.domain is None:
            return True
        if self.subdomains:
            return address.domain.endswith("." + self.domain)
        return address.domain == self.domain


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `period` seconds, in the long run; bursts up to `count`."""

    count: int
    period: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRules:
    """
    An entry of ``[clients]``.

    Attributes:
        label: the entry's name in the settings; ``*`` is the wildcard entry.
        certificates: what a certificate must show, as ``CN:…``, ``DNS:…``, ``URI:…``, ``SHA256:…``
            (lower-case hex of the certificate's DER) or ``SPKI:…`` (lower-case hex); any one of them suffices.
            Empty for the wildcard entry.
        senders: bind the envelope's sender and every address of the header From.
        recipients: bind every envelope recipient.
        doors: the doors this client may use, or None for every one.
        rate, quota: messages over time, or None.
        max_message: octets of the composed message, or None for the gateway's own limit.
        enabled: False refuses the client by name.

    """

    label: str
    certificates: tuple[str, ...]
    senders: tuple[AddressPattern, ...]
    recipients: tuple[AddressPattern, ...] = (AddressPattern(None, None),)
    doors: frozenset[str] | None = None
    rate: Rate | None = None
    quota: Rate | None = None
    max_message: int | None = None
    enabled: bool = True

"""What one entry of ``[clients]`` grants."""

from dataclasses import dataclass
from string import ascii_lowercase, ascii_uppercase

from mailgate.model.address import Address
from mailgate.model.identity import PeerCertificate
from mailgate.wire.address import display, to_a_label
from mailgate.wire.units import format_rate, parse_rate

# str.lower would also make letters equal that only look alike, such as the Kelvin sign and k.
_LOWER = str.maketrans(ascii_uppercase, ascii_lowercase)


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

    @classmethod
    def parse(cls, text: str) -> "AddressPattern":
        """Read a pattern as settings write it. Raises ValueError with a sentence."""
        if text == "*":
            return cls(None, None)
        local, at, domain = text.rpartition("@")
        if not at or not local or not domain or ("*" in local and local != "*"):
            raise ValueError(
                f'"{text}" is not an address pattern: write "*", "*@example.com", "*@*.example.com" or one address'
            )
        below = domain.removeprefix("*.")
        return cls(None if local == "*" else local, to_a_label(below), subdomains=below != domain)

    def __str__(self) -> str:
        if self.local is None and self.domain is None:
            return "*"
        domain = display(f"@{self.domain}").removeprefix("@")
        return f"{self.local or '*'}@{'*.' if self.subdomains else ''}{domain}"

    def matches(self, address: Address) -> bool:
        """Tell whether the pattern names the address."""
        if self.local is not None and self.local.translate(_LOWER) != address.local.translate(_LOWER):
            return False
        if self.domain is None:
            return True
        if self.subdomains:
            return address.domain.endswith("." + self.domain)
        return address.domain == self.domain


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` in `period` seconds."""

    count: int
    period: float

    @classmethod
    def parse(cls, text: str) -> "Rate":
        """Read ``60/minute``. Raises ValueError with a sentence."""
        return cls(*parse_rate(text))

    def __str__(self) -> str:
        return format_rate(self.count, self.period)


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
        rate: messages over a short time, with bursts of up to its count, or None.
        quota: messages in each window of its period, counted in the queue, or None.
        max_message: octets of the composed message, or None for the gateway's own limit.
        bounces: whom to tell of its messages that ended undelivered, or None for nobody.
        enabled: False refuses the client by name.
        authorities: the keys of the CAs that it is bound to, as a certificate's `issuers` have them; None for
            every CA that the gateway trusts.

    """

    label: str
    certificates: tuple[str, ...]
    senders: tuple[AddressPattern, ...]
    recipients: tuple[AddressPattern, ...] = (AddressPattern(None, None),)
    doors: frozenset[str] | None = None
    rate: Rate | None = None
    quota: Rate | None = None
    max_message: int | None = None
    bounces: Address | None = None
    enabled: bool = True
    authorities: frozenset[str] | None = None

    def trusts(self, certificate: PeerCertificate) -> bool:
        """Tell whether the certificate is of a CA that this client is bound to."""
        return self.authorities is None or any(link.spki in self.authorities for link in certificate.issuers)

    def describe(self) -> dict[str, object]:
        """Return the rules as plain values, for their own client to read."""
        return {
            "senders": [str(pattern) for pattern in self.senders],
            "recipients": [str(pattern) for pattern in self.recipients],
            "doors": None if self.doors is None else sorted(self.doors),
            "rate": None if self.rate is None else str(self.rate),
            "quota": None if self.quota is None else str(self.quota),
            "max_message": self.max_message,
            "bounces": None if self.bounces is None else display(str(self.bounces)),
        }

"""Mail addresses as SMTP carries them (RFC 5321 section 4.1.2, RFC 6531)."""

import re
from dataclasses import dataclass

MAX_LOCAL_OCTETS = 64
MAX_DOMAIN_OCTETS = 255
MAX_PATH_OCTETS = 254
"""RFC 5321 section 4.5.3.1: a path is 256 octets with its angle brackets."""

_DOT_ATOM = re.compile(r"[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+(?:\.[^\x00-\x20\x7f()<>\[\]:;@\\,.\"]+)*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """
    One mailbox address: a local part as its owner writes it, unquoted, and a domain in lower-case A-labels.

    Raises ValueError for a local part that is empty, over 64 octets of UTF-8 or holds a control character,
    and for a domain that is not a sequence of LDH labels.
    """

    local: str
    domain: str

    def __post_init__(self) -> None:
        if not self.local:
            raise ValueError("the part before the @ is empty")
        if _CONTROL.search(self.local):
            raise ValueError("the part before the @ holds a control character")
        if len(self.local.encode()) > MAX_LOCAL_OCTETS:
            raise ValueError(f"the part before the @ is longer than {MAX_LOCAL_OCTETS} octets")
        if len(self.domain) > MAX_DOMAIN_OCTETS or not _DOMAIN.fullmatch(self.domain):
            raise ValueError(f"{self.domain!r} is not a domain name")
        if len(str(self).encode()) > MAX_PATH_OCTETS:
            raise ValueError(f"the address is longer than {MAX_PATH_OCTETS} octets")

    @property
    def needs_smtputf8(self) -> bool:
        """Whether only a server that offers SMTPUTF8 (RFC 6531) can take this address."""
        return not self.local.isascii()

    def __str__(self) -> str:
        """Return the addr-spec of RFC 5321, with a quoted local part where the dot-atom form can't hold it."""
        if _DOT_ATOM.fullmatch(self.local):
            return f"{self.local}@{self.domain}"
        escaped = self.local.replace("\\", "\\\\").replace('"', '\\"')
        return f'"{escaped}"@{self.domain}'


@dataclass(frozen=True, slots=True)
class Mailbox:
    """An address with the name of its owner, as a header field shows it; the name may be empty."""

    address: Address
    name: str = ""

"""How many connections may be open at a time."""

from collections import Counter
from ipaddress import IPv6Address

_HOST_BITS = 64


class ConnectionLimits:
    """
    Counts open connections, in all and of each IP address.

    Doors that are given the same object share the numbers. An IPv6 subscriber has at least a /64 to choose
    addresses from (RFC 6177), so that counts as one.

    Attributes:
        total: how many may be open in all.
        per_address: how many of one address.

    """

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self._open = 0
        self._open_of: Counter[str] = Counter()

    def refuse(self, address: str) -> str | None:
        """Return why a further connection of this address would be one too many, or None."""
        if self._open >= self.total:
            return f"the limit of {self.total} open connections is reached"
        if self._open_of.get(_subscriber(address), 0) >= self.per_address:
            return f"the limit of {self.per_address} open connections of one address is reached"
        return None

    def opened(self, address: str) -> None:
        """Count a connection."""
        self._open += 1
        self._open_of[_subscriber(address)] += 1

    def closed(self, address: str) -> None:
        """Count a connection no more."""
        self._open -= 1
        subscriber = _subscriber(address)
        self._open_of[subscriber] -= 1
        if not self._open_of[subscriber]:
            del self._open_of[subscriber]


def _subscriber(address: str) -> str:
    """Return what stands for all addresses of one subscriber; any text that is no IPv6 address is its own."""
    try:
        return f"{int(IPv6Address(address)) >> _HOST_BITS:x}::/64"
    except ValueError:
        return address

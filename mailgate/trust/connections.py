"""How many connections may be open at a time."""

from ipaddress import IPv6Address

from mailgate.trust.counts import Counts, OwnCounts

_HOST_BITS = 64
_ALL = ""


class ConnectionLimits:
    """
    Counts open connections, in all and of each IP address.

    Doors that are given the same object share the numbers. An IPv6 subscriber has at least a /64 to choose
    addresses from (RFC 6177), so that counts as one.

    Attributes:
        total: how many may be open in all.
        per_address: how many of one address.
        counts: where they are counted; other processes may count there too.

    """

    def __init__(self, total: int, per_address: int) -> None:
        self.total = total
        self.per_address = per_address
        self.counts: Counts = OwnCounts()

    def refuse(self, address: str) -> str | None:
        """Return why a further connection of this address would be one too many, or None."""
        if self.counts.of(_ALL) >= self.total:
            return f"the limit of {self.total} open connections is reached"
        if self.counts.of(_subscriber(address)) >= self.per_address:
            return f"the limit of {self.per_address} open connections of one address is reached"
        return None

    def opened(self, address: str) -> None:
        """Count a connection."""
        self.counts.add(_ALL)
        self.counts.add(_subscriber(address))

    def closed(self, address: str) -> None:
        """Count a connection no more."""
        self.counts.remove(_ALL)
        self.counts.remove(_subscriber(address))


def _subscriber(address: str) -> str:
    """Return what stands for all addresses of one subscriber; any text that is no IPv6 address is its own."""
    try:
        return f"{int(IPv6Address(address)) >> _HOST_BITS:x}::/64"
    except ValueError:
        # A peer without an address, on a Unix socket, is not the sum of all.
        return address or "no address"

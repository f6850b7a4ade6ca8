"""How many connections may be open at a time."""

from collections import Counter


class ConnectionLimits:
    """
    Counts open connections, in all and of each IP address.

    Doors that are given the same object share the numbers.
    """

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._open = 0
        self._open_of: Counter[str] = Counter()

    def refuse(self, address: str) -> str | None:
        """Return why a further connection of this address would be one too many, or None."""
        if self._open >= self._total:
            return f"the limit of {self._total} open connections is reached"
        if self._open_of.get(address, 0) >= self._per_address:
            return f"the limit of {self._per_address} open connections of one address is reached"
        return None

    def opened(self, address: str) -> None:
        """Count a connection."""
        self._open += 1
        self._open_of[address] += 1

    def closed(self, address: str) -> None:
        """Count a connection no more."""
        self._open -= 1
        self._open_of[address] -= 1
        if not self._open_of[address]:
            del self._open_of[address]

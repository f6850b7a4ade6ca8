"""How many connections a client may hold, and which one gives way to a new one."""

from typing import Generic, Protocol, TypeVar

SILENT_SECONDS = 10.0
"""A client that has been silent for so long within a message may be gone, whatever TCP says."""


class Holder(Protocol):
    """One connection of a client."""

    @property
    def idle_since(self) -> float | None:
        """When it was last heard of, in the clock's seconds; None while it is at work."""

    @property
    def silent_since(self) -> float | None:
        """When it was last heard of, also within a message; None while it is owed a reply."""

    def give_way(self) -> None:
        """Close, because another connection of the client takes its place."""


T = TypeVar("T", bound=Holder)


class ClientConnections(Generic[T]):
    """
    The connections of each client, `most` at a time; that may be changed.

    A device that reboots leaves connections behind that the gateway takes for open. So that it never locks
    itself out by them, the one that has been idle for longest closes when there is one too many; where none is
    idle, the one that has been silent for longest within a message, if that is long enough.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._of: dict[str, list[T]] = {}

    def admit(self, client: str, connection: T, now: float) -> bool:
        """Count a connection, if need be in the place of a silent one; return False where all are at work."""
        held = self._of.setdefault(client, [])
        if len(held) >= self.most:
            silent = _silent_longest(held, now)
            if silent is None:
                return False
            held.remove(silent)
            silent.give_way()
        held.append(connection)
        return True

    def forget(self, client: str, connection: T) -> None:
        """Count a connection no more; one that gave way is not counted already."""
        held = self._of.get(client, [])
        if connection in held:
            held.remove(connection)
            if not held:
                del self._of[client]


def _silent_longest(held: list[T], now: float) -> T | None:
    idle = [(since, each) for each in held if (since := each.idle_since) is not None]
    stalled = [
        (since, each)
        for each in held
        if (since := each.silent_since) is not None and since <= now - SILENT_SECONDS
    ]
    return min(idle or stalled, key=lambda pair: pair[0], default=(now, None))[1]

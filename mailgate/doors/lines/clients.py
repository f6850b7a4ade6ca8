"""How many connections a client may hold, and which one gives way to a new one."""

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from mailgate.trust.counts import Counts, OwnCounts

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

Crowded = Callable[[str], None]


class ClientConnections(Generic[T]):
    """
    The connections of each client, `most` at a time; that may be changed.

    A device that reboots leaves connections behind that the gateway takes for open. So that it never locks
    itself out by them, the one that has been idle for longest closes when there is one too many; where none is
    idle, the one that has been silent for longest within a message, if that is long enough.

    Attributes:
        counts: where they are counted; other processes may count there too.
        crowded: is told of a client that was turned away, while another process may have one that could give way.

    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.counts: Counts = OwnCounts()
        self.crowded: Crowded = _alone
        self._of: dict[str, list[T]] = {}

    def admit(self, client: str, connection: T, now: float) -> bool:
        """Count a connection, if need be in the place of a silent one; return False where all are at work."""
        if self.counts.of(client) >= self.most and not self.make_room(client, now):
            self.crowded(client)
            return False
        self._of.setdefault(client, []).append(connection)
        self.counts.add(client)
        return True

    def relieve(self, client: str, now: float) -> None:
        """Make room, unless the client has room by now."""
        if self.counts.of(client) >= self.most:
            self.make_room(client, now)

    def make_room(self, client: str, now: float) -> bool:
        """Let the connection of the client that is silent for longest give way; return False where none can."""
        silent = _silent_longest(self._of.get(client, []), now)
        if silent is None:
            return False
        self.forget(client, silent)
        silent.give_way()
        return True

    def forget(self, client: str, connection: T) -> None:
        """Count a connection no more; one that gave way is not counted already."""
        held = self._of.get(client, [])
        if connection in held:
            held.remove(connection)
            self.counts.remove(client)
            if not held:
                del self._of[client]


def _alone(_client: str) -> None:
    """Tell nobody."""


def _silent_longest(held: list[T], now: float) -> T | None:
    idle = [(since, each) for each in held if (since := each.idle_since) is not None]
    stalled = [
        (since, each)
        for each in held
        if (since := each.silent_since) is not None and since <= now - SILENT_SECONDS
    ]
    return min(idle or stalled, key=lambda pair: pair[0], default=(now, None))[1]

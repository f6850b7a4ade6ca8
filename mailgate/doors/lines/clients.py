"""How many connections a client may hold, and which one gives way to a new one."""

from typing import Generic, Protocol, TypeVar


class Holder(Protocol):
    """One connection of a client."""

    @property
    def idle_since(self) -> float | None:
        """When it was last heard of, in the clock's seconds; None while it is at work."""

    def give_way(self) -> None:
        """Close, because another connection of the client takes its place."""


T = TypeVar("T", bound=Holder)


class ClientConnections(Generic[T]):
    """
    The connections of each client, `most` at a time.

    A device that reboots leaves connections behind that the gateway takes for open. So that it never locks
    itself out by them, the one that has been idle for longest closes when there is one too many.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._of: dict[str, list[T]] = {}

    def admit(self, client: str, connection: T) -> bool:
        """Count a connection, if need be in the place of an idle one; return False where all are at work."""
        held = self._of.setdefault(client, [])
        if len(held) >= self._most:
            idle = [(since, each) for each in held if (since := each.idle_since) is not None]
            if not idle:
                return False
            oldest = min(idle, key=lambda pair: pair[0])[1]
            held.remove(oldest)
            oldest.give_way()
        held.append(connection)
        return True

    def forget(self, client: str, connection: T) -> None:
        """Count a connection no more; one that gave way is not counted already."""
        held = self._of.get(client, [])
        if connection in held:
            held.remove(connection)
            if not held:
                del self._of[client]

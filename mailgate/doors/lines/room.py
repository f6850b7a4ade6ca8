"""Room in memory for messages on their way from a spool to the disk."""

from collections import deque
from collections.abc import Callable

OCTETS = 64 * 1024 * 1024
"""Of all messages that are composed and not yet committed; a larger one goes alone."""

_OVERHEAD = 2048
"""What the smallest message takes beside its octets."""


class Stay:
    """One message's share of the room, from when it asks until it ends."""

    __slots__ = ("_asked", "_enter", "_room", "inside", "octets")

    def __init__(self, room: "Room", octets: int, enter: Callable[[], None]) -> None:
        self.octets = octets
        self.inside = False
        self._asked = False
        self._room = room
        self._enter = enter

    def ask(self) -> None:
        """Have `enter` called as soon as there is room, which may be now."""
        self._asked = True
        self._room.ask(self)

    def enter(self) -> None:
        """Be let in."""
        self.inside = True
        self._enter()

    def end(self) -> None:
        """Make room for the next, whether this one was in or not; a second time does nothing."""
        if self._asked:
            self._asked = False
            self._room.end(self)


class Room:
    """Lets messages in, in the order they asked, while there is room for their octets."""

    def __init__(self, octets: int = OCTETS) -> None:
        self._octets = octets
        self._taken = 0
        self._inside = 0
        self._waiting: deque[Stay] = deque()
        self._admitting = False

    def stay(self, octets: int, enter: Callable[[], None]) -> Stay:
        """Return a stay that has not asked yet; `enter` begins to compose and commit."""
        return Stay(self, octets + _OVERHEAD, enter)

    def ask(self, stay: Stay) -> None:
        """Let a stay in, now or later."""
        self._waiting.append(stay)
        self._admit()

    def end(self, stay: Stay) -> None:
        """Take a stay out."""
        if stay.inside:
            self._taken -= stay.octets
            self._inside -= 1
        else:
            self._waiting.remove(stay)
        self._admit()

    def _admit(self) -> None:
        # What enters may be out again before its call returns, and would let the next one in from within.
        if self._admitting:
            return
        self._admitting = True
        try:
            while self._waiting and self._fits(self._waiting[0]):
                stay = self._waiting.popleft()
                self._taken += stay.octets
                self._inside += 1
                stay.enter()
        finally:
            self._admitting = False

    def _fits(self, stay: Stay) -> bool:
        return not self._inside or self._taken + stay.octets <= self._octets

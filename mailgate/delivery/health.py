"""Whether an upstream is worth a try."""

from collections.abc import Callable
from enum import Enum
from math import inf

from twisted.internet.interfaces import IReactorTime

FIRST_WAIT = 1.0
LONGEST_WAIT = 60.0


class _State(Enum):
    OPEN = "open"
    CLOSED = "closed"
    PROBING = "probing"


class Health:
    """
    Leaves an upstream in trouble alone, for 1 s that double to 60 s, then lets one message try it.

    `random` gives numbers in [0, 1); they take up to a quarter off each wait, so that several gateways do not
    come back together.
    """

    def __init__(self, clock: IReactorTime, random: Callable[[], float]) -> None:
        self._clock = clock
        self._random = random
        self._state = _State.OPEN
        self._failures = 0
        self._admits_at = 0.0

    @property
    def open(self) -> bool:
        """Whether any number of messages may try it."""
        return self._state is _State.OPEN

    @property
    def admits_at(self) -> float:
        """When a message may try it, by the clock: in the past for now, infinite during a probe."""
        if self._state is _State.PROBING:
            return inf
        return self._admits_at

    def admit(self) -> None:
        """Note that a message tries it; after a trouble that is the probe, and the only one."""
        if self._state is _State.CLOSED:
            self._state = _State.PROBING

    def withdraw(self) -> None:
        """Note that a message which was admitted told nothing about it."""
        if self._state is _State.PROBING:
            self._state = _State.CLOSED

    def hint(self) -> None:
        """Note that something speaks for it: after a trouble it may be tried again now."""
        self._admits_at = min(self._admits_at, self._clock.seconds())

    def succeeded(self) -> bool:
        """Note that it works; tell whether that is news. Old business of a closed upstream proves nothing."""
        news = self._state is _State.PROBING
        if news:
            self._state = _State.OPEN
        if self._state is _State.OPEN:
            self._failures = 0
            self._admits_at = 0.0
        return news

    def failed(self) -> bool:
        """Note a trouble; tell whether that is news. What fails together counts once."""
        if self._state is _State.CLOSED:
            return False
        wait = min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self._admits_at = self._clock.seconds() + wait * (1 - self._random() / 4)
        self._state = _State.CLOSED
        return True

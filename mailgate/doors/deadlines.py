"""The deadlines of many connections, looked after together."""

from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

SWEEP_SECONDS = 1.0
"""A deadline is acted on at most this much later."""


class Expiring(Protocol):
    """Something whose time may run out; it moves its deadline as it likes, which costs nothing."""

    deadline: float

    def expire(self) -> None:
        """Do what the deadline was for."""


T = TypeVar("T", bound=Expiring)


class Deadlines(Generic[T]):
    """
    Calls `expire` on whatever is watched and past its deadline (the clock's seconds), once every sweep.

    One sweep a second is cheaper than a timer for each connection that every request moves. Nothing is scheduled
    while nothing is watched.
    """

    _failures = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self.watched: set[T] = set()
        self._clock = clock
        self._sweeping = LoopingCall(self._sweep)
        self._sweeping.clock = clock

    def watch(self, item: T) -> None:
        """Begin to look after something."""
        self.watched.add(item)
        if not self._sweeping.running:
            self._sweeping.start(SWEEP_SECONDS, now=False)

    def forget(self, item: T) -> None:
        """Look after it no more."""
        self.watched.discard(item)
        if not self.watched and self._sweeping.running:
            self._sweeping.stop()

    def _sweep(self) -> None:
        now = self._clock.seconds()
        for item in tuple(self.watched):
            if item.deadline <= now:
                try:
                    item.expire()
                except Exception:  # noqa: BLE001 - whatever it was, the others have deadlines too
                    self._failures.failure("A deadline could not be dealt with")

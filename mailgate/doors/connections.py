"""A door's connections as a whole: their deadlines, and how they end together."""

from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from mailgate.doors.deadlines import Deadlines, Expiring

DRAIN_SECONDS = 5.0
DRAIN_OCTETS = 256 * 1024
"""After an early answer so much more is read and thrown away, and a connection still open by then is reset.

A reset at once would take the answer with it."""

GOODBYE_SECONDS = 1.0
"""How long a connection that nothing is owed to may take to close: many clients only notice when they next ask."""


class Connection(Expiring, Protocol):
    """One connection of a door."""

    def drain(self) -> None:
        """Close as soon as nothing is under way."""

    def abort(self) -> None:
        """Close now, whatever is under way."""

    def recheck(self) -> None:
        """End, if the client may not be here any more."""


T = TypeVar("T", bound=Connection)


class Connections(Generic[T]):
    """The connections of one door that are open now."""

    _failures = Logger()

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._open: Deadlines[T] = Deadlines(clock)
        self._drained: list[Deferred[None]] = []
        self._cut: IDelayedCall | None = None

    def opened(self, connection: T) -> None:
        """Look after a connection, and call its `expire` when its deadline has passed."""
        self._open.watch(connection)

    def closed(self, connection: T) -> None:
        """Look after it no more."""
        self._open.forget(connection)
        if self._open.watched:
            return
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        waiting, self._drained = self._drained, []
        for drained in waiting:
            drained.callback(None)

    def recheck(self) -> None:
        """End each connection whose client may not be here any more."""
        for connection in tuple(self._open.watched):
            try:
                connection.recheck()
            except Exception:  # noqa: BLE001 - whatever it was, the others must be judged too
                self._failures.failure("A connection could not be judged anew")

    def drain(self, seconds: float) -> Deferred[None]:
        """
        End every connection: idle ones at once, others when what is under way is answered, all after `seconds`.

        The Deferred fires when none is left.
        """
        for connection in tuple(self._open.watched):
            connection.drain()
        if not self._open.watched:
            return succeed(None)
        if self._cut is None:
            self._cut = self._clock.callLater(seconds, self._abort)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def _abort(self) -> None:
        self._cut = None
        for connection in tuple(self._open.watched):
            connection.abort()

"""A bounded set of connections to one place, used again and again; it knows nothing of what they speak."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mailgate.delivery.line import FairLine

SLOW = 5.0
"""Seconds after which a connection that is still being opened doesn't keep another from being opened any more."""


class Connection(Protocol):
    """What the pool asks of a connection."""

    @property
    def idle(self) -> bool:
        """Whether it can be used for something new; False for good once it is closing or lost."""

    @property
    def lost(self) -> Deferred[None]:
        """Fires once the connection is gone."""

    def close(self) -> None:
        """End it politely."""

    def abort(self) -> None:
        """End it at once."""


C = TypeVar("C", bound=Connection)


class PoolClosedError(Exception):
    """The pool is closed and gives no more connections."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    When a connection is of no more use.

    Attributes:
        connections: the most that are of use at once; with those that are slow to open, or hang, twice as many.
        idle: seconds without use.
        age: seconds since it was opened; servers get restarted and move.
        uses: how often it was used.

    """

    connections: int
    idle: float = 30.0
    age: float = 300.0
    uses: int = 1000


@dataclass(slots=True)
class _Member:
    opened_at: float
    uses: int = 0
    idle_since: float = 0.0


class Pool(Generic[C]):
    """
    Lends connections, opened by `connect` as they are needed.

    Who waits is served in turn with those who wait under other keys; the connection that was used last is used
    next, so that a quiet time lets the others go.

    Attributes:
        lent: the connections in use.
        refusals: how many could not be opened since the last one that could, whoever waited for them.

    """

    def __init__(self, connect: Callable[[], Deferred[C]], clock: IReactorTime, limits: Limits) -> None:
        self._connect = connect
        self._clock = clock
        self._limits = limits
        self._allowed = limits.connections
        self._members: dict[C, _Member] = {}
        self.lent: set[C] = set()
        self.refusals = 0
        self._idle: list[C] = []
        self._waiting: FairLine[Deferred[C]] = FairLine()
        self._opening: dict[Deferred[C], float] = {}
        self._serving = False
        self._sweep: IDelayedCall | None = None
        self._closed: list[Deferred[None]] | None = None

    def __len__(self) -> int:
        """Return how many connections are open, to be lent or on their way to their end."""
        return len(self._members)

    @property
    def most(self) -> int:
        """How many connections are good for use at once."""
        return self._limits.connections

    @property
    def busy(self) -> int:
        """How many connections are lent."""
        return len(self.lent)

    @property
    def young(self) -> int:
        """How many connections have begun to be opened within the last SLOW seconds."""
        now = self._clock.seconds()
        return sum(now - begun < SLOW for begun in self._opening.values())

    @property
    def waiting(self) -> int:
        """How many wait for a connection."""
        return len(self._waiting)

    def allow(self, connections: int) -> None:
        """Use no more than so many connections from now on; what is idle beyond that is closed."""
        self._allowed = connections
        while self._idle and len(self._idle) + len(self.lent) > connections:
            self._idle.pop(0).close()
        self._serve()

    def acquire(self, key: str = "") -> Deferred[C]:
        """
        Lend a connection until it is given to `release`.

        Fails with what `connect` failed with, or PoolClosedError.
        """
        waiter: Deferred[C] = Deferred()
        if self._closed is not None:
            waiter.errback(PoolClosedError())
        else:
            self._waiting.append(key, waiter)
            self._serve()
        return waiter

    def release(self, connection: C) -> None:
        """Take a connection back, in whatever state it is."""
        self.lent.discard(connection)
        member = self._members.get(connection)
        if member is None:
            self._serve()
            return
        now = self._clock.seconds()
        worn = member.uses >= self._limits.uses or now - member.opened_at >= self._limits.age
        surplus = len(self._idle) + len(self.lent) >= self._allowed
        if worn or surplus or not connection.idle or self._closed is not None:
            connection.close()
            self._serve()
            return
        member.idle_since = now
        self._idle.append(connection)
        self._serve()
        if self._idle and self._sweep is None:
            self._sweep = self._clock.callLater(self._limits.idle, self._close_idle)

    def turn_away(self, failure: Failure) -> None:
        """Fail everyone who waits for a connection."""
        waiting, self._waiting = self._waiting, FairLine()
        while waiting:
            waiting.popleft().errback(failure)

    def close(self) -> Deferred[None]:
        """
        Lend nothing more, close what is idle now and the rest as it comes back.

        Fires when every connection is gone.
        """
        closed: Deferred[None] = Deferred()
        if self._closed is None:
            self._closed = []
            if self._sweep is not None:
                self._sweep.cancel()
                self._sweep = None
            self.turn_away(Failure(PoolClosedError()))
            for opening in tuple(self._opening):
                opening.cancel()
            idle, self._idle = self._idle, []
            for connection in idle:
                connection.close()
        self._closed.append(closed)
        self._tell_if_empty()
        return closed

    def abort(self) -> None:
        """End every connection at once, in use or not."""
        for connection in tuple(self._members):
            connection.abort()

    def _serve(self) -> None:
        # Who is served may give the connection back at once; a call within a call for each would be too deep.
        if self._serving:
            return
        self._serving = True
        try:
            while self._can_lend() or self._should_open():
                if self._can_lend():
                    connection = self._idle.pop()
                    if connection.idle:
                        self._members[connection].uses += 1
                        self.lent.add(connection)
                        self._waiting.popleft().callback(connection)
                    else:
                        connection.close()
                else:
                    opening = self._connect()
                    self._opening[opening] = self._clock.seconds()
                    opening.addBoth(self._opened, opening)
        finally:
            self._serving = False

    def _can_lend(self) -> bool:
        return bool(self._waiting and self._idle) and len(self.lent) < self._allowed

    def _should_open(self) -> bool:
        # What is slow to open must not keep messages waiting, nor a slow server get ever more connections.
        room = self._allowed - len(self._members)
        beside = min(2 * room, 2 * self._limits.connections - len(self._members), len(self._waiting) + 1)
        return self.young < min(room, len(self._waiting)) and len(self._opening) < beside

    def _opened(self, result: C | Failure, opening: Deferred[C]) -> None:
        del self._opening[opening]
        if isinstance(result, Failure):
            self.refusals += 1
            # Without anyone who waits for it, nobody needs to hear of it.
            if self._waiting:
                self._waiting.popleft().errback(result)
                self._serve()
        else:
            self.refusals = 0
            self._members[result] = _Member(self._clock.seconds())
            result.lost.addCallback(self._gone, result)
            self.release(result)
        self._tell_if_empty()

    def _gone(self, _: None, connection: C) -> None:
        del self._members[connection]
        self.lent.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        self._serve()
        self._tell_if_empty()

    def _close_idle(self) -> None:
        self._sweep = None
        now = self._clock.seconds()
        while self._idle and self._members[self._idle[0]].idle_since + self._limits.idle <= now:
            self._idle.pop(0).close()
        if self._idle:
            wait = self._members[self._idle[0]].idle_since + self._limits.idle - now
            self._sweep = self._clock.callLater(wait, self._close_idle)

    def _tell_if_empty(self) -> None:
        if self._closed is not None and not self._members and not self._opening:
            closed, self._closed = self._closed, []
            for each in closed:
                each.callback(None)

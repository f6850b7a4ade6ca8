"""What the queue's threads do: one writes with group commit, one reads."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from sqlalchemy import Connection
from twisted.internet.interfaces import IReactorTime

from mailgate.queue.accepting import accept
from mailgate.queue.database import Database
from mailgate.queue.interface import LEASE_SECONDS, NewMessage, QueueError, Settlement
from mailgate.queue.leasing import follow_back, release_all
from mailgate.queue.settling import settle
from mailgate.queue.worker import Call

Action = Callable[[Connection], object]
"""A request that does all of its work itself, and returns its result."""

_TRIES = 3
"""A lost connection, then a conflict with what it had stored after all, then success."""

CLOCK_STEP = 5.0
"""Seconds by which a clock that was set differs at least; a lease has more to spare when it is renewed."""

Perform = Callable[[Connection, Sequence[Call]], None]


class Transactions:
    """
    Runs calls in transactions over one connection, opened when first needed and anew after every trouble.

    So whatever went wrong, the next call finds a fresh connection, and succeeds once the cause is gone. Each
    transaction waits for its `turn`.
    """

    def __init__(
        self,
        database: Database,
        connect: Callable[[], Connection],
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._database = database
        self._connect = connect
        self._turn = turn
        self._connection: Connection | None = None

    def run(self, calls: Sequence[Call], perform: Perform) -> Exception | None:
        """Let `perform` set the calls' results in one transaction; return what went wrong and undid it all."""
        try:
            if self._connection is None:
                self._connection = self._connect()
            with self._turn(), self._connection.begin():
                perform(self._connection, calls)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must reach those who wait for the calls
            self.close()
            return error
        return None

    def fail(self, calls: Sequence[Call], error: Exception) -> None:
        """Make the error, in words, the result of each call."""
        for call in calls:
            call.result = error if isinstance(error, QueueError) else self._database.explain(error)
            call.result.__cause__ = error if call.result is not error else None

    def close(self) -> None:
        """Close the connection, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.invalidate()
            connection.close()


class Writer:
    """
    Carries out the calls that wait in one transaction: their results are told only when it is committed.

    A request is a NewMessage, a Settlement or an Action. Where one of them fails, each gets
    a transaction of its own, so that it alone is told.

    Attributes:
        trouble: what kept the last transaction from being committed, where it would keep any; None if it was.
        damage: how the database was found to be damaged, for good.
        begun_at: since when the calls of now are being carried out, by the clock; None while there are none.

    """

    def __init__(self, database: Database, lease: str, clock: IReactorTime) -> None:
        self._database = database
        self._transactions = Transactions(database, database.writer, database.turn)
        self._lease = lease
        self._clock = clock
        self.trouble: QueueError | None = None
        self.damage: QueueError | None = None
        self.begun_at: float | None = None
        # Whether a transaction of the calls of now may have been committed although its connection was lost,
        # perhaps only while the next one runs into what it has stored.
        self._unknown = False
        self._ahead: float | None = None
        self._leases_end_from = 0.0

    @property
    def takes_over(self) -> bool:
        """
        Whether a lease whose end has come is believed to have ended.

        Not for LEASE_SECONDS after the queue's clock was set forward: who still holds one renews it until then.
        """
        return self._clock.seconds() >= self._leases_end_from

    def run(self, calls: Sequence[Call]) -> None:
        """Set every call's result."""
        self.begun_at = self._clock.seconds()
        self._unknown = False
        try:
            self._run(calls)
        finally:
            self.begun_at = None

    def _run(self, calls: Sequence[Call]) -> None:
        error = self._attempt(calls)
        if error is None:
            return
        if len(calls) == 1 or self._database.concerns_all(error):
            self._transactions.fail(calls, error)
        else:
            self._run_singly(calls)

    def _run_singly(self, calls: Sequence[Call]) -> None:
        # Settlements come first: where the disk is full, they make room.
        left = sorted(calls, key=lambda call: not isinstance(call.request, Settlement))
        while left:
            error = self._attempt(left[:1])
            if error is not None and self._database.concerns_all(error):
                self._transactions.fail(left, error)
                return
            if error is not None:
                self._transactions.fail(left[:1], error)
            del left[0]

    def _attempt(self, calls: Sequence[Call]) -> Exception | None:
        """Carry the calls out in one transaction, in up to three if it failed by others' doing."""
        for _ in range(_TRIES):
            error = self._transactions.run(calls, self._perform)
            if error is None:
                break
            if self._database.is_lost(error):
                self._unknown = True
            elif not (self._database.conflicts(error) or self._database.make_room(error)):
                break
        if error is not None and self._database.is_damage(error):
            self.damage = self._database.explain(error)
        self.trouble = None if error is None else self._trouble_of(error)
        if error is None:
            self._ahead = self._database.ahead
        return error

    def _trouble_of(self, error: Exception) -> QueueError | None:
        if isinstance(error, QueueError):
            return error
        return self._database.explain(error) if self._database.concerns_all(error) else None

    def _watch_the_clock(self, connection: Connection) -> None:
        """Look whether the queue's clock was set since the last transaction, as this gateway's never is."""
        now, ahead, before = self._clock.seconds(), self._database.ahead, self._ahead
        if before is None or ahead < before - CLOCK_STEP:
            follow_back(connection, now + ahead)
        elif ahead > before + CLOCK_STEP:
            self._leases_end_from = now + LEASE_SECONDS

    def _perform(self, connection: Connection, calls: Sequence[Call]) -> None:
        self._watch_the_clock(connection)
        now, ahead = self._clock.seconds(), self._database.ahead
        settlements = [call for call in calls if isinstance(call.request, Settlement)]
        messages = [call for call in calls if isinstance(call.request, NewMessage)]
        if settlements:
            requests = [call.request for call in settlements]
            _answer(settlements, settle(connection, requests, self._lease, now, ahead=ahead))
        if messages:
            requests = [call.request for call in messages]
            _answer(messages, accept(connection, requests, self._lease, now, ahead=ahead, again=self._unknown))
        for call in calls:
            if not isinstance(call.request, Settlement | NewMessage):
                call.result = call.request(connection)

    def close(self) -> None:
        """Give back every lease, and close the database, that too where giving back fails (QueueError)."""

        def give_back(connection: Connection) -> None:
            release_all(connection, self._lease, self._clock.seconds() + self._database.ahead)

        last = Call(give_back)
        try:
            self.run([last])
            self._transactions.close()
        finally:
            self._database.close()
        if isinstance(last.result, Exception):
            raise last.result


class Reader:
    """Carries out calls whose requests are Actions, over a connection that only reads."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._transactions = Transactions(database, database.reader)

    def run(self, calls: Sequence[Call]) -> None:
        """Set every call's result."""
        for call in calls:
            error = self._transactions.run([call], _read)
            if error is not None and self._database.is_lost(error):
                error = self._transactions.run([call], _read)
            if error is not None:
                self._transactions.fail([call], error)

    def close(self) -> None:
        """Close the connection."""
        self._transactions.close()


def _answer(calls: Sequence[Call], results: Sequence[object]) -> None:
    for call, result in zip(calls, results, strict=True):
        call.result = result


def _read(connection: Connection, calls: Sequence[Call]) -> None:
    for call in calls:
        call.result = call.request(connection)

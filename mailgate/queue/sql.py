"""The Queue over a relational database: the reactor's side, which only passes calls to threads."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import Connection
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailgate.model.receipt import MessageRecord, Receipt
from mailgate.queue import leasing, records
from mailgate.queue.database import Database
from mailgate.queue.interface import Claim, NewMessage, QueueError, Settlement, Survey
from mailgate.queue.transactions import Action, Reader, Writer
from mailgate.queue.worker import Call, Worker

PATIENCE = 10.0
"""Seconds after which a transaction that is still under way is told as a trouble."""


class SqlQueue:
    """
    A Queue over a database: one thread writes, one reads, one counts, all from `open` to `close`.

    `reactor` is where Deferreds fire, `clock` tells seconds, steadily (and is asked in any thread),
    `retention` is how many seconds a finished message's record is kept, `lease` the name of this owner of leases,
    which no other ever has. Before `open` or `join` every call fails.
    """

    def __init__(
        self,
        database: Database,
        reactor: IReactorFromThreads,
        *,
        clock: IReactorTime,
        retention: float,
        lease: str | None = None,
    ) -> None:
        self._database = database
        self._reactor = reactor
        self._clock = clock
        self._retention = retention
        self._lease = lease or uuid4().hex
        self._transactions = Writer(database, self._lease, clock)
        self._writer: Worker | None = None
        self._reader: Worker | None = None
        self._surveyor: Worker | None = None
        self._closed: Deferred[None] | None = None

    @property
    def directory(self) -> Path | None:
        """Where the database lies: the file system that must have room for what is accepted, if it is here."""
        return self._database.directory

    def spare(self) -> int:
        """Return how many octets can be stored beyond what is free there, or less than it if negative."""
        return self._database.spare

    def trouble(self) -> str | None:
        """Return why nothing could be stored a moment ago, whatever it was, or None where something could."""
        trouble = self._transactions.trouble
        return self.hang() if trouble is None else str(trouble)

    def hang(self) -> str | None:
        """
        Return that what is being stored has been so for longer than PATIENCE, or how the database is damaged.

        None where nothing more keeps new mail out.
        """
        if self._transactions.damage is not None:
            return str(self._transactions.damage)
        begun_at = self._transactions.begun_at
        if begun_at is None or self._clock.seconds() - begun_at < PATIENCE:
            return None
        return "the queue doesn't answer"

    def check(self) -> None:
        """Raise QueueError where it is plain that `open` would, and change nothing."""
        self._database.check()

    def open(self) -> None:
        """
        Make sure of the database and its schema, release the leases of a gateway that died, and begin.

        Blocks until it is done, so it belongs where the service starts, and behind any fork: threads and file
        locks don't survive one. Raises QueueError. Once only; a queue that was closed stays closed.
        """
        self._open(self._database.open)

    def join(self, dead: Sequence[str], turn: int) -> Deferred[None]:
        """
        Begin, as `open` does, with a database that another process of this gateway keeps open.

        `turn` is the descriptor by which the processes take turns.
        `dead` are the names of owners whose processes are gone: their messages are due before anything is claimed
        here. Raises QueueError; the Deferred fails where only the leases could not be given back, and then they
        end by themselves.
        """
        self._open(lambda: self._database.join(turn))

        def give_back(connection: Connection) -> None:
            for owner in dead:
                leasing.release_all(connection, owner, self._queue_time(self._clock.seconds()))

        return self._write(give_back) if dead else succeed(None)

    def _open(self, use: Callable[[], None]) -> None:
        if self._writer is not None or self._closed is not None:
            raise QueueError("the queue can be opened only once")
        use()
        self._writer = Worker("queue writer", self._transactions, self._reactor)
        self._reader = Worker("queue reader", Reader(self._database), self._reactor)
        self._surveyor = Worker("queue surveyor", Reader(self._database), self._reactor)

    def accept(self, message: NewMessage) -> Deferred[Receipt]:
        """Store the message, as Queue says."""
        return self._write(message, len(message.content))

    def claim(self, limit: int, now: float) -> Deferred[Sequence[Claim]]:
        """Lease due messages to this gateway, as Queue says."""
        return self._write(
            lambda connection: leasing.claim(
                connection, limit, self._lease, self._present(now), take_over=self._transactions.takes_over
            )
        )

    def settle(self, settlement: Settlement) -> Deferred[bool]:
        """Record how an attempt ended, as Queue says."""
        return self._write(settlement, 0 if settlement.notice is None else len(settlement.notice.content))

    def renew(self, ids: Sequence[str], now: float) -> Deferred[None]:
        """Extend leases of this gateway, as Queue says."""
        return self._write(lambda connection: leasing.renew(connection, ids, self._lease, self._present(now)))

    def release(self, ids: Sequence[str], due_at: float) -> Deferred[None]:
        """Give leases of this gateway back, as Queue says."""
        return self._write(
            lambda connection: leasing.release(
                connection, ids, self._lease, self._queue_time(due_at), self._queue_time(self._clock.seconds())
            )
        )

    def next_due(self) -> Deferred[float | None]:
        """Return when a claim can next find something, as Queue says."""
        return self._read(self._next_due)

    def _next_due(self, connection: Connection) -> float | None:
        moment = records.next_due(connection)
        return None if moment is None else moment - self._database.ahead

    def find(self, client: str, message: str) -> Deferred[MessageRecord | None]:
        """Return the client's own message, as Queue says."""
        now = self._clock.seconds()
        return self._read(lambda connection: records.find(connection, client, message, self._queue_time(now)))

    def find_by_key(self, client: str, key: str) -> Deferred[MessageRecord | None]:
        """Return the message that the client stored under the key, as Queue says."""
        now = self._clock.seconds()
        return self._read(lambda connection: records.find_by_key(connection, client, key, self._queue_time(now)))

    def used(self, client: str, period: float, now: float) -> Deferred[int]:
        """Return how many messages count against a quota, as Queue says."""
        return self._read(lambda connection: records.used(connection, client, period, now))

    def survey(self) -> Deferred[Survey]:
        """Count what has no final outcome, as Queue says."""
        now = self._clock.seconds()
        return self._call(self._surveyor, lambda connection: records.survey(connection, self._queue_time(now)), 0)

    def purge(self, now: float) -> Deferred[int]:
        """Forget what has outlived the retention, as Queue says."""
        return Deferred.fromCoroutine(self._purge(now))

    async def _purge(self, now: float) -> int:
        forgotten = 0
        more = True
        while more:
            step: int = await self._write(lambda connection: records.purge(connection, self._retention, now))
            forgotten += step
            more = step == records.PURGE_LIMIT and self._closed is None
        return forgotten

    def close(self) -> Deferred[None]:
        """Close the database, as Queue says; a second call only waits for the first."""
        waiting: Deferred[None] = Deferred()
        if self._closed is None:
            self._closed = self._end()
        self._closed.addBoth(_pass_on, waiting)
        return waiting

    def _end(self) -> Deferred[None]:
        """End the threads, the writer last: its connection is the one that leaves the database tidy."""
        if self._writer is None or self._reader is None or self._surveyor is None:
            return succeed(None)
        self._reader.stop()
        self._surveyor.stop()
        readers = gatherResults([self._reader.ended, self._surveyor.ended])
        return readers.addBoth(_then_end, self._writer)

    def _queue_time(self, moment: float) -> float:
        """Turn a time of this gateway into the queue's; asked within the transaction that needs it."""
        return moment + self._database.ahead

    def _present(self, asked_at: float) -> float:
        """Return the queue's time now, for leases: the call may have waited since it was made."""
        return self._queue_time(max(asked_at, self._clock.seconds()))

    def _write(self, request: NewMessage | Settlement | Action, octets: int = 0) -> Deferred[Any]:
        return self._call(self._writer, request, octets)

    def _read(self, request: Action) -> Deferred[Any]:
        return self._call(self._reader, request, 0)

    def _call(self, worker: Worker | None, request: object, octets: int) -> Deferred[Any]:
        if self._closed is not None:
            return fail(QueueError("the queue is closed"))
        if worker is None:
            return fail(QueueError("the queue is not open yet"))
        return worker.put(Call(request, octets))


def _then_end(_ended: object, writer: Worker) -> Deferred[None]:
    writer.stop()
    return writer.ended


def _pass_on(result: object, waiting: Deferred[Any]) -> None:
    """Give the result, or the Failure, to who waits; for the next one it is dealt with."""
    waiting.callback(result)

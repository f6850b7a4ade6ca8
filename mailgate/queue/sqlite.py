"""The queue in an SQLite file: everything that holds for SQLite alone."""

import fcntl
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorTime

from mailgate.queue.interface import QueueError
from mailgate.queue.leasing import release_everyones
from mailgate.queue.migrate import stored_revision, upgrade
from mailgate.queue.reserve import Reserve
from mailgate.queue.schema import REVISION
from mailgate.queue.sqlite_file import (
    ADVICE,
    check_file,
    check_length,
    file_status,
    lock_file,
    look_through,
    make_file,
)

BUSY_SECONDS = 5.0
"""How long a transaction waits for another process that holds the file's write lock."""

_PRAGMAS = (
    "PRAGMA synchronous=FULL",  # a commit returns when the write-ahead log is on the disk
    "PRAGMA foreign_keys=ON",
    "PRAGMA secure_delete=FAST",  # a delivered message's text goes where that costs no more writing
    "PRAGMA journal_size_limit=67108864",  # a burst's log doesn't stay for ever
)

_PAGE = 4096
_LOG_PAGES = 1000
_FEWEST_LOG_PAGES = 16
"""SQLite's log is written back into the file when it has so many pages; fewer where the disk is very small."""

_SENTENCES = {
    sqlite3.SQLITE_BUSY: "is locked by another process",
    sqlite3.SQLITE_LOCKED: "is locked by another process",
    sqlite3.SQLITE_FULL: "can't grow: the disk is full",
    sqlite3.SQLITE_IOERR: "can't be read or written: input/output error",
    sqlite3.SQLITE_CANTOPEN: "can't be opened",
    sqlite3.SQLITE_NOTADB: "is not an SQLite database",
    sqlite3.SQLITE_CORRUPT: "is damaged",
    sqlite3.SQLITE_READONLY: "can't be written: it is read-only",
    sqlite3.SQLITE_PERM: "can't be written: permission denied",
    sqlite3.SQLITE_TOOBIG: "can't hold a message of that size",
}

_CONCERNS_ONE = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT})
"""A full disk is among them: what is smaller, or frees something, may still succeed."""

_NO_ROOM = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})
"""The log's index that can't grow is told as an input/output error."""

_RESTART_SECONDS = 1.0
"""The least time between two tries to let the log begin anew on a full disk."""

_DAMAGE = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})

_READS_ONLY = "mailgate_reads_only"

_IN_USE = """
SELECT (page_count - freelist_count) * page_size FROM pragma_page_count, pragma_freelist_count, pragma_page_size
"""
"""Octets of the pages that hold something, in the file or still in its log."""


class SqliteDatabase:
    """
    An SQLite file that belongs to one gateway at a time, by an exclusive lock on the file ``….lock`` beside it.

    Several processes of one gateway share it: one opens it and keeps the lock, and the others join.

    Nothing is touched before `open`. `clock` tells the gateway's seconds, `wall` the calendar's, since the epoch,
    which the file's times are in. `busy` is how many seconds a transaction waits for another process's.
    """

    def __init__(
        self, path: Path, clock: IReactorTime, wall: Callable[[], float], busy: float = BUSY_SECONDS
    ) -> None:
        self.directory = path.parent
        self.engine = self._make_engine(path, busy)
        self._path = path
        self._clock = clock
        self._wall = wall
        self._ahead = 0.0
        self._reserve = Reserve(path)
        self._restarted_at = -_RESTART_SECONDS
        self._lock: int | None = None
        self._turn: int | None = None
        self._identity: tuple[int, int] | None = None
        self._spare = 0

    @property
    def ahead(self) -> float:
        """Seconds that the calendar is ahead of the gateway's clock, as of when the last transaction began."""
        return self._ahead

    @property
    def spare(self) -> int:
        """
        Octets of the file that hold nothing and are filled before it grows; negative if its log will make it grow.

        As of when the last transaction began. The file never shrinks by itself.
        """
        return self._spare

    def check(self) -> None:
        """Look at the directory and the file, if it is there, without touching either. Raises QueueError."""
        check_file(self._path)

    def open(self) -> None:
        """
        Make the file or bring it to the present schema, and release every lease, due now.

        The lock says that whoever took those leases is dead. Raises QueueError where the file can't be used;
        it is never overwritten.
        """
        self._lock = lock_file(self._path)
        try:
            self._identity = make_file(self._path)
            self._prepare(release=True)
            self._reserve.take()
        except BaseException:
            self._unlock()
            raise

    def join(self, turn: int) -> None:
        """Use the file that another process of this gateway has opened. Raises QueueError where it is gone."""
        self._turn = turn
        status = file_status(self._path)
        if status is None:
            raise QueueError(f"the queue {self._path} can't be opened")
        self._identity = status.st_dev, status.st_ino

    @contextmanager
    def turn(self) -> Iterator[None]:
        """
        Wait until no other process of this gateway writes.

        SQLite itself only looks again and again whether the file is free, at last every 100 ms: beside a process
        that always has something to write, another one would hardly ever get to it.
        """
        if self._turn is None:
            yield
            return
        fcntl.flock(self._turn, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._turn, fcntl.LOCK_UN)

    @property
    def lock(self) -> int | None:
        """The descriptor that keeps other gateways out; None in a process that has joined."""
        return self._lock

    def upgrade(self) -> None:
        """Make the file, or bring it to the present schema, and let go of it. Raises QueueError."""
        self._lock = lock_file(self._path)
        try:
            self._identity = make_file(self._path)
            self._prepare(release=False)
        finally:
            self.close()

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """Lend a connection in a transaction that may write, while the gateway has the file. Raises QueueError."""
        status = file_status(self._path)
        if status is None:
            raise QueueError(f"there is no queue {self._path}")
        self._identity = status.st_dev, status.st_ino
        try:
            with self.engine.connect() as connection, connection.begin():
                if stored_revision(connection, str(self._path)) != REVISION:
                    raise QueueError(f"the queue {self._path} needs: mailgate queue upgrade")
                yield connection
        except (DBAPIError, sqlite3.Error) as error:
            raise self.explain(error) from error
        finally:
            self.engine.dispose()

    def _prepare(self, *, release: bool) -> None:
        """Bring the file to the present schema, and release every lease if that is wanted."""
        check_length(self._path)
        while True:
            try:
                look_through(self._path)
                with self.engine.connect() as connection:
                    _use_write_ahead_log(connection, self._path)
                    with connection.begin():
                        upgrade(connection, str(self._path))
                        if release:
                            release_everyones(connection, self._wall())
            except (DBAPIError, sqlite3.Error) as error:
                if not self.make_room(error):
                    raise self.explain(error) from error
            else:
                return

    def _make_engine(self, path: Path, busy: float) -> Engine:
        engine = create_engine(
            # "rw" doesn't make a file that is gone anew.
            URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}),
            poolclass=NullPool,
            hide_parameters=True,
            # None keeps the driver from opening transactions of its own: `_begin` does, so that a transaction
            # that will write takes the lock at once and never fails halfway.
            connect_args={"isolation_level": None, "timeout": busy},
        )
        event.listen(engine, "connect", self._set_up)
        event.listen(engine, "begin", self._begin)
        return engine

    def _set_up(self, connection: sqlite3.Connection, _record: Any) -> None:
        for pragma in _PRAGMAS:
            connection.execute(pragma).close()
        # What the log makes the file grow by must fit into half of the reserve.
        pages = min(_LOG_PAGES, max(self._reserve.size // 2 // _PAGE, _FEWEST_LOG_PAGES))
        connection.execute(f"PRAGMA wal_autocheckpoint={pages}").close()

    def _begin(self, connection: Connection) -> None:
        if connection.get_execution_options().get(_READS_ONLY, False):
            connection.exec_driver_sql("BEGIN")
            return
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        # Without this look a message could be acknowledged into a file that has no name any more.
        status = file_status(self._path)
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            raise QueueError(f"the queue {self._path} was moved or replaced while in use")
        in_use: int = connection.exec_driver_sql(_IN_USE).scalar_one()
        self._spare = status.st_size - in_use
        self._ahead = self._wall() - self._clock.seconds()
        self._reserve.take()

    def writer(self) -> Connection:
        """Open a connection whose transactions take the write lock when they begin."""
        return self.engine.connect()

    def reader(self) -> Connection:
        """Open a connection whose transactions see what was committed before they began."""
        return self.engine.connect().execution_options(**{_READS_ONLY: True})

    def explain(self, error: Exception) -> QueueError:
        """Return what went wrong as a sentence that names the file."""
        code = _result_code(error)
        if code is None:
            return QueueError(f"the queue {self._path} couldn't take this ({type(error).__name__})")
        name = _result_name(error)
        advice = ADVICE if code in _DAMAGE else ""
        return QueueError(f"the queue {self._path} {_SENTENCES.get(code, 'refused this')} ({name}){advice}")

    def concerns_all(self, error: Exception) -> bool:
        """Tell whether any transaction would fail now: the file is locked, damaged or unreachable."""
        code = _result_code(error)
        return code is not None and code not in _CONCERNS_ONE

    def is_damage(self, error: Exception) -> bool:
        """Tell whether the file is damaged, or isn't SQLite's any more."""
        return _result_code(error) in _DAMAGE

    def make_room(self, error: Exception) -> bool:
        """
        Where the disk is full, give up the reserve, and let the log begin anew in the room that it has.

        The log goes into the file first, which may have to grow for it: were the reserve left to the log, it
        would soon be as full as before, and neither could be written any more.
        """
        if _result_code(error) not in _NO_ROOM:
            return False
        given_up = self._reserve.give_up()
        now = time.monotonic()
        if not given_up and now - self._restarted_at < _RESTART_SECONDS:
            return False
        self._restarted_at = now
        try:
            with self.engine.connect() as connection:
                busy = _driver(connection).execute("PRAGMA wal_checkpoint(RESTART)").fetchone()[0]
        except (DBAPIError, sqlite3.Error):
            return given_up
        return given_up or not busy

    def conflicts(self, _error: Exception) -> bool:
        """Tell that nobody comes in between: who writes has the file's write lock from the beginning."""
        return False

    def is_lost(self, _error: Exception) -> bool:
        """Tell that nothing is ever unknown: a commit that fails in the file is undone."""
        return False

    def close(self) -> None:
        """
        Move the log into the file, and let the next gateway have it, with the log where the disk is full.

        One who has joined leaves that to the one who has opened.
        """
        if self._lock is None:
            self.engine.dispose()
            return
        try:
            with self.engine.connect() as connection:
                _driver(connection).execute("PRAGMA wal_checkpoint(TRUNCATE)").close()
        except (DBAPIError, sqlite3.Error) as error:
            if _result_code(error) != sqlite3.SQLITE_FULL:
                raise self.explain(error) from error
        finally:
            self.engine.dispose()
            self._reserve.take(whatever_is_left=True)
            self._unlock()

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            os.close(lock)


def path_of(url: URL) -> Path:
    """Return the file that an ``sqlite:`` URL names; raises QueueError where it names none."""
    if url.drivername not in {"sqlite", "sqlite+pysqlite"}:
        raise QueueError(f"the queue's URL names the driver {url.drivername}; write sqlite:///path/of/the/file")
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise QueueError("the queue's URL names no file; write sqlite:///path/of/the/file")
    if url.query or url.host:
        raise QueueError("the queue's URL takes nothing but the path of a file: sqlite:///path/of/the/file")
    return Path(url.database).absolute()


def _use_write_ahead_log(connection: Connection, path: Path) -> None:
    mode = _driver(connection).execute("PRAGMA journal_mode=WAL").fetchone()[0]
    if mode != "wal":
        raise QueueError(f"the queue {path} lies on a file system that can't keep a write-ahead log")


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def _original(error: Exception) -> BaseException | None:
    return error.orig if isinstance(error, DBAPIError) else error


def _result_code(error: Exception) -> int | None:
    """Return SQLite's primary result code, or None for an error that SQLite didn't raise."""
    extended = getattr(_original(error), "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _result_name(error: Exception) -> str:
    """Return the name of SQLite's result code, for whoever looks it up."""
    return getattr(_original(error), "sqlite_errorname", "SQLITE_ERROR")

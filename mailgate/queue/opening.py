"""Opening the queue that the settings name."""

import time
from collections.abc import Callable

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailgate.queue.database import Database
from mailgate.queue.interface import QueueError, QueueSettings
from mailgate.queue.postgresql import DRIVER, PostgresqlDatabase
from mailgate.queue.sql import SqlQueue
from mailgate.queue.sqlite import SqliteDatabase, path_of

_FORMS = f"write sqlite:///path/of/the/file or {DRIVER}://user@host/database"


def make_queue(
    settings: QueueSettings,
    reactor: IReactorFromThreads,
    *,
    clock: IReactorTime,
    wall: Callable[[], float] = time.time,
    lease: str | None = None,
) -> SqlQueue:
    """
    Return the queue that the settings name, not yet open: no file is touched, no thread started.

    Deferreds fire in `reactor`; `clock` tells seconds that go on whatever happens to the calendar's, which `wall`
    tells, since the epoch; `lease` is the name that this owner of leases is given, any new one where it's None.
    Raises QueueError where the URL names no database that this version knows.
    """
    database = make_database(settings.url, clock, wall)
    return SqlQueue(database, reactor, clock=clock, retention=settings.retention, lease=lease)


def make_database(url: str, clock: IReactorTime, wall: Callable[[], float] = time.time) -> Database:
    """Return the database that the URL names, not yet open; raises QueueError where this version knows none."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        # Without the cause, which quotes the URL, and a password with it.
        raise QueueError(f"the queue's URL can't be read; {_FORMS}") from None
    if "@" in (parsed.host or ""):
        raise QueueError("the queue's URL has an @ in its password: write %40")
    if parsed.get_backend_name() == "sqlite":
        return SqliteDatabase(path_of(parsed), clock, wall)
    if parsed.drivername == DRIVER:
        return PostgresqlDatabase(parsed, clock)
    raise QueueError(f"the queue's URL names {parsed.drivername}; {_FORMS}")


def open_queue(
    settings: QueueSettings,
    reactor: IReactorFromThreads,
    *,
    clock: IReactorTime,
    wall: Callable[[], float] = time.time,
) -> SqlQueue:
    """Make the queue that the settings name, and open it; raises QueueError."""
    queue = make_queue(settings, reactor, clock=clock, wall=wall)
    queue.open()
    return queue

"""Opening the queue that the settings name."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailgate.queue.interface import QueueError, QueueSettings
from mailgate.queue.sql import SqlQueue
from mailgate.queue.sqlite import SqliteDatabase, path_of


def make_queue(settings: QueueSettings, reactor: IReactorFromThreads, *, clock: IReactorTime) -> SqlQueue:
    """
    Return the queue that the settings name, not yet open: no file is touched, no thread started.

    Deferreds fire in `reactor`; `clock` tells seconds since the epoch. Raises QueueError where the URL names no
    database that this version knows.
    """
    try:
        url = make_url(settings.url)
    except ArgumentError as error:
        raise QueueError("the queue's URL can't be read; write sqlite:///path/of/the/file") from error
    if url.get_backend_name() != "sqlite":
        raise QueueError(f"this version keeps its queue in SQLite, not in {url.get_backend_name()}")
    return SqlQueue(SqliteDatabase(path_of(url)), reactor, clock=clock, retention=settings.retention)


def open_queue(settings: QueueSettings, reactor: IReactorFromThreads, *, clock: IReactorTime) -> SqlQueue:
    """Make the queue that the settings name, and open it; raises QueueError."""
    queue = make_queue(settings, reactor, clock=clock)
    queue.open()
    return queue

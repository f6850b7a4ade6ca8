"""Opening the queue that the settings name."""

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailgate.queue.interface import QueueError, QueueSettings
from mailgate.queue.sql import SqlQueue
from mailgate.queue.sqlite import SqliteDatabase, path_of


def open_queue(settings: QueueSettings, reactor: IReactorFromThreads, *, clock: IReactorTime) -> SqlQueue:
    """
    Open the queue, make or upgrade its schema, and release the leases of a gateway that died.

    Deferreds fire in `reactor`; `clock` tells seconds since the epoch. Blocks until it is done, so it belongs
    before the reactor runs. Raises QueueError.
    """
    try:
        url = make_url(settings.url)
    except ArgumentError as error:
        raise QueueError("the queue's URL can't be read; write sqlite:///path/of/the/file") from error
    if url.get_backend_name() != "sqlite":
        raise QueueError(f"this version keeps its queue in SQLite, not in {url.get_backend_name()}")
    database = SqliteDatabase(path_of(url), clock.seconds())
    return SqlQueue(database, reactor, clock=clock, retention=settings.retention)

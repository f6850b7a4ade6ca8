"""An SQLite file and what lies beside it, before any transaction: its lock, its head, and a look into it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, create_engine
from sqlalchemy.pool import NullPool

from mailgate.queue.interface import QueueError
from mailgate.queue.migrate import stored_revision
from mailgate.queue.sqlite_log import DamagedLogError, LogCheck

ADVICE = "; it is left as it is: salvage it, or name another file (docs/operations.md)"
"""What is said of a file that is damaged, or another program's."""

_CHECKED = ("messages", "recipients", "idempotency_keys", "usage")
"""The tables that every step walks, with their indexes. Contents are left out: they make up the file's size."""

_MAGIC = b"SQLite format 3\0"
"""What every SQLite file but an empty one begins with (the file format's section 1.3.1)."""

_HEADER = 100


def check_file(path: Path) -> None:
    """Look at the directory and the file, if it is there, without touching either. Raises QueueError."""
    _check_directory(path)
    try:
        head = _head(path)
    except FileNotFoundError:
        return
    except OSError as error:
        raise QueueError(f"the queue {path} can't be read: {error.strerror}") from error
    if head[: len(_MAGIC)] not in (b"", _MAGIC):
        raise QueueError(f"the queue {path} is not an SQLite database{ADVICE}")
    check_length(path)


def check_length(path: Path) -> None:
    """Raise QueueError where the file is shorter than its header says (the file format's section 1.3.7)."""
    log = path.with_name(path.name + "-wal")
    try:
        # A log that is yet to be written back may be ahead of the file's length.
        if log.exists() and log.stat().st_size:
            return
        head, length = _head(path), path.stat().st_size
    except OSError:
        return
    pages, size = int.from_bytes(head[28:32]), int.from_bytes(head[16:18])
    valid = len(head) == _HEADER and head.startswith(_MAGIC) and head[24:28] == head[92:96]
    if valid and pages * (65536 if size == 1 else size) > length:
        raise QueueError(f"the queue {path} is damaged: its end is missing{ADVICE}")


def lock_file(path: Path) -> int:
    """Take the lock ``….lock`` beside the file, and return its descriptor; raises QueueError where it is taken."""
    _check_directory(path)
    name = path.with_name(path.name + ".lock")
    try:
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise QueueError(f"the queue's lock file {name} can't be opened: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        raise QueueError(f"another mailgate has this queue open: {path}") from None
    except OSError as error:
        os.close(lock)
        raise QueueError(f"the queue's lock file {name} can't be locked: {error.strerror}") from error
    return lock


def make_file(path: Path) -> tuple[int, int] | None:
    """
    Make the file, for its owner alone, unless it is there; return its identity.

    SQLite itself would follow the umask.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
    except OSError as error:
        raise QueueError(f"the queue {path} can't be opened: {error.strerror}") from error
    status = file_status(path)
    return None if status is None else (status.st_dev, status.st_ino)


def file_status(path: Path) -> os.stat_result | None:
    """Return what the file system says of the file, or None where there is none."""
    try:
        return path.stat()
    except OSError:
        return None


def look_through(path: Path) -> None:
    """
    Look for what is visibly wrong with the file and its log, before anything is written.

    Raises QueueError for a file that is another program's or damaged, and what SQLite raises.
    """
    try:
        with LogCheck(path) as log, _looking(path, with_log=log.exists) as connection:
            _check_tables(connection, path)
            log.finish()
    except DamagedLogError as error:
        raise QueueError(f"the log {path}-wal of the queue is damaged{ADVICE}") from error
    except OSError as error:
        raise QueueError(f"the queue {path} can't be read: {error.strerror}") from error


def _check_tables(connection: Connection, path: Path) -> None:
    if stored_revision(connection, str(path)) is not None:
        for table in _CHECKED:
            found = connection.exec_driver_sql(f"PRAGMA quick_check({table})").scalar()
            if found != "ok":
                raise QueueError(f"the queue {path} is damaged{ADVICE}")


@contextmanager
def _looking(path: Path, *, with_log: bool) -> Iterator[Connection]:
    """
    Lend a connection that changes neither the file nor its log.

    The last one that may write would move the log into the file when it closes.
    """
    # Read as if nobody could change it, nothing is made beside the file. A log wants its index.
    how = {"mode": "ro"} if with_log else {"immutable": "1"}
    address = URL.create("sqlite", database=f"file:{quote(str(path))}", query={**how, "uri": "true"})
    engine = create_engine(address, poolclass=NullPool, hide_parameters=True)
    with engine.connect() as connection:
        yield connection


def _check_directory(path: Path) -> None:
    if not path.parent.is_dir():
        raise QueueError(f"the queue {path} needs its directory {path.parent}, which doesn't exist")


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEADER)

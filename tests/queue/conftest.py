"""What the queue's tests share."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mailgate.model.ids import new_id
from mailgate.queue.interface import NewMessage, QueueSettings
from mailgate.queue.opening import make_database, open_queue
from mailgate.queue.sqlite import SqliteDatabase

NOW = 1_790_000_000.0
DEADLINE = 30.0


class SettableClock:
    def __init__(self):
        self.now = NOW

    def seconds(self):
        return self.now


def new_message(**changed) -> NewMessage:
    """Return a message as intake would make it."""
    created_at = changed.get("created_at", NOW)
    message = changed.setdefault("id", new_id(created_at))
    if changed.get("due_at", created_at) > created_at:
        changed.setdefault("scheduled_at", changed["due_at"])
    values = {
        "message_id": f"<{message}@gate.example.com>",
        "client": "장치-7",
        "door": "https",
        "created_at": created_at,
        "due_at": created_at,
        "expires_at": created_at + 5 * 86400,
        "sender": "noreply@example.com",
        "recipients": ("김@example.com", "lee@example.com"),
        "content": "Subject: 안녕하세요\r\n\r\n본문\r\n".encode(),
        "eight_bit": True,
        "smtputf8": True,
        "fingerprint": "0" * 64,
        "metadata": {"주문": "42"},
    }
    return NewMessage(**(values | changed))


@pytest.fixture(name="new_message")
def new_message_factory():
    return new_message


@pytest.fixture
def now():
    return NOW


@pytest.fixture
def clock():
    return SettableClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "대기열.db"


@pytest.fixture
def database(path, clock):
    """A fresh SQLite database that nobody else uses."""
    database = SqliteDatabase(path, clock, clock.seconds, busy=0.05)
    database.open()
    yield database
    database.close()


@pytest.fixture
def any_database(url, clock):
    """A fresh database of each kind, open."""
    database = make_database(url, clock, clock.seconds)
    database.open()
    yield database
    database.close()


@pytest.fixture
def connection(any_database):
    """A writing connection inside a transaction that is committed in the end, to each kind of database."""
    with any_database.writer() as connection, connection.begin():
        yield connection


@pytest.fixture(params=["file", "memory", "postgresql"])
def url(request, path):
    """The URL of a database of each kind that a queue can be kept in, without a message."""
    match request.param:
        case "postgresql":
            return request.getfixturevalue("postgresql").new_database()
        case "memory":
            return f"sqlite:///{request.getfixturevalue('path_in_memory')}"
        case _:
            return f"sqlite:///{path}"


@pytest.fixture
def path_in_memory():
    """A path on a file system that has no disk."""
    if not os.access("/dev/shm", os.W_OK):
        pytest.skip("there is no file system in memory here")
    with TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder) / "대기열.db"


@pytest.fixture
def open_here(url, turns, clock):
    """Opens the queue at `url`; a queue that is still open in the end is closed."""
    opened = []

    def open_it(retention=7 * 86400.0):
        opened.append(
            open_queue(QueueSettings(url=url, retention=retention), turns, clock=clock, wall=clock.seconds)
        )
        return opened[-1]

    yield open_it
    for each in opened:
        turns.wait(each.close())

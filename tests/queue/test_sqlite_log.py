"""A log that has lost what was committed to it: it is refused, and stays for whoever can save something of it."""

import os
import shutil

import pytest

from mailgate.queue.accepting import accept
from mailgate.queue.interface import QueueError
from mailgate.queue.leasing import claim
from mailgate.queue.sqlite import SqliteDatabase


@pytest.fixture
def log(path):
    return path.with_name(path.name + "-wal")


@pytest.fixture
def messages(new_message):
    return [new_message(content=b"Subject: x\r\n\r\n" + b"x" * 6000) for _ in range(60)]


@pytest.fixture
def crashed(path, tmp_path, clock, messages, now):
    """A file and a log of twenty transactions, as a gateway leaves them that is killed."""
    original = tmp_path / "original"
    original.mkdir()
    database = SqliteDatabase(original / path.name, clock, clock.seconds)
    database.open()
    with database.writer() as connection:
        for start in range(0, len(messages), 3):
            with connection.begin():
                accept(connection, messages[start : start + 3], "here", now)
        for each in (original / path.name, original / f"{path.name}-wal"):
            shutil.copyfile(each, path.with_name(each.name))
    database.close()
    return path


def claimed(path, clock, now):
    database = SqliteDatabase(path, clock, clock.seconds)
    database.open()
    with database.writer() as connection, connection.begin():
        claims = claim(connection, 100, "here", now)
    database.close()
    return {each.id for each in claims}


def test_a_log_is_read_after_a_crash(crashed, clock, messages, now):
    assert claimed(crashed, clock, now) == {each.id for each in messages}


def test_a_log_that_ends_in_a_torn_transaction_is_read_up_to_it(crashed, log, clock, now):
    os.truncate(log, 300 * 1024)
    assert 0 < len(claimed(crashed, clock, now)) < 60


def test_a_log_that_holds_nothing_yet_is_none(crashed, log, clock, now):
    shutil.copyfile("/dev/null", log)
    assert claimed(crashed, clock, now) == set()


def refused(path, log, clock):
    before = [each.read_bytes() for each in (path, log)]
    with pytest.raises(QueueError) as caught:
        SqliteDatabase(path, clock, clock.seconds).open()
    assert [each.read_bytes() for each in (path, log)] == before
    return str(caught.value)


@pytest.mark.parametrize(
    ("at", "octets"), [(0, bytes(32)), (0, b"garbage " * 1000), (24, b"x" * 8), (100 * 1024, b"garbage " * 1000)]
)
def test_garbage_in_the_log_is_refused_and_stays(crashed, log, clock, at, octets):
    with log.open("r+b") as file:
        file.seek(at)
        file.write(octets)
    assert refused(crashed, log, clock).startswith(f"the log {log} of the queue is damaged; it is left as it is")


def test_a_log_whose_file_is_empty_is_refused_and_stays(crashed, log, clock):
    os.truncate(crashed, 0)
    assert refused(crashed, log, clock).startswith(f"the log {log} of the queue is damaged")

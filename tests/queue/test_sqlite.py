"""Opening an SQLite file, and living with one that fails."""

import os
import shutil
import sqlite3
import stat
import tempfile
from pathlib import Path

import pytest
from sqlalchemy import event
from twisted.internet.defer import gatherResults

from mailgate.model.outcome import Outcome, Status
from mailgate.queue.interface import QueueError, QueueSettings, Settlement
from mailgate.queue.opening import open_queue
from mailgate.queue.sql import SqlQueue
from mailgate.queue.sqlite import SqliteDatabase


@pytest.fixture
def url(path):
    """What is told here is SQLite's alone."""
    return f"sqlite:///{path}"


@pytest.fixture
def refused(turns, clock):
    """Tries to open a queue that can't be, and returns the sentence."""

    def refused(url):
        with pytest.raises(QueueError) as caught:
            open_queue(QueueSettings(url=str(url)), turns, clock=clock)
        return str(caught.value)

    return refused


@pytest.fixture
def impatient(path, turns, clock):
    """A queue that waits for a locked file a twentieth of a second only."""
    database = SqliteDatabase(path, clock, clock.seconds, busy=0.05)
    queue = SqlQueue(database, turns, clock=clock, retention=60.0)
    queue.open()
    queue.engine = database.engine
    yield queue
    turns.wait(queue.close())


@pytest.fixture
def for_anyone():
    """A directory that an unprivileged user can use, outside of pytest's, which only its owner can enter."""
    directory = Path(tempfile.mkdtemp())
    if os.geteuid() == 0:
        os.chown(directory, 65534, 65534)
    yield directory
    shutil.rmtree(directory)


@pytest.fixture
def unprivileged(for_anyone):
    """The test runs as somebody whom file modes bind."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    yield
    os.seteuid(0)


def finished(message, at):
    outcomes = tuple(Outcome(position, Status.ACCEPTED, None) for position in range(len(message.recipients)))
    return Settlement(message.id, outcomes, at, None)


def test_a_new_file_is_its_owners_alone(open_here, path, turns, new_message):
    previous = os.umask(0)
    try:
        turns.wait(open_here().accept(new_message()))
    finally:
        os.umask(previous)
    files = sorted(path.parent.iterdir())
    assert [each.name for each in files] == [
        "대기열.db",
        "대기열.db-shm",
        "대기열.db-wal",
        "대기열.db.lock",
        "대기열.db.reserve",
    ]
    assert {stat.S_IMODE(each.stat().st_mode) for each in files} == {0o600}


def test_a_commit_waits_for_the_disk(database):
    with database.writer() as connection:
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


def test_a_reader_cannot_write_behind_the_writers_back(database):
    with database.reader() as reader, reader.begin():
        assert reader.exec_driver_sql("SELECT count(*) FROM messages").scalar_one() == 0
        with database.writer() as writer, writer.begin():
            assert writer.exec_driver_sql("DELETE FROM messages").rowcount == 0


def test_closing_leaves_one_tidy_file(open_here, path, turns, clock, new_message, now):
    queue = open_here()
    turns.wait(queue.accept(new_message(lease=True)))
    clock.now = now + 7
    turns.wait(queue.close())
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "대기열.db",
        "대기열.db.lock",
        "대기열.db.reserve",
    ]
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert connection.execute("SELECT lease, due_at FROM messages").fetchall() == [(None, now + 7)]
    connection.close()


def test_one_gateway_at_a_time(open_here, path, refused, turns):
    queue = open_here()
    assert refused(f"sqlite:///{path}") == f"another mailgate has this queue open: {path}"
    turns.wait(queue.close())
    open_here()


def test_the_directory_must_exist(tmp_path, refused):
    sentence = refused(f"sqlite:///{tmp_path}/missing/queue.db")
    assert f"{tmp_path}/missing, which doesn't exist" in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"hello", b"not a database " * 1000])
def test_a_file_that_is_no_database_is_left_alone(path, refused, content):
    path.write_bytes(content)
    advice = "it is left as it is: salvage it, or name another file (docs/operations.md)"
    assert refused(f"sqlite:///{path}") == f"the queue {path} is not an SQLite database (SQLITE_NOTADB); {advice}"
    assert path.read_bytes() == content


def test_a_damaged_file_is_left_alone(open_here, path, refused, turns, new_message):
    queue = open_here()
    turns.wait(gatherResults([queue.accept(new_message()) for _ in range(50)]))
    turns.wait(queue.close())
    damaged = path.read_bytes()[:100] + b"\xff" * 8092
    path.write_bytes(damaged)
    assert "is damaged" in refused(f"sqlite:///{path}")
    assert path.read_bytes() == damaged


def test_another_programs_database_is_left_alone(path, refused):
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE 사진 (x)")
    connection.close()
    assert refused(f"sqlite:///{path}") == f"{path} holds the tables of another program"


def test_a_directory_is_no_file(tmp_path, refused):
    (tmp_path / "queue.db").mkdir()
    assert refused(f"sqlite:///{tmp_path}/queue.db").endswith("can't be opened: Is a directory")


@pytest.mark.parametrize("mode", [0o000, 0o400])
def test_a_file_that_cannot_be_written(for_anyone, refused, unprivileged, turns, clock, mode):
    path = for_anyone / "queue.db"
    queue = open_queue(QueueSettings(url=f"sqlite:///{path}"), turns, clock=clock)
    turns.wait(queue.close())
    path.chmod(mode)
    assert refused(f"sqlite:///{path}") == f"the queue {path} can't be opened: Permission denied"


def test_a_directory_that_cannot_be_written(for_anyone, refused, unprivileged):
    for_anyone.chmod(0o500)
    path = for_anyone / "queue.db"
    assert refused(f"sqlite:///{path}") == f"the queue's lock file {path}.lock can't be opened: Permission denied"


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("postgresql://gate:secret@localhost/mail", "names postgresql; write sqlite:///path/of/the/file or"),
        ("sqlite+aiosqlite:////tmp/x.db", "names the driver sqlite+aiosqlite"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:x.db?uri=true", "names no file"),
        ("sqlite:////tmp/x.db?timeout=1", "takes nothing but the path"),
        ("sqlite://host/x.db", "takes nothing but the path"),
        ("var/mailgate.db", "can't be read"),
        ("nonsense://x", "names nonsense; write sqlite:///path/of/the/file or"),
    ],
)
def test_a_url_that_means_no_file_is_refused(refused, url, fault):
    assert fault in refused(url)


def test_a_failed_opening_frees_the_lock(path, refused, open_here):
    path.write_bytes(b"no database")
    refused(f"sqlite:///{path}")
    path.unlink()
    open_here()


def fits(deferred, turns):
    try:
        turns.wait(deferred)
    except QueueError as error:
        return "the disk is full" not in str(error)
    return True


def test_a_full_disk_fails_what_does_not_fit_and_nothing_else(impatient, turns, new_message, now):
    pages = [10_000]
    event.listen(
        impatient.engine, "connect", lambda driver, _: driver.execute(f"PRAGMA max_page_count={pages[0]}")
    )
    pages[0] = 60
    huge = new_message(content=b"x" * 400_000)
    small = new_message(lease=True)
    deferreds = [impatient.accept(huge), impatient.accept(small)]
    with pytest.raises(QueueError, match="the disk is full"):
        turns.wait(deferreds[0])
    assert turns.wait(deferreds[1]).id == small.id
    others = [new_message(lease=True, content=b"x" * 5000) for _ in range(40)]
    stored = [small, *(message for message in others if fits(impatient.accept(message), turns))]
    assert 3 < len(stored) < 40
    last = new_message(content=b"x" * 5000)
    deferreds = [impatient.accept(last), impatient.accept(huge), impatient.settle(finished(stored.pop(), now))]
    assert turns.wait(deferreds[2]) is True
    assert turns.wait(deferreds[0]).id == last.id
    assert not fits(deferreds[1], turns)
    results = [turns.wait(impatient.settle(finished(message, now))) for message in stored]
    assert set(results) == {True}
    turns.wait(impatient.accept(new_message(content=b"x" * 5000)))
    pages[0] = 10_000
    # The connection that knows the old bound is given up for it.
    assert turns.wait(impatient.accept(huge)).id == huge.id


def test_on_a_full_disk_a_notice_takes_the_room_of_what_it_is_about_or_waits(impatient, turns, new_message, now):
    event.listen(impatient.engine, "connect", lambda driver, _: driver.execute("PRAGMA max_page_count=60"))
    small = new_message(lease=True)
    turns.wait(impatient.accept(small))
    others = [new_message(lease=True, content=b"x" * 5000) for _ in range(60)]
    stored = [message for message in others if fits(impatient.accept(message), turns)]
    assert 3 < len(stored) < 60

    def undelivered(message, size):
        outcomes = tuple(Outcome(position, Status.FAILED, None) for position in (0, 1))
        notice = new_message(sender="", recipients=("ops@example.com",), content=b"x" * size)
        return Settlement(message.id, outcomes, now, None, notice=notice)

    waiting = undelivered(small, 20_000)
    with pytest.raises(QueueError, match="the disk is full"):
        turns.wait(impatient.settle(waiting))
    assert turns.wait(impatient.find(small.client, small.id)).status is Status.SENDING
    assert turns.wait(impatient.settle(undelivered(stored.pop(), 4000))) is True
    for message in stored:
        turns.wait(impatient.settle(finished(message, now)))
    assert turns.wait(impatient.settle(waiting)) is True
    assert waiting.notice.id in {each.id for each in turns.wait(impatient.claim(10, now))}


def test_a_locked_file_fails_the_calls_and_heals(impatient, path, turns, new_message, now):
    first = new_message()
    turns.wait(impatient.accept(first))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    message = new_message()
    calls = [impatient.accept(message), impatient.claim(5, now), impatient.accept(new_message())]
    for call in calls:
        with pytest.raises(QueueError, match="is locked by another process"):
            turns.wait(call)
    assert turns.wait(impatient.find(first.client, first.id)) is not None
    assert turns.wait(impatient.find(message.client, message.id)) is None
    other.execute("ROLLBACK")
    other.close()
    assert turns.wait(impatient.accept(message)).id == message.id
    assert len(turns.wait(impatient.claim(5, now))) == 2


def test_a_lock_that_comes_between_is_waited_for_once(impatient, path, turns, new_message):
    stored = new_message()
    turns.wait(impatient.accept(stored))
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    begun = []

    @event.listens_for(impatient.engine, "begin", insert=True)
    def lock_the_second(connection):
        begun.append(connection)
        if len(begun) == 2:
            other.execute("BEGIN IMMEDIATE")

    deferreds = [
        impatient.accept(message) for message in (new_message(id=stored.id), new_message(), new_message())
    ]
    for deferred in deferreds:
        with pytest.raises(QueueError, match="is locked by another process"):
            turns.wait(deferred)
    assert len(begun) == 2
    other.close()
    turns.wait(impatient.accept(new_message()))


def test_a_question_that_cannot_be_answered_says_so_and_the_next_one_is(impatient, path, turns, new_message):
    message = new_message()
    turns.wait(impatient.accept(message))
    path.rename(path.with_name("moved.db"))
    with pytest.raises(QueueError, match="can't be opened"):
        turns.wait(impatient.find(message.client, message.id))
    path.with_name("moved.db").rename(path)
    assert turns.wait(impatient.find(message.client, message.id)).id == message.id


def test_a_file_that_was_moved_away_takes_nothing_more(impatient, path, turns, new_message):
    turns.wait(impatient.accept(new_message()))
    path.rename(path.with_name("moved.db"))
    for _ in range(2):
        with pytest.raises(QueueError, match=r"(was moved or replaced|can't be opened)"):
            turns.wait(impatient.accept(new_message()))
    assert not path.exists()
    path.with_name("moved.db").rename(path)
    assert not turns.wait(impatient.accept(new_message())).replayed


def test_a_file_that_was_replaced_takes_nothing_more(impatient, path, turns, new_message):
    turns.wait(impatient.accept(new_message()))
    path.rename(path.with_name("moved.db"))
    path.write_bytes(path.with_name("moved.db").read_bytes())
    for _ in range(2):
        with pytest.raises(QueueError, match="was moved or replaced"):
            turns.wait(impatient.accept(new_message()))
    path.with_name("moved.db").replace(path)
    turns.wait(impatient.accept(new_message()))


def test_closing_a_locked_file_says_so_and_closes_all_the_same(path, turns, clock, new_message, now):
    queue = SqlQueue(SqliteDatabase(path, clock, clock.seconds, busy=0.05), turns, clock=clock, retention=60.0)
    queue.open()
    message = new_message(lease=True)
    turns.wait(queue.accept(message))
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(QueueError, match="is locked by another process"):
        turns.wait(queue.close())
    other.execute("ROLLBACK")
    other.close()
    again = SqlQueue(SqliteDatabase(path, clock, clock.seconds, busy=0.05), turns, clock=clock, retention=60.0)
    again.open()
    assert [each.id for each in turns.wait(again.claim(1, now))] == [message.id]
    turns.wait(again.close())


def test_many_waiting_calls_share_a_commit(impatient, turns, new_message):
    commits = []

    @event.listens_for(impatient.engine, "commit")
    def note(connection):
        commits.append(connection)

    turns.wait(gatherResults([impatient.accept(new_message()) for _ in range(200)]))
    assert len(commits) == 1
    turns.wait(impatient.accept(new_message()))
    assert len(commits) == 2


def test_a_receipt_is_told_only_after_the_commit(impatient, path, turns, new_message):
    message = new_message()
    seen = []

    def look(_receipt):
        other = sqlite3.connect(path)
        seen.extend(other.execute("SELECT id FROM messages"))
        other.close()

    turns.wait(impatient.accept(message).addCallback(look))
    assert seen == [(message.id,)]


def test_damage_that_shows_while_running_keeps_new_mail_out_for_good(impatient, path, turns, new_message, now):
    turns.wait(impatient.accept(new_message(due_at=now, content=b"x" * 50_000)))
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    octets = path.read_bytes()
    at = octets.index(b"x" * 4000) // 4096 * 4096
    assert at > 0
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xff" * (len(octets) - at))
    with pytest.raises(QueueError, match="is damaged"):
        turns.wait(impatient.claim(1, now))
    assert "salvage it" in impatient.hang()
    fits(impatient.settle(finished(new_message(), now)), turns)
    assert "salvage it" in impatient.hang()


def test_a_file_whose_end_is_missing_is_refused_before_it_is_opened(open_here, path, refused, turns, new_message):
    queue = open_here()
    turns.wait(queue.accept(new_message(content=b"x" * 50_000)))
    turns.wait(queue.close())
    cut = path.read_bytes()[:-4096]
    path.write_bytes(cut)
    assert "its end is missing" in refused(f"sqlite:///{path}")
    assert path.read_bytes() == cut

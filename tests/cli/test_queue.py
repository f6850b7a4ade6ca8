"""``mailgate queue``: looking after the queue's database."""

import sqlite3
import time

import pytest
from click.testing import CliRunner
from twisted.internet.task import Clock

from mailgate.cli import main
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import NewMessage, QueueError, QueueSettings, Settlement
from mailgate.queue.opening import make_database, open_queue
from mailgate.queue.schema import REVISION

SETTINGS = """
hostname = "gate.example.com"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"
[queue]
url = "{url}"
[[upstream]]
host = "smtp.internal"
[clients.unique_client]
senders = ["*@example.com"]
"""


@pytest.fixture
def upgrade(tmp_path):
    """Runs the command on a settings file of this queue."""

    def run(url):
        path = tmp_path / "mailgate.toml"
        path.write_text(SETTINGS.format(url=url))
        return CliRunner().invoke(main, ["queue", "upgrade", "--config", str(path)])

    return run


def test_a_file_is_made_ready_and_then_left_as_it_is(upgrade, tmp_path):
    for _ in range(2):
        result = upgrade("sqlite:///mailgate.db")
        assert (result.exit_code, result.output) == (0, f"The queue has the schema {REVISION}.\n")
    assert (tmp_path / "mailgate.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "mailgate.db") as connection:
        assert connection.execute("SELECT version_num FROM mailgate_schema").fetchall() == [(REVISION,)]
    connection.close()


def test_a_newer_file_is_refused_in_words(upgrade, tmp_path):
    assert upgrade("sqlite:///mailgate.db").exit_code == 0
    connection = sqlite3.connect(tmp_path / "mailgate.db")
    with connection:
        connection.execute("UPDATE mailgate_schema SET version_num = '9999'")
    connection.close()
    result = upgrade("sqlite:///mailgate.db")
    assert result.exit_code == 1
    assert "has the schema 9999 of a newer mailgate" in result.output


def test_a_file_that_a_gateway_has_open_is_left_alone(upgrade, tmp_path, turns):
    queue = open_queue(QueueSettings(url=f"sqlite:///{tmp_path}/mailgate.db"), turns, clock=Clock())
    result = upgrade("sqlite:///mailgate.db")
    assert result.exit_code == 1
    assert "another mailgate has this queue open" in result.output
    turns.wait(queue.close())


def test_postgresql_is_made_ready(upgrade, postgresql):
    url = postgresql.new_database(template="template1")
    for _ in range(2):
        assert upgrade(url).output == f"The queue has the schema {REVISION}.\n"


def test_a_database_in_another_encoding_is_left_empty(upgrade, postgresql):
    postgresql.ask("CREATE DATABASE ascii TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'")
    result = upgrade(postgresql.url("ascii"))
    assert result.exit_code == 1
    assert result.output.endswith("/ascii keeps texts in SQL_ASCII; mail needs a database in UTF8\n")
    queue = make_database(postgresql.url("ascii"), Clock())
    with pytest.raises(QueueError, match="SQL_ASCII"):
        queue.open()
    postgresql.ask("ALTER DATABASE ascii RENAME TO ascii_left")


def test_a_server_that_is_away_is_one_sentence(upgrade):
    result = upgrade("postgresql+psycopg://gate:geheim@127.0.0.1:1/mail")
    assert result.exit_code == 1
    assert "the queue 127.0.0.1:1/mail can't be reached" in result.output
    assert "geheim" not in result.output


@pytest.fixture(params=["file", "postgresql"])
def with_held(request, tmp_path, turns, upgrade):
    """A queue that a gateway has open, with two messages of which the second is on hold; and the clock."""
    url = "sqlite:///mailgate.db"
    if request.param == "postgresql":
        url = request.getfixturevalue("postgresql").new_database()
    assert upgrade(url).exit_code == 0
    absolute = f"sqlite:///{tmp_path}/mailgate.db" if request.param == "file" else url
    clock = Clock()
    clock.advance(time.time())
    queue = open_queue(QueueSettings(url=absolute), turns, clock=clock)
    for name in ("보통", "보류"):
        turns.wait(queue.accept(message(name, clock.seconds())))
    deferred = (Outcome(0, Status.DEFERRED, Reply(451, "4.4.2", "it may have been delivered")),)
    expiry = clock.seconds() + 86400
    settlement = Settlement("보류", deferred, clock.seconds(), expiry, on_hold=True)
    assert turns.wait(queue.settle(settlement)) is True
    yield queue, clock
    turns.wait(queue.close())


def message(name, now):
    return NewMessage(
        id=name,
        message_id=f"<{name}@gate.example.com>",
        client="장치-7",
        door="https",
        created_at=now,
        due_at=now,
        expires_at=now + 86400,
        sender="dev@example.com",
        recipients=("kim@example.com",),
        content=b"\r\n",
        eight_bit=False,
        smtputf8=False,
        fingerprint="",
        metadata={},
        lease=True,
    )


def run(tmp_path, *arguments):
    return CliRunner().invoke(main, ["queue", *arguments, "--config", str(tmp_path / "mailgate.toml")])


def test_what_is_on_hold_is_listed_while_the_gateway_runs(with_held, tmp_path, turns):
    queue, _ = with_held
    header, line = run(tmp_path, "held").output.splitlines()
    assert header.split() == ["ID", "CLIENT", "SENDER", "RECIPIENT", "SINCE", "EXPIRES", "MESSAGE-ID"]
    assert line.split()[:4] == ["보류", "장치-7", "dev@example.com", "kim@example.com"]
    assert line.split()[-1] == "<보류@gate.example.com>"
    record = turns.wait(queue.find("장치-7", "보류"))
    assert (record.status, record.next_attempt_at) == (Status.DEFERRED, None)


def test_what_is_on_hold_can_be_tried_again(with_held, tmp_path, turns):
    queue, clock = with_held
    assert turns.wait(queue.claim(5, clock.seconds())) == []
    assert run(tmp_path, "retry", "보류").output == "보류 is tried again.\n"
    clock.advance(5)
    [claim] = turns.wait(queue.claim(5, clock.seconds()))
    assert (claim.id, claim.on_hold, claim.attempts) == ("보류", False, 1)
    assert run(tmp_path, "held").output == "Nothing is on hold.\n"


def test_what_is_not_on_hold_is_told_so(with_held, tmp_path):
    result = run(tmp_path, "retry", "보통", "없음", "보류")
    assert result.exit_code == 1
    assert result.output == "Error: not on hold: 보통, 없음; nothing was done\n"
    assert "보류" in run(tmp_path, "held").output


def test_without_a_queue_nothing_is_listed_or_made(tmp_path, upgrade):
    assert upgrade("sqlite:///mailgate.db").exit_code == 0
    (tmp_path / "mailgate.db").unlink()
    result = run(tmp_path, "held")
    assert (result.exit_code, result.output) == (1, f"Error: there is no queue {tmp_path}/mailgate.db\n")
    assert not (tmp_path / "mailgate.db").exists()

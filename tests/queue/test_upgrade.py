"""What an older gateway has left in its queue is the next one's."""

import time
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic import command

from mailgate.model.outcome import Status
from mailgate.queue import migrate
from mailgate.queue.interface import KEY_SECONDS, LEASE_SECONDS, QueueSettings
from mailgate.queue.opening import make_database, open_queue


@pytest.fixture(params=["file", "postgresql"])
def old_url(request, path: Path):
    """The URL of a database without any table."""
    if request.param == "postgresql":
        return request.getfixturevalue("postgresql").new_database(template="template1")
    return f"sqlite:///{path}"


@pytest.fixture
def old(old_url):
    """A connection to the database as the first version left it."""
    engine = sa.create_engine(old_url)
    with engine.connect() as connection, connection.begin():
        config = migrate._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        yield connection
    engine.dispose()


def fill(connection, now):
    tables = sa.MetaData()
    tables.reflect(connection)
    common = {
        "message_id": "<a@gate.example.com>",
        "client": "장치-7",
        "door": "https",
        "sender": "a@example.com",
        "eight_bit": True,
        "smtputf8": False,
        "size": 7,
        "metadata": '{"주문": "42"}',
        "keyed": False,
        "created_at": now - 100,
        "scheduled_at": None,
        "expires_at": now + 86400,
        "status": "queued",
        "attempts": 0,
        "lease": None,
        "due_at": None,
        "finished_at": None,
    }
    rows = [
        {"id": "due", "due_at": now - 90, "keyed": True},
        {"id": "deferred", "due_at": now + 50, "status": "deferred", "attempts": 2},
        {"id": "scheduled", "due_at": now + 70, "scheduled_at": now + 70, "status": "scheduled"},
        {"id": "leased", "due_at": now + LEASE_SECONDS, "lease": "죽은"},
        {"id": "finished", "finished_at": now - 10, "status": "accepted", "attempts": 1},
    ]
    connection.execute(sa.insert(tables.tables["messages"]), [common | row for row in rows])
    for name in ("recipients", "contents"):
        values = {
            "recipients": {"position": 0, "address": "김@example.com", "status": "queued", "updated_at": now - 90},
            "contents": {"content": "본문\r\n".encode()},
        }[name]
        connection.execute(sa.insert(tables.tables[name]), [values | {"message": row["id"]} for row in rows])
    key = {"key": "k", "client": "장치-7", "fingerprint": "0" * 64, "message": "due"}
    connection.execute(sa.insert(tables.tables["idempotency_keys"]), [key])
    day = {"client": "장치-7", "period": 86400.0, "start": now // 86400 * 86400, "messages": 5}
    connection.execute(sa.insert(tables.tables["usage"]), [day])


@pytest.fixture
def now():
    """The time it is: a server has its own, which no test can choose."""
    return time.time()


@pytest.fixture
def upgraded(old_url, old, turns, clock, now):
    clock.now = now
    fill(old, now)
    old.commit()
    make_database(old_url, clock, clock.seconds).upgrade()
    queue = open_queue(QueueSettings(url=old_url, retention=KEY_SECONDS), turns, clock=clock, wall=clock.seconds)
    yield queue
    turns.wait(queue.close())


def test_what_is_due_and_what_a_dead_gateway_had_is_delivered(upgraded, turns, now):
    claims = {claim.id: claim for claim in turns.wait(upgraded.claim(10, now))}
    # Where gateways share a queue, a lease has to end by itself.
    assert sorted(claims) == (["due"] if upgraded.directory is None else ["due", "leased"])
    assert claims["due"].content.decode() == "본문\r\n"


def test_what_waits_goes_on_waiting(upgraded, turns, now):
    turns.wait(upgraded.claim(10, now))
    for message, status, wait in (("deferred", Status.DEFERRED, 50), ("scheduled", Status.SCHEDULED, 70)):
        record = turns.wait(upgraded.find("장치-7", message))
        assert (record.status, record.next_attempt_at) == (status, now + wait)


def test_what_was_told_of_it_is_told_still(upgraded, turns, now, new_message):
    record = turns.wait(upgraded.find("장치-7", "finished"))
    assert (record.status, record.metadata) == (Status.ACCEPTED, {"주문": "42"})
    repeat = turns.wait(upgraded.accept(new_message(idempotency_key="k")))
    assert (repeat.id, repeat.replayed) == ("due", True)
    assert turns.wait(upgraded.used("장치-7", 86400.0, now)) == 5

"""What finding and forgetting promise, without threads."""

import pytest
import sqlalchemy as sa

from mailgate.model.outcome import Outcome, Status
from mailgate.queue import records
from mailgate.queue.accepting import accept
from mailgate.queue.interface import KEY_SECONDS, Quota, Settlement, Survey
from mailgate.queue.leasing import claim, release
from mailgate.queue.records import find, find_by_key, next_due, purge, survey, used
from mailgate.queue.schema import METADATA
from mailgate.queue.settling import settle

DAY = 86400.0


def finish(connection, messages, at):
    outcomes = (Outcome(0, Status.ACCEPTED, None), Outcome(1, Status.ACCEPTED, None))
    assert all(settle(connection, [Settlement(each.id, outcomes, at, None) for each in messages], "here", at))


def rows(connection):
    return {
        table.name: connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()
        for table in METADATA.sorted_tables
    }


def test_a_client_finds_its_own_messages_only(connection, new_message, now):
    message = new_message()
    accept(connection, [message], "here", now)
    record = find(connection, message.client, message.id, now)
    assert record.id == message.id
    assert record.message_id == message.message_id
    assert record.client == "장치-7"
    assert record.metadata == {"주문": "42"}
    assert (record.created_at, record.expires_at, record.next_attempt_at) == (now, message.expires_at, now)
    assert [each.address for each in record.recipients] == ["김@example.com", "lee@example.com"]
    assert find(connection, "another", message.id, now) is None
    assert find(connection, message.client, "unknown", now) is None


def test_a_client_finds_its_message_by_its_key(connection, new_message, now):
    message = new_message(idempotency_key="b7-12")
    accept(connection, [message, new_message(), new_message(client="another", idempotency_key="k")], "here", now)
    assert find_by_key(connection, message.client, "b7-12", now) == find(
        connection, message.client, message.id, now
    )
    assert find_by_key(connection, message.client, "k", now) is None
    assert find_by_key(connection, "another", "b7-12", now) is None


def test_what_waits_is_counted_by_its_status(connection, new_message, now):
    assert survey(connection, now) == Survey({}, None)
    queued = [new_message(created_at=now - 50, due_at=now - 50), new_message(created_at=now - 9, due_at=now - 9)]
    leased = new_message(created_at=now - 70, lease=True)
    scheduled = [new_message(due_at=now + 60), new_message(created_at=now - 500, due_at=now - 20)]
    finished = new_message(created_at=now - 900, lease=True)
    accept(connection, [*queued, leased, *scheduled, finished], "here", now)
    finish(connection, [finished], now)
    assert survey(connection, now) == Survey({Status.QUEUED: 3, Status.SCHEDULED: 2}, now - 70)
    settled = tuple(Outcome(at, Status.DEFERRED, None) for at in (0, 1))
    settle(connection, [Settlement(leased.id, settled, now, now + 60)], "here", now)
    assert survey(connection, now) == Survey({Status.QUEUED: 2, Status.DEFERRED: 1, Status.SCHEDULED: 2}, now - 50)
    claim(connection, 10, "here", now)
    assert survey(connection, now).depth == 5


def test_what_is_scheduled_waits_only_from_its_time_on(connection, new_message, now):
    accept(connection, [new_message(created_at=now - 500, due_at=now + 60)], "here", now)
    assert survey(connection, now).oldest_at is None
    assert survey(connection, now + 61).oldest_at == now + 60


def test_a_scheduled_message_is_queued_once_its_time_has_come(connection, new_message, now):
    message = new_message(due_at=now + 60)
    accept(connection, [message], "here", now)
    for at, status in ((now + 59, Status.SCHEDULED), (now + 60, Status.QUEUED)):
        record = find(connection, message.client, message.id, at)
        assert record.status is status
        assert {each.status for each in record.recipients} == {status}
    claim(connection, 1, "here", now + 60)
    assert find(connection, message.client, message.id, now + 61).status is Status.SENDING
    assert find(connection, message.client, message.id, now + 91).status is Status.QUEUED
    release(connection, [message.id], "here", now + 1000, now)
    assert find(connection, message.client, message.id, now + 62).status is Status.QUEUED


def test_nothing_is_due_in_an_empty_queue(connection):
    assert next_due(connection) is None


def test_finished_messages_are_forgotten_after_the_retention(connection, new_message, now):
    old, young, unfinished = (new_message(lease=True) for _ in range(3))
    accept(connection, [old, young, unfinished], "here", now)
    finish(connection, [old], now)
    finish(connection, [young], now + 1)
    assert purge(connection, DAY, now + DAY - 0.1) == 0
    assert purge(connection, DAY, now + DAY) == 1
    assert find(connection, old.client, old.id, now) is None
    assert find(connection, young.client, young.id, now) is not None
    assert purge(connection, DAY, now + 100 * DAY) == 1
    assert find(connection, unfinished.client, unfinished.id, now) is not None
    assert rows(connection) == {
        "messages": 1,
        "recipients": 2,
        "contents": 1,
        "idempotency_keys": 0,
        "usage": 0,
    }


@pytest.mark.parametrize("retention", [DAY, 30 * DAY])
def test_a_key_lives_seven_days_at_least_and_as_long_as_its_record(connection, new_message, now, retention):
    message = new_message(lease=True, idempotency_key="k")
    accept(connection, [message], "here", now)
    finish(connection, [message], now + 5)
    kept = max(retention, KEY_SECONDS)
    purge(connection, retention, now + 5 + kept - 0.1)
    [receipt] = accept(connection, [new_message(idempotency_key="k")], "here", now)
    assert (receipt.id, receipt.replayed) == (message.id, True)
    assert purge(connection, retention, now + 5 + kept) == 1
    assert set(rows(connection).values()) == {0}
    [receipt] = accept(connection, [new_message(idempotency_key="k")], "here", now)
    assert not receipt.replayed


def test_a_purge_goes_in_steps(connection, new_message, now, monkeypatch):
    monkeypatch.setattr(records, "PURGE_LIMIT", 3)
    messages = [new_message(lease=True, idempotency_key=key) for key in (None, "a", None, "b", None)]
    accept(connection, messages, "here", now)
    finish(connection, messages, now)
    assert [purge(connection, DAY, now + 7 * DAY) for _ in range(3)] == [3, 2, 0]


def test_windows_that_are_over_are_forgotten(connection, new_message):
    at = 3600.0 * 500_000
    messages = [
        new_message(created_at=at, quota=Quota(5, 3600.0)),
        new_message(created_at=at, quota=Quota(5, DAY)),
    ]
    accept(connection, messages, "here", at)
    purge(connection, DAY, at + 3599.9)
    assert used(connection, "장치-7", 3600.0, at) == 1
    purge(connection, DAY, at + 3600.0)
    assert used(connection, "장치-7", 3600.0, at) == 0
    assert used(connection, "장치-7", DAY, at) == 1

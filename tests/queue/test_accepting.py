"""What accepting promises, without threads."""

import pytest
import sqlalchemy as sa

from mailgate.model.outcome import Status
from mailgate.queue.accepting import accept
from mailgate.queue.interface import (
    LEASE_SECONDS,
    IdempotencyKeyReusedError,
    Quota,
    QuotaExceededError,
)
from mailgate.queue.leasing import claim
from mailgate.queue.records import find, next_due, used
from mailgate.queue.schema import MESSAGES


def count(connection):
    return connection.execute(sa.select(sa.func.count()).select_from(MESSAGES)).scalar_one()


def test_a_receipt_names_the_message_and_its_recipients_in_order(connection, new_message, now):
    message = new_message(recipients=("z@example.com", "가@example.com", "a@example.com"))
    [receipt] = accept(connection, [message], "here", now)
    assert (receipt.id, receipt.message_id, receipt.created_at) == (message.id, message.message_id, now)
    assert receipt.recipients == ("z@example.com", "가@example.com", "a@example.com")
    assert receipt.status is Status.QUEUED
    assert not receipt.replayed


def test_what_is_delivered_is_what_was_accepted(connection, new_message, now):
    message = new_message(content=bytes(range(1, 256)) * 9000)
    accept(connection, [message], "here", now)
    [claimed] = claim(connection, 10, "here", now)
    assert claimed == claimed.of(message)


def test_a_scheduled_message_is_not_due_before_its_time(connection, new_message, now):
    [receipt] = accept(connection, [new_message(due_at=now + 600)], "here", now)
    assert receipt.status is Status.SCHEDULED
    assert claim(connection, 10, "here", now + 599.9) == []
    assert len(claim(connection, 10, "here", now + 600)) == 1


def test_a_message_born_leased_is_not_claimed_until_the_lease_ends(connection, new_message, now):
    message = new_message(lease=True)
    accept(connection, [message], "here", now)
    assert find(connection, message.client, message.id, now).status is Status.SENDING
    assert next_due(connection) == now + LEASE_SECONDS
    assert claim(connection, 10, "there", now + LEASE_SECONDS - 0.1) == []
    assert len(claim(connection, 10, "there", now + LEASE_SECONDS)) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_repeat_gets_the_first_receipt(connection, new_message, now, together):
    first = new_message(idempotency_key="열쇠", due_at=now + 60)
    repeat = new_message(idempotency_key="열쇠", created_at=now + 5, due_at=now + 60)
    if together:
        receipts = accept(connection, [first, repeat], "here", now)
    else:
        receipts = accept(connection, [first], "here", now) + accept(connection, [repeat], "here", now + 5)
    assert receipts[1].replayed
    assert receipts[1].status is Status.SCHEDULED
    assert (receipts[1].id, receipts[1].created_at) == (first.id, now)
    assert receipts[1].recipients == first.recipients
    assert count(connection) == 1


@pytest.mark.parametrize("together", [True, False])
def test_a_key_stands_for_one_content(connection, new_message, now, together):
    first = new_message(idempotency_key="k")
    other = new_message(idempotency_key="k", fingerprint="1" * 64)
    if together:
        results = accept(connection, [first, other], "here", now)
    else:
        results = accept(connection, [first], "here", now) + accept(connection, [other], "here", now)
    assert isinstance(results[1], IdempotencyKeyReusedError)
    assert count(connection) == 1


def test_keys_belong_to_their_client(connection, new_message, now):
    messages = [new_message(client=client, idempotency_key=key) for client in "ab" for key in ("k", "l")]
    accept(connection, messages, "here", now)
    again = [new_message(client="b", idempotency_key="k"), new_message(client="c", idempotency_key="l")]
    receipts = accept(connection, again, "here", now)
    assert (receipts[0].id, receipts[0].replayed) == (messages[2].id, True)
    assert (receipts[1].id, receipts[1].replayed) == (again[1].id, False)


@pytest.mark.parametrize("together", [True, False])
def test_a_quota_counts_what_is_stored_and_nothing_else(connection, new_message, together):
    at = 86400.0 * 20_000 + 3600.0
    quota = Quota(2, 86400.0)
    batch = [
        new_message(created_at=at, quota=quota, idempotency_key="k"),
        new_message(created_at=at, quota=quota, idempotency_key="k"),
        new_message(created_at=at, quota=quota, idempotency_key="k", fingerprint="1" * 64),
        new_message(created_at=at, quota=quota),
        new_message(created_at=at, quota=quota),
        new_message(created_at=at, quota=quota, client="다른"),
        new_message(created_at=at + 82800.0, quota=quota),
    ]
    if together:
        results = accept(connection, batch, "here", at)
    else:
        results = [result for message in batch for result in accept(connection, [message], "here", at)]
    assert [getattr(result, "replayed", type(result)) for result in results] == [
        False,
        True,
        IdempotencyKeyReusedError,
        False,
        QuotaExceededError,
        False,
        False,
    ]
    assert results[4].retry_after == 82800.0
    assert used(connection, "장치-7", 86400.0, at) == 2
    assert used(connection, "장치-7", 86400.0, at + 82800.0) == 1
    assert used(connection, "장치-7", 3600.0, at) == 0
    assert count(connection) == 4


def test_a_refused_message_does_not_take_its_key(connection, new_message, now):
    refused = new_message(idempotency_key="k", quota=Quota(0, 60.0))
    [result] = accept(connection, [refused], "here", now)
    assert isinstance(result, QuotaExceededError)
    [receipt] = accept(connection, [new_message(idempotency_key="k")], "here", now)
    assert not receipt.replayed

"""What settling promises, without threads."""

import pytest
import sqlalchemy as sa

from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.accepting import accept
from mailgate.queue.interface import LEASE_SECONDS, Claim, QueueError, Settlement
from mailgate.queue.leasing import claim
from mailgate.queue.records import find, next_due
from mailgate.queue.schema import CONTENTS
from mailgate.queue.settling import settle

OK = Reply(250, "2.0.0", "받았습니다", "smtp1.internal")
BUSY = Reply(451, "4.3.0", "try later", "smtp1.internal")
UNKNOWN = Reply(550, "5.1.1", "no such user", "smtp2.internal")


def contents(connection):
    return connection.execute(sa.select(sa.func.count()).select_from(CONTENTS)).scalar_one()


@pytest.fixture
def leased(connection, new_message, now):
    message = new_message(lease=True)
    accept(connection, [message], "here", now)
    return message


def test_a_delivered_message_keeps_its_record_and_loses_its_content(connection, leased, now):
    outcomes = (Outcome(0, Status.ACCEPTED, OK), Outcome(1, Status.ACCEPTED, OK))
    assert settle(connection, [Settlement(leased.id, outcomes, now + 1, None)], "here", now) == [True]
    record = find(connection, leased.client, leased.id, now + 2)
    assert (record.status, record.attempts, record.next_attempt_at) == (Status.ACCEPTED, 1, None)
    assert [(each.status, each.reply, each.updated_at) for each in record.recipients] == [
        (Status.ACCEPTED, OK, now + 1),
        (Status.ACCEPTED, OK, now + 1),
    ]
    assert contents(connection) == 0
    assert next_due(connection) is None


def test_only_the_deferred_recipients_are_tried_again(connection, leased, now):
    outcomes = (Outcome(0, Status.FAILED, UNKNOWN), Outcome(1, Status.DEFERRED, BUSY))
    settle(connection, [Settlement(leased.id, outcomes, now + 1, now + 31)], "here", now)
    record = find(connection, leased.client, leased.id, now + 2)
    assert (record.status, record.next_attempt_at) == (Status.DEFERRED, now + 31)
    assert [each.status for each in record.recipients] == [Status.FAILED, Status.DEFERRED]
    [again] = claim(connection, 1, "there", now + 31)
    assert again.attempts == 1
    assert [(each.position, each.address) for each in again.recipients] == [(1, "lee@example.com")]
    assert again.content == leased.content
    sending = find(connection, leased.client, leased.id, now + 31)
    assert [each.status for each in sending.recipients] == [Status.FAILED, Status.SENDING]
    assert sending.next_attempt_at is None
    last = Settlement(leased.id, (Outcome(1, Status.ACCEPTED, OK),), now + 32, None)
    assert settle(connection, [last], "there", now) == [True]
    assert find(connection, leased.client, leased.id, now + 33).status is Status.PARTIALLY_ACCEPTED
    assert contents(connection) == 0


def test_an_outcome_without_a_reply_has_none(connection, leased, now):
    outcomes = tuple(Outcome(position, Status.EXPIRED, None) for position in (0, 1))
    settle(connection, [Settlement(leased.id, outcomes, now, None)], "here", now)
    record = find(connection, leased.client, leased.id, now)
    assert record.status is Status.EXPIRED
    assert [each.reply for each in record.recipients] == [None, None]


def test_a_lost_lease_records_nothing(connection, leased, now):
    accepted = tuple(Outcome(position, Status.ACCEPTED, OK) for position in (0, 1))
    failed = tuple(Outcome(position, Status.FAILED, UNKNOWN) for position in (0, 1))
    claim(connection, 1, "there", now + LEASE_SECONDS)
    late = Settlement(leased.id, accepted, now + LEASE_SECONDS, None)
    assert settle(connection, [late], "here", now) == [False]
    assert find(connection, leased.client, leased.id, now + LEASE_SECONDS).status is Status.SENDING
    assert settle(connection, [Settlement(leased.id, failed, now + 40, None)], "there", now) == [True]
    assert settle(connection, [late], "there", now) == [False]
    assert find(connection, leased.client, leased.id, now + 50).status is Status.FAILED


def test_a_lease_that_ran_out_is_still_held_while_nobody_took_it(connection, leased, now):
    outcomes = tuple(Outcome(position, Status.ACCEPTED, OK) for position in (0, 1))
    late = Settlement(leased.id, outcomes, now + 10 * LEASE_SECONDS, None)
    assert settle(connection, [late], "here", now) == [True]


def test_only_the_first_of_two_settlements_of_one_message_counts(connection, leased, now):
    first = tuple(Outcome(position, Status.DEFERRED, BUSY) for position in (0, 1))
    second = tuple(Outcome(position, Status.FAILED, UNKNOWN) for position in (0, 1))
    both = [Settlement(leased.id, first, now, now + 30), Settlement(leased.id, second, now, None)]
    assert settle(connection, both, "here", now) == [True, False]
    assert find(connection, leased.client, leased.id, now).status is Status.DEFERRED


def test_an_unknown_message_is_a_lost_lease(connection, now):
    assert settle(connection, [Settlement("none", (), now, None)], "here", now) == [False]


@pytest.mark.parametrize(
    ("outcomes", "due_at", "fault"),
    [
        ((Outcome(0, Status.ACCEPTED, OK),), None, "leaves recipients open"),
        ((Outcome(0, Status.DEFERRED, BUSY), Outcome(1, Status.FAILED, UNKNOWN)), None, "leaves recipients open"),
        ((Outcome(2, Status.ACCEPTED, OK),), None, "recipient 2 is not open"),
        ((Outcome(0, Status.SENDING, None), Outcome(1, Status.ACCEPTED, OK)), 9e9, "sending is no outcome"),
    ],
)
def test_a_settlement_that_makes_no_sense_changes_nothing(connection, leased, now, outcomes, due_at, fault):
    [result] = settle(connection, [Settlement(leased.id, outcomes, now, due_at)], "here", now)
    assert isinstance(result, QueueError)
    assert fault in str(result)
    record = find(connection, leased.client, leased.id, now)
    assert (record.status, record.attempts) == (Status.SENDING, 0)


def test_a_settled_recipient_keeps_its_outcome(connection, leased, now):
    outcomes = (Outcome(0, Status.ACCEPTED, OK), Outcome(1, Status.DEFERRED, BUSY))
    settle(connection, [Settlement(leased.id, outcomes, now, now)], "here", now)
    claim(connection, 1, "here", now)
    again = Settlement(leased.id, (Outcome(0, Status.FAILED, UNKNOWN),), now, now)
    [result] = settle(connection, [again], "here", now)
    assert isinstance(result, QueueError)


def notice_of(message, new_message, **changed):
    return new_message(client=message.client, door="bounce", sender="", recipients=("ops@example.com",), **changed)


def failed(message, now, notice, due_at=None):
    second = Status.FAILED if due_at is None else Status.DEFERRED
    outcomes = (Outcome(0, Status.FAILED, UNKNOWN), Outcome(1, second, BUSY))
    return Settlement(message.id, outcomes, now, due_at, notice=notice)


@pytest.mark.parametrize("due_in", [None, 30.0])
def test_a_notice_is_stored_with_the_outcome_it_tells(connection, leased, new_message, now, due_in):
    notice = notice_of(leased, new_message)
    settlement = failed(leased, now, notice, None if due_in is None else now + due_in)
    assert settle(connection, [settlement], "here", now) == [True]
    assert find(connection, leased.client, leased.id, now).recipients[0].status is Status.FAILED
    [claimed] = claim(connection, 10, "there", now)
    assert claimed == Claim.of(notice)
    assert next_due(connection) == (now + LEASE_SECONDS if due_in is None else now + due_in)


def test_a_notice_is_due_in_the_queues_time(connection, leased, new_message, now):
    settle(connection, [failed(leased, now, notice_of(leased, new_message))], "here", now, ahead=7.0)
    assert next_due(connection) == now + 7.0


def test_a_lost_lease_stores_no_notice(connection, leased, new_message, now):
    claim(connection, 1, "there", now + LEASE_SECONDS)
    notice = notice_of(leased, new_message)
    assert settle(connection, [failed(leased, now, notice)], "here", now) == [False]
    assert find(connection, leased.client, notice.id, now) is None


def test_a_settlement_that_makes_no_sense_stores_no_notice(connection, leased, new_message, now):
    notice = notice_of(leased, new_message)
    [result] = settle(connection, [Settlement(leased.id, (), now, None, notice=notice)], "here", now)
    assert isinstance(result, QueueError)
    assert find(connection, leased.client, notice.id, now) is None


@pytest.mark.parametrize("due_in", [None, 0.0])
def test_a_settlement_that_was_recorded_before_is_known_by_its_notice(
    connection, leased, new_message, now, due_in
):
    settlement = failed(leased, now, notice_of(leased, new_message), None if due_in is None else now + due_in)
    other = Settlement(
        leased.id, settlement.outcomes, now, settlement.due_at, notice=notice_of(leased, new_message)
    )
    assert settle(connection, [settlement], "here", now) == [True]
    assert settle(connection, [other, settlement], "here", now) == [False, True]
    claims = claim(connection, 10, "here", now)
    assert len(claims) == (1 if due_in is None else 2)
    assert settle(connection, [settlement], "here", now) == [True], "though the rest of it is this gateway's again"
    assert find(connection, leased.client, leased.id, now).attempts == 1

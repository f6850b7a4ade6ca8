"""What a Queue promises to the reactor's side, whichever database it is kept in."""

from dataclasses import replace
from pathlib import Path

import pytest
from twisted.internet.defer import CancelledError, gatherResults

from mailgate.model.outcome import Outcome, Status
from mailgate.queue import records
from mailgate.queue.interface import (
    LEASE_SECONDS,
    Claim,
    IdempotencyKeyReusedError,
    QueueError,
    QueueSettings,
    Quota,
    QuotaExceededError,
    Settlement,
    Survey,
)
from mailgate.queue.opening import make_queue


def accepted(message, at):
    outcomes = tuple(Outcome(position, Status.ACCEPTED, None) for position in range(len(message.recipients)))
    return Settlement(message.id, outcomes, at, None)


def test_a_message_goes_all_its_way(open_here, turns, new_message, now):
    queue = open_here()
    message = new_message()
    receipt = turns.wait(queue.accept(message))
    assert receipt.recipients == message.recipients
    assert turns.wait(queue.next_due()) == pytest.approx(now, abs=1e-3)
    [claimed] = turns.wait(queue.claim(10, now))
    assert claimed == claimed.of(message)
    assert turns.wait(queue.find(message.client, message.id)).status is Status.SENDING
    assert turns.wait(queue.settle(accepted(message, now + 1))) is True
    assert turns.wait(queue.settle(accepted(message, now + 1))) is False
    assert turns.wait(queue.find(message.client, message.id)).status is Status.ACCEPTED
    assert turns.wait(queue.next_due()) is None


def undelivered(message, at, notice):
    outcomes = tuple(Outcome(position, Status.FAILED, None) for position in range(len(message.recipients)))
    return Settlement(message.id, outcomes, at, None, notice=notice)


@pytest.mark.parametrize("tried", [True, False])
def test_only_attempts_are_counted(open_here, turns, new_message, now, tried):
    queue = open_here()
    message = new_message(lease=True)
    turns.wait(queue.accept(message))
    assert turns.wait(queue.settle(replace(undelivered(message, now, None), tried=tried))) is True
    assert turns.wait(queue.find(message.client, message.id)).attempts == int(tried)


def test_a_notice_is_there_with_the_outcome_it_tells(open_here, turns, new_message, now):
    queue = open_here()
    message = new_message(lease=True)
    notice = new_message(sender="", recipients=("ops@example.com",), content=b"From: a@b\r\n\r\n")
    turns.wait(queue.accept(message))
    assert turns.wait(queue.settle(undelivered(message, now, notice))) is True
    assert turns.wait(queue.find(message.client, message.id)).status is Status.FAILED
    assert turns.wait(queue.find(notice.client, notice.id)).status is Status.QUEUED
    assert turns.wait(queue.claim(10, now)) == [Claim.of(notice)]


def test_neither_the_outcome_nor_its_notice_is_there_where_one_of_them_fails(open_here, turns, new_message, now):
    queue = open_here()
    messages = [new_message(lease=True) for _ in range(3)]
    turns.wait(gatherResults([queue.accept(message) for message in messages]))
    notices = [new_message(sender="", recipients=(f"{each}@example.com",)) for each in ("a", "\ud800", "c")]
    settled = [
        queue.settle(undelivered(message, now, notice)) for message, notice in zip(messages, notices, strict=True)
    ]
    with pytest.raises(QueueError):
        turns.wait(settled[1])
    assert [turns.wait(settled[each]) for each in (0, 2)] == [True, True]
    assert turns.wait(queue.find(notices[1].client, notices[1].id)) is None
    assert turns.wait(queue.find(messages[1].client, messages[1].id)).status is Status.SENDING
    assert {each.id for each in turns.wait(queue.claim(10, now))} == {notices[0].id, notices[2].id}
    again = new_message(id=notices[1].id, sender="", recipients=("b@example.com",))
    assert turns.wait(queue.settle(undelivered(messages[1], now, again))) is True
    assert [each.id for each in turns.wait(queue.claim(10, now))] == [again.id]


def test_a_message_accepted_with_its_lease_is_the_callers_to_deliver(open_here, turns, clock, new_message, now):
    queue = open_here()
    message = new_message(lease=True)
    clock.now = now + 3
    turns.wait(queue.accept(message))
    assert turns.wait(queue.next_due()) == pytest.approx(now + 3 + LEASE_SECONDS, abs=1e-3)
    assert turns.wait(queue.claim(10, now + 3)) == []
    assert turns.wait(queue.settle(accepted(message, now + 4))) is True


def test_leases_are_renewed_and_released(open_here, turns, new_message, now):
    queue = open_here()
    messages = [new_message(), new_message()]
    turns.wait(gatherResults([queue.accept(message) for message in messages]))
    turns.wait(queue.claim(10, now))
    turns.wait(queue.renew([messages[0].id], now + 20))
    turns.wait(queue.release([messages[1].id], now + 25))
    assert [each.id for each in turns.wait(queue.claim(10, now + 30))] == [messages[1].id]
    assert [each.id for each in turns.wait(queue.claim(10, now + 50))] == [messages[0].id]


def test_each_caller_of_a_group_gets_its_own_answer(open_here, turns, new_message, now):
    queue = open_here()
    first = new_message(idempotency_key="k")
    deferreds = [
        queue.accept(first),
        queue.accept(new_message(idempotency_key="k")),
        queue.accept(new_message(idempotency_key="k", fingerprint="1" * 64)),
        queue.accept(new_message(quota=Quota(0, 60.0))),
        queue.settle(accepted(new_message(), now)),
    ]
    assert not turns.wait(deferreds[0]).replayed
    assert turns.wait(deferreds[1]).id == first.id
    with pytest.raises(IdempotencyKeyReusedError):
        turns.wait(deferreds[2])
    with pytest.raises(QuotaExceededError):
        turns.wait(deferreds[3])
    assert turns.wait(deferreds[4]) is False


def test_one_poisoned_message_takes_no_other_with_it(open_here, turns, new_message, now):
    queue = open_here()
    stored = new_message(lease=True)
    turns.wait(queue.accept(stored))
    good = [new_message(quota=Quota(10, 60.0)) for _ in range(3)]
    twice = new_message(id=stored.id, quota=Quota(10, 60.0))
    unstorable = new_message(sender="\ud800@example.com", quota=Quota(10, 60.0))
    deferreds = [queue.accept(message) for message in (good[0], twice, good[1], unstorable, good[2])]
    settled = queue.settle(accepted(stored, now))
    claimed = queue.claim(10, now)
    for poisoned in (1, 3):
        with pytest.raises(QueueError) as caught:
            turns.wait(deferreds[poisoned])
        assert "본문" not in str(caught.value)
    assert [turns.wait(deferreds[each]).id for each in (0, 2, 4)] == [message.id for message in good]
    assert turns.wait(settled) is True
    assert {each.id for each in turns.wait(claimed)} == {message.id for message in good}
    assert turns.wait(queue.used(good[0].client, 60.0, now)) == 3


def test_what_is_left_of_a_quota_can_be_told(open_here, turns, new_message, now):
    queue = open_here()
    quota = Quota(5, 86400.0)
    turns.wait(gatherResults([queue.accept(new_message(quota=quota)) for _ in range(3)]))
    assert turns.wait(queue.used("장치-7", 86400.0, now)) == 3
    assert turns.wait(queue.used("다른", 86400.0, now)) == 0


def test_what_waits_is_counted(open_here, turns, new_message, now):
    queue = open_here()
    turns.wait(gatherResults([queue.accept(new_message()) for _ in range(3)]))
    assert turns.wait(queue.survey()) == Survey({Status.QUEUED: 3}, now)


def test_purging_goes_on_until_all_is_forgotten(open_here, turns, new_message, now, monkeypatch):
    monkeypatch.setattr(records, "PURGE_LIMIT", 4)
    queue = open_here(retention=60.0)
    messages = [new_message(lease=True) for _ in range(9)]
    turns.wait(gatherResults([queue.accept(message) for message in messages]))
    turns.wait(gatherResults([queue.settle(accepted(message, now)) for message in messages]))
    assert turns.wait(queue.purge(now + 59)) == 0
    assert turns.wait(queue.purge(now + 60)) == 9
    assert turns.wait(queue.find(messages[0].client, messages[0].id)) is None


def test_cancelling_stops_the_waiting_and_not_the_work(open_here, turns, new_message):
    queue = open_here()
    message = new_message()
    deferred = queue.accept(message)
    deferred.cancel()
    with pytest.raises(CancelledError):
        turns.wait(deferred)
    turns.wait(queue.accept(new_message()))
    assert turns.wait(queue.find(message.client, message.id)) is not None


def test_closing_finishes_what_waits_and_releases_the_leases(open_here, turns, clock, new_message, now):
    queue = open_here()
    messages = [new_message(lease=True) for _ in range(40)]
    deferreds = [queue.accept(message) for message in messages]
    clock.now = now + 1
    closed = queue.close()
    closed_again = queue.close()
    for deferred, message in zip(deferreds, messages, strict=True):
        assert turns.wait(deferred).id == message.id
    turns.wait(closed)
    turns.wait(closed_again)
    turns.wait(queue.close())
    claims = turns.wait(open_here().claim(100, now + 1))
    assert {each.id for each in claims} == {message.id for message in messages}


def test_a_closed_queue_refuses_every_call(open_here, turns, new_message, now):
    queue = open_here()
    closed = queue.close()
    calls = [
        queue.accept(new_message()),
        queue.claim(1, now),
        queue.settle(accepted(new_message(), now)),
        queue.renew([], now),
        queue.release([], now),
        queue.next_due(),
        queue.survey(),
        queue.find("장치-7", "x"),
        queue.used("장치-7", 60.0, now),
        queue.purge(now),
    ]
    for call in calls:
        with pytest.raises(QueueError, match="closed"):
            turns.wait(call)
    turns.wait(closed)


def test_closing_ends_a_purge_between_two_steps(open_here, turns, new_message, now, monkeypatch):
    monkeypatch.setattr(records, "PURGE_LIMIT", 1)
    queue = open_here(retention=0.0)
    messages = [new_message(lease=True) for _ in range(3)]
    turns.wait(gatherResults([queue.accept(message) for message in messages]))
    turns.wait(gatherResults([queue.settle(accepted(message, now)) for message in messages]))
    purged = queue.purge(now)
    turns.wait(queue.close())
    assert turns.wait(purged) == 1


def test_nothing_happens_before_a_queue_is_opened(url, path, turns, clock, new_message):
    queue = make_queue(QueueSettings(url=url), turns, clock=clock)
    with pytest.raises(QueueError, match="not open yet"):
        turns.wait(queue.accept(new_message()))
    turns.wait(queue.close())
    assert list(path.parent.iterdir()) == []
    with pytest.raises(QueueError, match="only once"):
        queue.open()


def test_a_queue_tells_where_it_lies(open_here, url):
    queue = open_here()
    path = url.removeprefix("sqlite:///")
    assert queue.directory == (None if path == url else Path(path).parent)
    with pytest.raises(QueueError, match="only once"):
        queue.open()


def test_a_large_message_is_kept_whole(open_here, turns, new_message, now):
    queue = open_here()
    messages = [new_message(content=bytes([65 + each]) * 20_000_000 + b"\r\n") for each in range(3)]
    turns.wait(gatherResults([queue.accept(message) for message in messages]))
    seen = {}
    while claims := turns.wait(queue.claim(10, now)):
        seen |= {each.id: each.content for each in claims}
    assert seen == {message.id: message.content for message in messages}

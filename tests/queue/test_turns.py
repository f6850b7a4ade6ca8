"""Whose message is next, and what a clock that is set does to those that wait."""

import pytest

from mailgate.model.outcome import Outcome, Status
from mailgate.queue.accepting import accept
from mailgate.queue.interface import LEASE_SECONDS, QueueSettings, Settlement
from mailgate.queue.leasing import claim, follow_back
from mailgate.queue.opening import open_queue
from mailgate.queue.records import next_due
from mailgate.queue.settling import settle
from mailgate.queue.transactions import CLOCK_STEP

HOURS = 3600.0


def clients(messages):
    return [message.client for message in messages]


@pytest.fixture
def store(connection, new_message, now):
    def store(client, count, **changed):
        messages = [new_message(client=client, **changed) for _ in range(count)]
        accept(connection, messages, "here", now)
        return messages

    return store


def test_a_clients_only_message_comes_before_the_second_of_another(connection, store, now):
    store("많은", 100)
    claim(connection, 10, "here", now)
    store("하나", 1)
    assert "하나" in clients(claim(connection, 2, "here", now))


def test_clients_with_long_lines_take_turns(connection, store, now):
    for client in ("가", "나", "다"):
        store(client, 50)
    taken = clients(claim(connection, 60, "here", now))
    assert [taken.count(client) for client in ("가", "나", "다")] == [20, 20, 20]
    assert set(taken[-3:]) == {"가", "나", "다"}


def test_a_client_gains_nothing_by_having_been_quiet(connection, store, now):
    store("부지런한", 100)
    claim(connection, 50, "here", now)
    store("늦은", 100)
    taken = clients(claim(connection, 40, "here", now))
    assert taken.count("늦은") == 20


def test_a_clients_own_messages_keep_their_order(connection, store, now):
    messages = [message.id for _ in range(5) for message in store("장치", 3)]
    assert [each.id for each in claim(connection, 15, "here", now)] == messages


def test_what_becomes_due_takes_its_turn_among_the_others(connection, store, now):
    store("예약", 1, due_at=now + 60)
    store("많은", 100)
    claim(connection, 10, "here", now)
    assert "예약" not in clients(claim(connection, 10, "here", now + 59))
    assert "예약" in clients(claim(connection, 2, "here", now + 60))


def test_many_that_became_due_together_hold_up_nobody(connection, store, now, monkeypatch):
    monkeypatch.setattr("mailgate.queue.turns.QUEUE_UP_LIMIT", 60)
    store("많은", 100, due_at=now + 60)
    store("하나", 1, due_at=now + 61)
    taken = [clients(claim(connection, 20, "here", now + 62)) for _ in range(2)]
    assert "하나" in taken[1]


def test_something_to_be_claimed_is_due_at_once(connection, store, now):
    store("예약", 1, due_at=now + 60)
    assert next_due(connection) == now + 60
    store("장치", 1)
    assert next_due(connection) == now


def test_what_was_deferred_follows_a_clock_that_is_set_back(connection, store, now):
    [deferred] = store("장치", 1, lease=True)
    outcomes = tuple(Outcome(at, Status.DEFERRED, None) for at in (0, 1))
    settle(connection, [Settlement(deferred.id, outcomes, now, now + 100)], "here", now)
    follow_back(connection, now - 5 * HOURS)
    assert claim(connection, 1, "here", now - 5 * HOURS + 99) == []
    assert len(claim(connection, 1, "here", now - 5 * HOURS + 100)) == 1


def test_a_lease_follows_a_clock_that_is_set_back(connection, store, now):
    store("장치", 1, lease=True)
    follow_back(connection, now - HOURS)
    assert claim(connection, 1, "there", now - HOURS + LEASE_SECONDS - 0.1) == []
    assert len(claim(connection, 1, "there", now - HOURS + LEASE_SECONDS)) == 1


def test_what_is_scheduled_keeps_to_the_calendar(connection, store, now):
    store("장치", 1, due_at=now + 60)
    follow_back(connection, now - HOURS)
    assert claim(connection, 1, "here", now + 59) == []
    assert len(claim(connection, 1, "here", now + 60)) == 1


def test_what_is_on_hold_expires_by_the_calendar(connection, store, now):
    [held] = store("장치", 1, lease=True)
    outcomes = tuple(Outcome(at, Status.DEFERRED, None) for at in (0, 1))
    expiry = now + 10 * HOURS
    settle(connection, [Settlement(held.id, outcomes, now, expiry, on_hold=True)], "here", now)
    follow_back(connection, now - 5 * HOURS)
    assert claim(connection, 1, "here", expiry - 1) == []
    [claimed] = claim(connection, 1, "here", expiry)
    assert claimed.on_hold


def test_nobody_takes_leases_over_while_their_ends_are_in_doubt(connection, store, now):
    store("장치", 1, lease=True)
    store("다른", 1)
    assert clients(claim(connection, 5, "there", now + HOURS, take_over=False)) == ["다른"]
    assert clients(claim(connection, 5, "there", now + HOURS)) == ["장치"]


class Calendar:
    def __init__(self, clock):
        self.clock = clock
        self.set_by = 0.0

    def __call__(self):
        return self.clock.seconds() + self.set_by


@pytest.fixture
def calendar(clock):
    return Calendar(clock)


@pytest.fixture
def queue(path, turns, clock, calendar):
    queue = open_queue(QueueSettings(url=f"sqlite:///{path}"), turns, clock=clock, wall=calendar)
    yield queue
    turns.wait(queue.close())


def settle_later(queue, turns, new_message, now):
    message = new_message(lease=True)
    turns.wait(queue.accept(message))
    outcomes = tuple(Outcome(at, Status.DEFERRED, None) for at in (0, 1))
    turns.wait(queue.settle(Settlement(message.id, outcomes, now, now + 100)))
    return message


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_calendar_that_is_set_while_the_gateway_runs_stalls_nothing(
    queue, turns, clock, calendar, new_message, now, hours
):
    settle_later(queue, turns, new_message, now)
    calendar.set_by = hours * HOURS
    turns.wait(queue.renew([], clock.now))
    clock.now = now + 100
    assert len(turns.wait(queue.claim(1, clock.now))) == 1


@pytest.mark.parametrize("hours", [-7, 7])
def test_a_lease_is_not_ended_by_the_calendar(queue, turns, clock, calendar, new_message, now, hours):
    turns.wait(queue.accept(new_message(lease=True)))
    calendar.set_by = hours * HOURS
    clock.now = now + 10
    assert turns.wait(queue.claim(1, clock.now)) == []
    clock.now = now + 10 + LEASE_SECONDS
    assert len(turns.wait(queue.claim(1, clock.now))) == 1


def test_a_calendar_that_is_set_back_while_the_gateway_is_away_stalls_nothing(
    path, turns, clock, calendar, new_message, now
):
    queue = open_queue(QueueSettings(url=f"sqlite:///{path}"), turns, clock=clock, wall=calendar)
    settle_later(queue, turns, new_message, now)
    turns.wait(queue.close())
    clock.now = now - 7 * HOURS
    queue = open_queue(QueueSettings(url=f"sqlite:///{path}"), turns, clock=clock, wall=calendar)
    assert turns.wait(queue.claim(1, clock.now)) == []
    assert turns.wait(queue.next_due()) == clock.now + 100
    clock.now += 100
    assert len(turns.wait(queue.claim(1, clock.now))) == 1
    turns.wait(queue.close())


def test_a_clock_that_drifts_is_not_taken_for_one_that_was_set(queue, turns, clock, calendar, new_message, now):
    message = settle_later(queue, turns, new_message, now)
    for _ in range(3):
        calendar.set_by -= CLOCK_STEP - 1
        turns.wait(queue.claim(1, clock.now))
    assert turns.wait(queue.find(message.client, message.id)).next_attempt_at == now + 100

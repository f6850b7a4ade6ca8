"""What leases promise, without threads."""

import pytest
import sqlalchemy as sa

from mailgate.model.outcome import Status
from mailgate.queue import leasing
from mailgate.queue.accepting import accept
from mailgate.queue.interface import LEASE_SECONDS
from mailgate.queue.leasing import claim, release, release_all, release_everyones, renew
from mailgate.queue.records import find, next_due
from mailgate.queue.schema import CONTENTS, RECIPIENTS


def ids(messages):
    return [message.id for message in messages]


@pytest.fixture
def stored(connection, new_message, now):
    """Three messages, due at now, now + 1 and now + 2, the latest stored first."""
    messages = [new_message(due_at=now + wait) for wait in (2, 1, 0)]
    accept(connection, messages, "here", now)
    return messages[::-1]


def test_the_longest_due_comes_first(connection, stored, now):
    assert ids(claim(connection, 2, "here", now + 5)) == ids(stored[:2])
    assert ids(claim(connection, 2, "here", now + 5)) == ids(stored[2:])
    assert claim(connection, 2, "here", now + 5) == []


def test_a_leased_message_is_nobody_elses(connection, stored, now):
    claim(connection, 3, "here", now + 5)
    assert claim(connection, 3, "there", now + 5 + LEASE_SECONDS - 0.1) == []
    assert ids(claim(connection, 3, "there", now + 5 + LEASE_SECONDS)) == sorted(ids(stored))


def test_renewing_makes_a_lease_last(connection, stored, now):
    claim(connection, 3, "here", now + 5)
    renew(connection, ids(stored[:1]), "here", now + 20)
    assert ids(claim(connection, 3, "there", now + 20 + LEASE_SECONDS - 1)) == sorted(ids(stored[1:]))
    assert ids(claim(connection, 3, "there", now + 20 + LEASE_SECONDS)) == ids(stored[:1])


def test_who_lost_a_lease_can_neither_renew_nor_release_it(connection, stored, now):
    claim(connection, 1, "here", now)
    later = now + LEASE_SECONDS
    claim(connection, 3, "there", later)
    renew(connection, ids(stored), "here", later + 100)
    release(connection, ids(stored), "here", later, now)
    release_all(connection, "here", later)
    assert claim(connection, 3, "here", later + LEASE_SECONDS - 0.1) == []
    assert len(claim(connection, 3, "here", later + LEASE_SECONDS)) == 3


def test_a_released_message_is_due_when_it_says_and_counts_no_attempt(connection, stored, now):
    claim(connection, 3, "here", now + 5)
    release(connection, ids(stored[:1]), "here", now + 8, now)
    assert next_due(connection) == now + 8
    [again] = claim(connection, 3, "there", now + 8)
    assert (again.id, again.attempts) == (stored[0].id, 0)


def test_all_of_one_owners_leases_are_given_back(connection, stored, now):
    claim(connection, 1, "there", now)
    claim(connection, 2, "here", now + 5)
    release_all(connection, "here", now + 6)
    assert ids(claim(connection, 3, "there", now + 6)) == sorted(ids(stored[1:]))


def test_dead_owners_leases_are_given_back(connection, stored, now):
    claim(connection, 1, "dead", now)
    claim(connection, 1, "long dead", now + 1)
    release_everyones(connection, now + 1)
    assert len(claim(connection, 3, "here", now + 1)) == 2
    assert len(claim(connection, 3, "here", now + 2)) == 1


def test_a_claim_brings_no_more_into_memory_than_it_may(connection, new_message, now, monkeypatch):
    monkeypatch.setattr(leasing, "CLAIM_OCTETS", 2500)
    content = b"x" * 998 + b"\r\n"
    messages = [new_message(content=content * size, due_at=now + wait) for wait, size in enumerate((1, 1, 1, 9))]
    accept(connection, messages, "here", now)
    taken = [ids(claim(connection, 4, "here", now + 5)) for _ in range(3)]
    assert taken == [ids(messages[:2]), ids(messages[2:3]), ids(messages[3:])]


def test_what_a_salvaged_database_lost_is_marked_and_keeps_nothing_back(connection, stored, now):
    without_content, without_recipients, whole = ids(stored)
    connection.execute(sa.delete(CONTENTS).where(CONTENTS.c.message == without_content))
    connection.execute(sa.delete(RECIPIENTS).where(RECIPIENTS.c.message == without_recipients))
    claims = claim(connection, 3, "here", now + 5)
    assert [(each.id, each.damaged) for each in claims] == [(without_content, True), (whole, False)]
    assert find(connection, stored[0].client, without_recipients, now).status is Status.FAILED
    release_everyones(connection, now)
    assert set(ids(claim(connection, 3, "here", now + 5))) == {without_content, whole}

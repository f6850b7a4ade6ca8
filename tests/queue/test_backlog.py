"""Counting what waits, and refusing more where that is too much."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from mailgate.model.outcome import Status
from mailgate.model.refusal import RefusalCode
from mailgate.queue.backlog import INTERVAL, SHARE, Backlog, BacklogAdmission
from mailgate.queue.interface import QueueError, Survey


class Journal:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append((event, fields))


class Counting:
    """A backlog whose counts the test answers."""

    def __init__(self):
        self.clock = Clock()
        self.asked = []
        self.journal = Journal()
        self.backlog = Backlog(self.survey, self.clock, self.clock.seconds, self.journal)

    def survey(self):
        self.asked.append(Deferred())
        return self.asked[-1]

    def find(self, oldest_at=None, **messages):
        self.asked[-1].callback(Survey({Status(name): count for name, count in messages.items()}, oldest_at))


@pytest.fixture
def counting():
    counting = Counting()
    counting.backlog.start()
    return counting


def test_it_counts_again_and_again(counting):
    counting.find(queued=3)
    assert counting.backlog.latest.depth == 3
    counting.clock.advance(INTERVAL - 0.1)
    assert len(counting.asked) == 1
    counting.clock.advance(0.1)
    counting.find(queued=2, deferred=5)
    assert counting.backlog.latest.depth == 7
    counting.clock.advance(INTERVAL)
    assert len(counting.asked) == 3


def test_a_count_that_takes_long_is_made_seldom(counting):
    counting.clock.advance(2)
    counting.find()
    counting.clock.advance(2 * SHARE - 0.1)
    assert len(counting.asked) == 1
    counting.clock.advance(0.1)
    assert len(counting.asked) == 2


def test_a_count_that_fails_is_told_and_made_again(counting):
    counting.find(queued=3)
    counting.clock.advance(INTERVAL)
    counting.asked[-1].errback(QueueError("the disk is gone"))
    assert counting.backlog.latest is None
    assert counting.journal.events == [("queue.survey_failed", {"reason": "the disk is gone"})]
    counting.clock.advance(INTERVAL)
    counting.find(queued=4)
    assert counting.backlog.latest.depth == 4


def test_stopped_it_counts_no_more(counting):
    counting.find()
    counting.backlog.stop()
    assert not counting.clock.getDelayedCalls()


def test_stopped_during_a_count_it_says_nothing_of_its_failure(counting):
    counting.backlog.stop()
    counting.asked[-1].errback(QueueError("the queue is closed"))
    assert counting.journal.events == []
    assert not counting.clock.getDelayedCalls()


def test_more_than_the_most_is_refused_until_there_are_fewer(counting):
    admission = BacklogAdmission(counting.backlog, 10, None)
    assert admission() is None
    counting.find(queued=4, deferred=5)
    assert admission() is None
    counting.clock.advance(INTERVAL)
    counting.find(queued=4, scheduled=6)
    refusal = admission()
    assert refusal.code is RefusalCode.QUEUE_FULL
    assert "10 messages" in refusal.detail
    assert refusal.retry_after > 0
    counting.clock.advance(INTERVAL)
    counting.find(queued=9)
    assert admission() is None


def test_mail_that_waits_for_too_long_keeps_more_from_coming(counting):
    admission = BacklogAdmission(counting.backlog, 10, 60.0)
    counting.find(oldest_at=0.0, queued=1)
    counting.clock.pump([1.0] * 9)
    assert admission() is None
    assert counting.backlog.oldest_seconds == 9.0
    counting.clock.advance(51.5)
    assert admission().code is RefusalCode.QUEUE_FULL
    counting.find(oldest_at=counting.clock.seconds() - 1, queued=1)
    assert admission() is None


def test_where_nothing_waits_nothing_is_old(counting):
    assert counting.backlog.oldest_seconds == 0.0
    counting.find()
    assert counting.backlog.oldest_seconds == 0.0
    assert BacklogAdmission(counting.backlog, 10, 1.0)() is None

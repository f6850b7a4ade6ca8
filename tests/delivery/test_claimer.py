"""Claiming goes on, whatever becomes of one claim."""

from math import inf

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailgate.delivery.claimer import AFTER_FAILURE, POLL, Claimer
from mailgate.queue.interface import LEASE_SECONDS, QueueError


class Batches:
    """A queue of which only claims are left: each gives the next batch."""

    def __init__(self, *batches):
        self.batches = list(batches)

    def claim(self, limit, now):
        return succeed(self.batches.pop(0) if self.batches else [])

    def next_due(self):
        return succeed(None)


class Taker:
    def __init__(self):
        self.taken = []

    def room(self):
        return 10

    def room_at(self):
        return inf

    def deliver(self, claim):
        if claim == "broken":
            raise ZeroDivisionError
        self.taken.append(claim)


class Silence:
    def record(self, event, /, **fields):
        pass


class ClaimerTests(SynchronousTestCase):
    def test_claims_that_come_late_are_not_delivered_for_their_leases_may_be_over(self):
        for late, taken in ((LEASE_SECONDS / 2 - 1, ["claimed"]), (LEASE_SECONDS / 2, [])):
            clock, taker, batches = Clock(), Taker(), Batches()
            claimed = Deferred()
            batches.claim = lambda _limit, _now, claimed=claimed: claimed
            claimer = Claimer(batches, taker, clock, Silence())
            claimer.start()
            clock.advance(late)
            batches.claim = lambda _limit, _now: succeed([])
            claimed.callback(["claimed"])
            self.assertEqual(taker.taken, taken)
            self.successResultOf(claimer.stop())

    def test_after_a_failure_it_tries_with_less_and_then_with_more_again(self):
        clock, asked = Clock(), []
        queue = Batches()

        def claim(limit, _now):
            asked.append(limit)
            return fail(QueueError("the disk is full")) if limit > 2 else succeed(["claimed"])

        queue.claim = claim
        taker = Taker()
        claimer = Claimer(queue, taker, clock, Silence())
        taker.deliver = lambda _claim: setattr(queue, "claim", later)

        def later(limit, _now):
            asked.append(limit)
            return succeed([])

        claimer.start()
        clock.pump([AFTER_FAILURE] * 3)
        self.assertEqual(asked, [10, 5, 2, 4])
        clock.pump([POLL] * 2)
        self.assertEqual(asked[4:], [8, 10])
        self.successResultOf(claimer.stop())

    def test_a_queue_that_is_away_is_asked_now_and_then(self):
        clock, asked = Clock(), []
        queue = Batches()

        def claim(limit, _now):
            asked.append(clock.seconds())
            return fail(QueueError("the server is away"))

        queue.claim = claim
        claimer = Claimer(queue, Taker(), clock, Silence())
        claimer.start()
        clock.pump([0.5] * 120)
        self.assertLess(len(asked), 4 + 60 / POLL + 1)
        self.successResultOf(claimer.stop())

    def test_a_defect_over_one_message_does_not_end_claiming(self):
        clock, taker = Clock(), Taker()
        claimer = Claimer(Batches(["broken"], ["next"]), taker, clock, Silence())
        claimer.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        clock.advance(POLL)
        self.assertEqual(taker.taken, ["next"])
        self.successResultOf(claimer.stop())

"""Claiming goes on, whatever becomes of one claim."""

from math import inf

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailgate.delivery.claimer import POLL, Claimer
from mailgate.queue.interface import LEASE_SECONDS


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

    def test_a_defect_over_one_message_does_not_end_claiming(self):
        clock, taker = Clock(), Taker()
        claimer = Claimer(Batches(["broken"], ["next"]), taker, clock, Silence())
        claimer.start()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        clock.advance(POLL)
        self.assertEqual(taker.taken, ["next"])
        self.successResultOf(claimer.stop())

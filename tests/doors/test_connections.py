"""A door's connections as a whole."""

from math import inf

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from mailgate.doors.connections import Connections


class Held:
    """A connection with a deadline."""

    def __init__(self, connections, *, faulty=False):
        self.deadline = 5.0
        self.expired = self.judged = False
        self._connections = connections
        self._faulty = faulty

    def expire(self):
        self.expired = True
        self.deadline = inf
        if self._faulty:
            raise ValueError("a defect")
        self._connections.closed(self)

    def recheck(self):
        self.judged = True
        if self._faulty:
            raise ValueError("a defect")


class ConnectionsTests(SynchronousTestCase):
    def test_a_defect_at_one_deadline_is_told_and_the_others_are_kept(self):
        clock = Clock()
        connections = Connections(clock)
        held = [Held(connections, faulty=number == 1) for number in range(3)]
        for each in held:
            connections.opened(each)
        clock.advance(4)
        self.assertEqual([each.expired for each in held], [False, False, False])
        clock.advance(2)
        self.assertEqual([each.expired for each in held], [True, True, True])
        self.assertEqual([type(failure.value) for failure in self.flushLoggedErrors()], [ValueError])
        late = Held(connections)
        connections.opened(late)
        clock.advance(2)
        self.assertTrue(late.expired)
        connections.closed(held[1])

    def test_a_defect_at_one_connection_leaves_the_others_judged(self):
        connections = Connections(Clock())
        held = [Held(connections, faulty=number == 1) for number in range(3)]
        for each in held:
            connections.opened(each)
        connections.recheck()
        self.assertEqual([each.judged for each in held], [True, True, True])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        for each in held:
            connections.closed(each)

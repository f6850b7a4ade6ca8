"""The pool, with connections that speak nothing."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailgate.delivery.pool import SLOW, Limits, Pool, PoolClosedError


class Line:
    """A connection."""

    def __init__(self):
        self.idle = True
        self.lost = Deferred()
        self.ended = ""

    def close(self):
        self.idle = False
        self.ended = self.ended or "closed"

    def abort(self):
        self.idle = False
        self.ended = "aborted"
        self.lose()

    def lose(self):
        self.idle = False
        if not self.lost.called:
            self.lost.callback(None)


class World:
    """A pool, what it opens, and who waits."""

    def __init__(self, **limits):
        self.clock = Clock()
        self.opening = []
        self.pool = Pool(self._connect, self.clock, Limits(**{"connections": 2} | limits))

    def _connect(self):
        opening = Deferred()
        self.opening.append(opening)
        return opening

    def acquire(self):
        got = []
        self.pool.acquire().addBoth(got.append)
        return got

    def open(self):
        line = Line()
        self.opening.pop(0).callback(line)
        return line


@pytest.fixture
def world():
    return World()


def test_a_connection_is_opened_when_it_is_needed_and_used_again(world):
    assert not world.opening
    first = world.acquire()
    line = world.open()
    assert first == [line]
    world.pool.release(line)
    assert world.acquire() == [line]
    assert not world.opening


def test_there_are_never_more_than_the_limit(world):
    waiting = [world.acquire() for _ in range(5)]
    assert len(world.opening) == 2
    lines = [world.open(), world.open()]
    assert not world.opening
    assert waiting == [[lines[0]], [lines[1]], [], [], []]


@pytest.mark.parametrize(
    ("allowed", "lent", "waiting", "most"),
    [(3, 2, 40, 2), (3, 0, 40, 6), (10, 0, 1, 2), (20, 10, 40, 10)],
    ids=["twice the room", "twice what is allowed", "one more than wait", "twice the limit in all"],
)
def test_a_server_that_is_slow_gets_no_more_and_more_connections(allowed, lent, waiting, most):
    world = World(connections=10)
    world.pool.allow(allowed)
    for _ in range(lent):
        world.acquire()
        world.open()
    for _ in range(waiting):
        world.acquire()
    for _ in range(5):
        world.clock.advance(SLOW)
        world.pool.allow(allowed)
    assert len(world.opening) == most


def test_who_asks_first_is_served_first(world):
    waiting = [world.acquire() for _ in range(4)]
    one, two = world.open(), world.open()
    world.pool.release(two)
    world.pool.release(one)
    assert waiting == [[one], [two], [two], [one]]


def test_a_lost_connection_makes_room(world):
    waiting = [world.acquire() for _ in range(3)]
    one, _ = world.open(), world.open()
    one.lose()
    world.pool.release(one)
    three = world.open()
    assert waiting[2] == [three]


def test_an_idle_connection_that_is_lost_is_not_lent(world):
    world.acquire()
    line = world.open()
    world.pool.release(line)
    line.lose()
    assert world.acquire() == []
    assert len(world.opening) == 1


def test_a_connection_that_can_not_be_used_again_is_closed(world):
    world.acquire()
    line = world.open()
    line.idle = False
    world.pool.release(line)
    assert line.ended == "closed"
    assert world.acquire() == []


def test_the_last_used_is_used_next_and_the_others_go(world):
    world.acquire()
    world.acquire()
    one, two = world.open(), world.open()
    world.pool.release(one)
    world.clock.advance(10)
    world.pool.release(two)
    for _ in range(3):
        assert world.acquire() == [two]
        world.pool.release(two)
    world.clock.advance(20)
    assert (one.ended, two.ended) == ("closed", "")
    one.lose()
    world.clock.advance(10)
    assert two.ended == "closed"
    two.lose()
    assert not world.clock.getDelayedCalls()


def test_an_old_connection_is_not_used_again():
    world = World(age=100.0)
    world.acquire()
    line = world.open()
    world.clock.advance(100)
    world.pool.release(line)
    assert line.ended == "closed"


def test_a_connection_is_used_only_so_often():
    world = World(uses=2)
    world.acquire()
    line = world.open()
    world.pool.release(line)
    world.acquire()
    world.pool.release(line)
    assert line.ended == "closed"


def test_a_failure_to_connect_reaches_the_one_who_waits_longest(world):
    first, second, third = world.acquire(), world.acquire(), world.acquire()
    world.opening.pop(0).errback(Failure(OSError("no")))
    assert isinstance(first[0].value, OSError)
    assert (second, third) == ([], [])
    assert len(world.opening) == 2
    world.open()
    world.open()
    assert second
    assert third


def test_who_waits_can_be_turned_away(world):
    waiting = [world.acquire() for _ in range(3)]
    world.pool.turn_away(Failure(OSError("no")))
    assert all(isinstance(got[0].value, OSError) for got in waiting)
    line = world.open()
    assert world.acquire() == [line]


def test_closing_turns_away_who_waits_and_waits_for_who_works():
    world = World(connections=1)
    world.acquire()
    line = world.open()
    waiting = world.acquire()
    closed = []
    world.pool.close().addCallback(closed.append)
    assert isinstance(waiting[0].value, PoolClosedError)
    assert isinstance(world.acquire()[0].value, PoolClosedError)
    assert line.ended == ""
    world.pool.release(line)
    assert line.ended == "closed"
    assert closed == []
    line.lose()
    assert closed == [None]
    assert not world.clock.getDelayedCalls()


def test_closing_closes_what_is_idle_and_gives_up_what_is_opened(world):
    world.acquire()
    line = world.open()
    world.pool.release(line)
    world.acquire()
    world.pool.release(line)
    world.acquire()
    world.acquire()
    cancelled = world.opening[-1]
    closed = []
    world.pool.close().addCallback(closed.append)
    assert cancelled.called
    world.pool.abort()
    assert line.ended == "aborted"
    assert closed == [None]


def test_a_connection_that_comes_back_at_once_serves_any_number(world):
    served = []

    def give_back(line):
        served.append(line)
        world.pool.release(line)

    for _ in range(5000):
        world.pool.acquire().addCallback(give_back)
    line = world.open()
    assert served == [line] * Limits(connections=2).uses
    assert line.ended == "closed"


def test_an_empty_pool_closes_at_once(world):
    closed = []
    world.pool.close().addCallback(closed.append)
    world.pool.close().addCallback(closed.append)
    assert closed == [None, None]

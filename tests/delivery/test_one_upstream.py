"""What one upstream is given, by how it does."""

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailgate.delivery.allowance import STEP
from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import UpstreamError
from mailgate.delivery.health import Health
from mailgate.delivery.pool import SLOW, Limits, Pool
from mailgate.delivery.upstream import LATELY, SILENCE, TROUBLES, Upstream
from mailgate.model.outcome import Outcome, Reply, Status

WELL = Attempt(outcomes=(Outcome(0, Status.ACCEPTED, Reply(250, "2.0.0", "queued")),))
OVERLOADED = Reply(451, "4.3.2", "too much to do")
BROKEN = Attempt(outcomes=(Outcome(0, Status.DEFERRED, None),), trouble="the connection broke")


class Connection:
    def __init__(self, clock):
        self.idle = True
        self.lost = Deferred()
        self.heard_at = clock.seconds()

    def close(self):
        self.idle = False
        if not self.lost.called:
            self.lost.callback(None)

    abort = close


class World:
    def __init__(self, connections=10):
        self.clock = Clock()
        self.events = []
        self.opening = []
        self.lent = []
        self.turned_away = []
        self.refused = 0
        pool = Pool(self._connect, self.clock, Limits(connections=connections, idle=1000, age=10000))
        self.upstream = Upstream("smtp:25", pool, Health(self.clock, lambda: 0.0), self.clock, self)

    def record(self, event, /, **fields):
        self.events.append(event)

    def _connect(self):
        opening = Deferred()
        self.opening.append(opening)
        return opening

    def ask(self, count=1):
        for _ in range(count):
            self.upstream.acquire("장치").addCallbacks(self.lent.append, self._not_connected)

    def _not_connected(self, failure):
        # As the route does: it tells the upstream, and asks again where that is of use.
        self.upstream.not_connected(str(failure.value))
        if self.upstream.open:
            self.ask()
        else:
            self.turned_away.append(failure)

    def open(self, count=None):
        for opening in self.opening[:count]:
            self.opening.remove(opening)
            opening.callback(Connection(self.clock))

    def refuse(self, count=None):
        for opening in self.opening[:count]:
            self.opening.remove(opening)
            self.refused += 1
            opening.errback(Failure(UpstreamError("421 too many")))

    def refuse_all(self):
        while self.opening:
            self.refuse()

    def end(self, attempt=WELL, count=1):
        for connection in self.lent[:count]:
            self.lent.remove(connection)
            if attempt.trouble:
                connection.close()
            self.upstream.release(connection, attempt)

    @property
    def allowed(self):
        return self.upstream.connections["allowed"]


@pytest.fixture
def world():
    return World()


def test_what_is_refused_beside_others_was_too_many(world):
    world.ask(20)
    world.open(3)
    world.refuse_all()
    assert (world.allowed, len(world.lent), world.opening) == (3, 3, [])
    world.end(count=3)
    assert len(world.lent) == 3
    assert not world.events
    world.clock.advance(2 * STEP)
    world.end()
    assert (world.allowed, len(world.opening)) == (4, 1)


def test_what_is_refused_before_others_are_there_was_too_many_too(world):
    world.ask(20)
    world.refuse(7)
    world.open(3)
    world.refuse_all()
    assert (world.allowed, len(world.lent), world.opening) == (3, 3, [])
    assert not world.events


def test_where_nothing_can_be_had_it_is_left_alone(world):
    world.ask(20)
    world.refuse_all()
    assert world.events == ["upstream.down"]
    assert not world.upstream.open
    assert world.refused <= 12


def test_one_that_is_refused_now_and_then_is_mere_chance(world):
    world.ask(40)
    world.open(9)
    world.refuse()
    for _ in range(20):
        world.open(1)
        world.end(BROKEN)
        world.end(WELL)
        world.refuse(1)
    assert world.allowed == 10
    assert not world.events


def test_just_after_a_success_one_refusal_is_no_outage(world):
    world.ask()
    world.open()
    world.end(WELL)
    world.ask(2)
    world.end(BROKEN)
    world.clock.advance(LATELY / 2)
    for _ in range(TROUBLES - 1):
        world.refuse(1)
        assert not world.events
    world.refuse(1)
    assert world.events == ["upstream.down"]


def test_long_after_a_success_one_refusal_is_enough(world):
    world.ask()
    world.open()
    world.end(WELL)
    world.ask(2)
    world.end(BROKEN)
    world.clock.advance(LATELY)
    world.refuse(1)
    assert world.events == ["upstream.down"]


def test_the_first_that_is_refused_of_many_that_are_being_opened_is_mere_chance(world):
    world.ask(40)
    world.refuse(1)
    assert world.allowed == 10
    assert len(world.opening) == 10


def test_a_probe_that_is_refused_ends_though_old_connections_hang(world):
    world.ask(40)
    world.open()
    world.clock.advance(SILENCE)
    world.upstream.watch()
    world.clock.advance(1)
    world.turned_away.clear()
    world.ask()
    world.refuse()
    assert len(world.turned_away) == 1
    assert world.upstream.admits_at == world.clock.seconds() + 2


def test_one_message_doesnt_wait_for_a_connection_that_is_slow_to_open(world):
    world.ask()
    world.clock.advance(SLOW - 1)
    world.upstream.watch()
    assert len(world.opening) == 1
    world.clock.advance(1)
    world.upstream.watch()
    assert len(world.opening) == 2
    world.opening.pop().callback(Connection(world.clock))
    assert len(world.lent) == 1


def test_connections_that_never_open_are_no_sign_of_life(world):
    """A server whose machine is gone, with more and more connections waiting for it."""
    world.ask(100)
    for _ in range(5):
        world.clock.advance(SLOW)
        world.upstream.watch()
    assert len(world.opening) == 20
    world.clock.advance(SLOW)
    world.refuse(1)
    assert world.events == ["upstream.down"]


@pytest.mark.parametrize("connections", [10, 40])
@pytest.mark.parametrize("gap", [0.5, 2, 3, 4, 5, 5.5, 6.5, 7, 11])
def test_a_dead_server_is_left_alone_however_seldom_it_is_asked(connections, gap):
    """Each connection ends after 30 s, and the message that waited for it asks again."""
    world = World(connections)
    begun = {}
    for step in range(1200):
        world.clock.advance(0.5)
        now = world.clock.seconds()
        if step % 10 == 0:
            world.upstream.watch()
        if world.upstream.open and step % (2 * gap) == 0:
            world.ask()
        for opening in world.opening[:]:
            if now - begun.setdefault(opening, now) >= 30 and opening in world.opening:
                world.opening.remove(opening)
                opening.errback(Failure(UpstreamError("no connection in time")))
        if world.events:
            break
    assert now <= 30 + LATELY + 1


def test_what_hangs_beside_a_refusal_is_no_reason_to_ask_again_at_once(world):
    """The server takes four, three of which hang."""
    world.ask(4)
    world.open()
    hung = world.lent[1:]
    world.clock.advance(SILENCE)
    world.lent[0].heard_at = world.clock.seconds()
    world.upstream.watch()
    world.ask(40)
    world.refuse_all()
    refused = world.refused
    for _ in range(20):
        world.lent[0].heard_at = world.clock.seconds()
        world.end(WELL)
        world.refuse_all()
        world.lent.sort(key=hung.__contains__)
        world.clock.advance(0.1)
    assert world.refused - refused <= 3
    assert not world.events


def test_a_try_has_failed_after_a_few_refusals_whatever_succeeds_between(world):
    world.ask(40)
    world.open(3)
    world.refuse_all()
    world.clock.advance(2 * STEP)
    world.end(WELL)
    for _ in range(TROUBLES):
        assert world.allowed == 4
        world.refuse(1)
        # Another one takes the place of one that ended.
        world.lent[0].close()
        world.upstream.release(world.lent.pop(0), WELL)
        world.open(1)
    world.refuse_all()
    assert world.allowed == 3


def test_a_probe_that_hangs_ends_as_any_other(world):
    world.ask(20)
    world.refuse_all()
    world.clock.advance(1)
    world.ask()
    world.open()
    world.clock.advance(SILENCE)
    world.end(BROKEN)
    assert not world.upstream.open
    assert world.upstream.admits_at == world.clock.seconds() + 2


def test_what_hangs_is_no_use_of_one_more(world):
    world.ask(40)
    world.open(3)
    world.refuse_all()
    world.clock.advance(SILENCE)
    world.lent[0].heard_at = world.clock.seconds()
    world.upstream.watch()
    world.open(2)
    assert len(world.lent) == 5
    world.end(WELL)
    assert world.allowed == 4
    world.clock.advance(2 * STEP)
    world.lent.sort(key=lambda each: each.heard_at, reverse=True)
    world.end(WELL)
    assert world.allowed == 4


def test_connections_that_hung_and_end_together_are_no_news(world):
    world.ask(11)
    world.open()
    hung = world.lent[:9]
    world.clock.advance(SILENCE)
    del world.lent[:9]
    world.upstream.release(world.lent.pop(), WELL)
    world.open()
    for connection in hung:
        connection.close()
        world.upstream.release(connection, BROKEN)
    assert not world.events


def test_connections_that_are_slow_to_open_leave_others_their_places(world):
    world.ask(40)
    world.open(8)
    world.clock.advance(SLOW)
    world.upstream.watch()
    assert len(world.opening) == 4
    world.open()
    assert len(world.lent) == 10
    world.end(WELL, 10)
    assert len(world.lent) == 10


def test_a_few_lost_connections_among_many_change_nothing(world):
    world.ask(40)
    world.open()
    for _ in range(5):
        world.end(BROKEN, TROUBLES - 1)
        world.end(WELL, 1)
        world.open()
        world.clock.advance(2)
    assert not world.events
    assert world.upstream.open
    assert world.allowed == 10


def test_one_lost_after_the_other_leave_it_alone(world):
    world.ask(40)
    world.open()
    world.end(BROKEN, TROUBLES)
    assert world.events == ["upstream.down"]
    assert len(world.turned_away) == 30
    # What else was under way ends as it may.
    world.end(BROKEN, 7)
    assert world.events == ["upstream.down"]


def test_a_reply_about_its_load_lowers_the_number_and_one_about_a_mailbox_does_not(world):
    def deferred(enhanced):
        return Attempt(outcomes=(Outcome(0, Status.DEFERRED, Reply(451, enhanced, "later")),))

    world.ask(40)
    world.open()
    world.end(deferred("4.2.2"))
    world.end(deferred("4.7.1"))
    assert world.allowed == 10
    for _ in range(3):
        world.end(deferred("4.3.2"))
    assert world.allowed == 10
    world.end(deferred("4.3.2"))
    assert world.allowed == 5


def test_a_421_in_a_session_lowers_the_number(world):
    told = Outcome(0, Status.DEFERRED, Reply(421, "4.3.2", "too much to do"))
    closing = Attempt(outcomes=(told,), trouble="421 too much to do")
    world.ask(40)
    world.open()
    for _ in range(2):
        world.end(WELL)
        world.end(closing, TROUBLES - 1)
    assert world.allowed == 5
    assert not world.events


def test_silence_leaves_it_alone_and_a_word_ends_that(world):
    world.ask(40)
    world.open()
    world.clock.advance(SILENCE - 1)
    world.upstream.watch()
    assert world.upstream.open
    world.clock.advance(1)
    world.upstream.watch()
    assert (world.events, len(world.turned_away), len(world.lent)) == (["upstream.down"], 30, 10)
    world.clock.advance(1)
    assert world.upstream.admits_at <= world.clock.seconds()
    world.ask()
    # Beside the ten that are taken, for the probe.
    world.open()
    assert len(world.lent) == 11
    world.end(WELL)
    assert world.events == ["upstream.down", "upstream.up"]
    assert world.upstream.open


def test_without_anybody_waiting_a_long_silence_is_no_matter(world):
    world.ask(10)
    world.open()
    world.clock.advance(10 * SILENCE)
    world.upstream.watch()
    assert world.upstream.open


def test_after_an_outage_it_is_met_gently(world):
    world.ask(40)
    world.refuse_all()
    world.clock.advance(1)
    world.turned_away.clear()
    world.ask()
    world.open()
    world.end(WELL)
    world.ask(40)
    seen = []
    for _ in range(6):
        world.open()
        seen.append(len(world.lent))
        world.clock.advance(1)
        world.end(WELL)
    assert seen == [2, 4, 8, 10, 10, 10]


def test_what_hangs_keeps_nobody_from_an_upstream_that_works_again(world):
    """Cut by its load, then silent on all connections but new ones."""
    world.ask(40)
    world.open()
    world.upstream.release(world.lent.pop(), Attempt(outcomes=(Outcome(0, Status.DEFERRED, OVERLOADED),)))
    hung = world.lent[:]
    world.clock.advance(SILENCE)
    world.upstream.watch()
    assert not world.upstream.open
    world.turned_away.clear()
    world.clock.advance(1)
    world.ask()
    world.open()
    del world.lent[: len(hung)]
    for _ in range(5):
        assert world.lent
        world.end(WELL)
        world.ask()
        world.open()
        world.clock.advance(1)
    assert world.upstream.open


def test_old_business_doesnt_outvote_the_probe(world):
    world.ask(2 * TROUBLES)
    world.open()
    old = world.lent[:]
    world.lent.clear()
    for connection in old[:TROUBLES]:
        connection.close()
        world.upstream.release(connection, BROKEN)
    world.clock.advance(1)
    world.ask()
    world.open()
    for connection in old[TROUBLES:]:
        connection.close()
        world.upstream.release(connection, BROKEN)
    world.end(WELL)
    assert world.upstream.open


def test_an_idle_connection_that_is_of_no_use_any_more_makes_room(world):
    world.ask()
    world.open()
    [connection] = world.lent
    world.end(WELL)
    connection.idle = False
    world.ask()
    world.open()
    assert world.lent != [connection]
    assert connection.lost.called

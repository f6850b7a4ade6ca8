"""The dispatcher over a queue in memory and upstreams that the test moves."""

from dataclasses import replace

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from mailgate.delivery import dispatcher as module
from mailgate.delivery import workload
from mailgate.delivery.attempt import Attempt
from mailgate.delivery.bounces import Bouncer
from mailgate.delivery.dispatcher import Dispatcher
from mailgate.delivery.errors import UpstreamError
from mailgate.delivery.health import Health
from mailgate.delivery.pool import Limits, Pool
from mailgate.delivery.route import Route
from mailgate.delivery.upstream import SILENCE, TROUBLES, Upstream
from mailgate.model.address import Address
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.model.retry import RetrySchedule
from mailgate.queue.interface import LEASE_SECONDS, Claim, QueueError

QUEUED = Reply(250, "2.0.0", "queued", "smtp.internal")
LATER = Reply(451, "4.3.0", "나중에", "smtp.internal")
NEVER = Reply(550, "5.1.1", "no such user", "smtp.internal")


class MemoryQueue:
    """The queue's contract for one gateway, in a dictionary."""

    def __init__(self, clock):
        self.clock = clock
        self.due = {}
        self.leases = {}
        self.claims = {}
        self.settled = {}
        self.replies = {}
        self.broken = False
        self.held_back = None
        self.calls = []

    def store(self, claim, due_at=None, *, lease=False):
        self.claims[claim.id] = claim
        if lease:
            self.leases[claim.id] = self.clock.seconds() + LEASE_SECONDS
        else:
            self.due[claim.id] = self.clock.seconds() if due_at is None else due_at
        return claim

    def _answer(self, name, work):
        self.calls.append(name)
        if self.broken:
            return fail(QueueError("the disk is gone"))
        return succeed(work())

    def claim(self, limit, now):
        def work():
            for message, until in list(self.leases.items()):
                if until <= now:
                    del self.leases[message]
                    self.due[message] = until
            ids = sorted((each for each in self.due if self.due[each] <= now), key=self.due.get)[:limit]
            for each in ids:
                del self.due[each]
                self.leases[each] = now + LEASE_SECONDS
            return [self.claims[each] for each in ids]

        answer = self._answer("claim", work)
        if self.held_back is not None:
            held, self.held_back = self.held_back, None
            return held.addCallback(lambda _: answer)
        return answer

    def settle(self, settlement):
        def work():
            if self.leases.pop(settlement.id, None) is None:
                return False
            self.settled.setdefault(settlement.id, []).append(settlement)
            if settlement.notice is not None:
                self.store(Claim.of(settlement.notice))
            if settlement.due_at is not None:
                claim = self.claims[settlement.id]
                open_ones = {o.position for o in settlement.outcomes if o.status is Status.DEFERRED}
                left = tuple(each for each in claim.recipients if each.position in open_ones)
                self.store(replace(claim, attempts=claim.attempts + 1, recipients=left), settlement.due_at)
            return True

        return self._answer("settle", work)

    def renew(self, ids, now):
        def work():
            for each in ids:
                if each in self.leases:
                    self.leases[each] = now + LEASE_SECONDS

        return self._answer("renew", work)

    def release(self, ids, due_at):
        def work():
            for each in ids:
                if self.leases.pop(each, None) is not None:
                    self.due[each] = due_at

        return self._answer("release", work)

    def next_due(self):
        return self._answer("next_due", lambda: min([*self.due.values(), *self.leases.values()], default=None))

    def purge(self, now):
        return self._answer("purge", lambda: 0)


class FakeConnection:
    """A connection that carries what the server lets through."""

    def __init__(self, server):
        self.server = server
        self.lost = Deferred()
        self.idle = True
        self.result = None
        self.heard_at = server.clock.seconds()

    def send(self, claim):
        self.heard_at = self.server.clock.seconds()
        self.idle = False
        self.server.received.append(claim)
        self.result = Deferred()
        self.claim = claim
        self.server.sending.append(self)
        if self.server.automatic is not None:
            self.answer(self.server.automatic)
        return self.result

    def answer(self, *replies, **fields):
        """End the transaction; one reply is for all."""
        self.server.sending.remove(self)
        self.idle = True
        kinds = {2: Status.ACCEPTED, 4: Status.DEFERRED, 5: Status.FAILED}
        outcomes = tuple(
            Outcome(recipient.position, kinds[reply.code // 100], reply)
            for recipient, reply in zip(
                self.claim.recipients,
                replies if len(replies) > 1 else replies * len(self.claim.recipients),
                strict=True,
            )
        )
        self.result.callback(Attempt(outcomes=outcomes, **fields))

    def close(self):
        self.idle = False
        if not self.lost.called:
            self.lost.callback(None)

    def abort(self):
        if self in self.server.sending:
            self.answer(Reply(451, "4.4.2", "aborted"), unknown=True, trouble="aborted")
        self.close()


class Server:
    """An upstream that is up or down."""

    def __init__(self, clock):
        self.clock = clock
        self.down = ""
        self.automatic = QUEUED
        self.received = []
        self.sending = []
        self.connects = 0

    def connect(self):
        self.connects += 1
        return fail(UpstreamError(self.down)) if self.down else succeed(FakeConnection(self))


class Events:
    """A journal."""

    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append((event, {key: value for key, value in fields.items() if value is not None}))

    def named(self, event):
        return [fields for name, fields in self.events if name == event]


class World:
    def __init__(self, upstreams=1, connections=2, *, hold_unknown=False):
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.queue = MemoryQueue(self.clock)
        self.journal = Events()
        self.servers = [Server(self.clock) for _ in range(upstreams)]
        self.route = Route(
            [
                Upstream(
                    f"smtp{number}.internal:25",
                    Pool(server.connect, self.clock, Limits(connections=connections)),
                    Health(self.clock, lambda: 0.0),
                    self.clock,
                    self.journal,
                )
                for number, server in enumerate(self.servers)
            ],
            self.clock,
        )
        self.bounces = {}
        bouncer = Bouncer("gate.example.com", 5 * 86400.0, self.bounces.get, self.journal)
        self.dispatcher = Dispatcher(
            self.queue,
            self.route,
            lambda attempts: RetrySchedule().wait(attempts, 0.0),
            self.clock,
            lambda: self.clock.seconds() + self.set_by,
            self.journal,
            bouncer,
            hold_unknown=hold_unknown,
        )
        self.set_by = 0.0
        self.settled = []
        self.dispatcher.on_settled = lambda message, outcomes: self.settled.append((message, outcomes))
        self.stopped = []

    @property
    def server(self):
        return self.servers[0]

    def start(self):
        self.dispatcher.start()
        return self

    def stop(self):
        self.dispatcher.stop().addCallback(self.stopped.append)

    def pass_time(self, seconds, step=0.25):
        self.clock.pump([step] * int(seconds / step))


@pytest.fixture
def make_world(claim_of):
    worlds = []

    def make(**options):
        world = World(**options)
        count = iter(range(100000))

        def message(*recipients, **fields):
            now = world.clock.seconds()
            return claim_of(
                *recipients, **{"id": f"m{next(count)}", "created_at": now, "expires_at": now + 432000} | fields
            )

        world.message = message
        worlds.append(world)
        return world

    yield make
    for world in worlds:
        if not world.stopped:
            world.queue.broken = False
            world.stop()
            world.pass_time(40)
        assert world.stopped == [None]
        assert not world.clock.getDelayedCalls()


@pytest.fixture
def world(make_world):
    return make_world().start()


def statuses(world, message):
    return [[outcome.status for outcome in settlement.outcomes] for settlement in world.queue.settled[message.id]]


def test_what_is_handed_over_is_delivered_without_a_look_at_the_queue(world):
    looks = world.queue.calls.count("claim")
    message = world.queue.store(world.message(), lease=True)
    assert world.dispatcher.has_room("sensor", len(message.content))
    world.dispatcher.deliver(message)
    assert statuses(world, message) == [[Status.ACCEPTED]]
    assert world.queue.calls.count("claim") == looks
    assert world.settled == [(message.id, (Outcome(0, Status.ACCEPTED, QUEUED),))]


def test_what_is_due_at_the_start_is_delivered(make_world):
    world = make_world()
    messages = [world.queue.store(world.message()) for _ in range(3)]
    world.start()
    assert all(statuses(world, message) == [[Status.ACCEPTED]] for message in messages)


def test_a_wake_finds_what_was_stored(world):
    message = world.queue.store(world.message())
    world.dispatcher.wake()
    assert message.id in world.queue.settled


def test_a_scheduled_message_goes_when_it_is_due(world):
    message = world.queue.store(world.message(), world.clock.seconds() + 3)
    world.dispatcher.wake()
    world.pass_time(2.5)
    assert message.id not in world.queue.settled
    world.pass_time(1)
    assert message.id in world.queue.settled


def test_what_others_leave_behind_is_found_within_seconds(world):
    world.pass_time(1)
    message = world.queue.store(world.message())
    world.pass_time(5.25)
    assert message.id in world.queue.settled


def test_an_idle_dispatcher_does_not_keep_asking(world):
    before = len(world.queue.calls)
    world.pass_time(60)
    assert len(world.queue.calls) - before <= 2 * 60 / 5 + 2


def test_outcomes_are_told_per_recipient(world):
    world.server.automatic = None
    message = world.queue.store(world.message("a@x.kr", "b@x.kr", "c@x.kr"), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(QUEUED, LATER, NEVER)
    assert statuses(world, message) == [[Status.ACCEPTED, Status.DEFERRED, Status.FAILED]]
    common = {"message": message.id, "client": "sensor", "attempt": 1}
    assert world.journal.events == [
        ("delivery.accepted", {**common, "recipient": "a@x.kr", **_fields(QUEUED)}),
        ("delivery.deferred", {**common, "recipient": "b@x.kr", "next_attempt_in": 30, **_fields(LATER)}),
        ("delivery.failed", {**common, "recipient": "c@x.kr", **_fields(NEVER)}),
    ]


def _fields(reply):
    return {"code": reply.code, "enhanced": reply.enhanced, "text": reply.text, "host": reply.host}


def test_the_deferred_are_tried_again_by_the_schedule(world):
    world.server.automatic = LATER
    message = world.queue.store(world.message())
    start = world.clock.seconds()
    world.dispatcher.wake()
    world.pass_time(30 + 60 + 120 + 5)
    dues = [round(settlement.due_at - start) for settlement in world.queue.settled[message.id]]
    assert [due - seen for due, seen in zip(dues, [0, 30, 90, 210], strict=True)] == [30, 60, 120, 240]
    world.server.automatic = QUEUED
    world.pass_time(245)
    assert statuses(world, message)[-1] == [Status.ACCEPTED]


def test_only_who_is_still_open_is_tried_again(world):
    world.server.automatic = None
    message = world.queue.store(world.message("a@x.kr", "b@x.kr"), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(QUEUED, LATER)
    world.pass_time(31)
    assert [each.address for each in world.server.received[-1].recipients] == ["b@x.kr"]


def test_a_deferred_message_expires_at_its_time_with_the_last_reply(world):
    world.server.automatic = LATER
    message = world.queue.store(world.message(expires_at=world.clock.seconds() + 50))
    world.dispatcher.wake()
    world.pass_time(49)
    assert statuses(world, message) == [[Status.DEFERRED]] * 2
    world.pass_time(2)
    assert statuses(world, message)[2:] == [[Status.EXPIRED]]
    assert world.queue.settled[message.id][-1].outcomes[0].reply == LATER
    assert world.queue.settled[message.id][-1].due_at is None


def test_a_message_that_was_never_tried_expires_without_an_attempt(world):
    message = world.queue.store(world.message(expires_at=world.clock.seconds() - 1))
    world.dispatcher.wake()
    assert statuses(world, message) == [[Status.EXPIRED]]
    assert world.queue.settled[message.id][0].outcomes[0].reply.enhanced == "5.4.7"
    assert not world.server.received


def test_an_upstream_that_is_down_costs_no_attempt_and_the_backlog_drains_by_itself(world):
    world.server.down = "connection refused"
    messages = [world.queue.store(world.message()) for _ in range(100)]
    world.dispatcher.wake()
    world.pass_time(600)
    assert not world.queue.settled
    assert world.server.connects < 30
    assert not world.dispatcher.has_room("sensor", 1)
    world.server.down = ""
    world.pass_time(61)
    assert all(statuses(world, message) == [[Status.ACCEPTED]] for message in messages)
    assert world.dispatcher.has_room("sensor", 1)
    assert world.journal.named("upstream.down")[0] == {
        "upstream": "smtp0.internal:25",
        "reason": "connection refused",
    }
    assert world.journal.named("upstream.up") == [{"upstream": "smtp0.internal:25"}]


def test_one_message_goes_first_after_the_back_off(world):
    world.server.down = "connection refused"
    for _ in range(50):
        world.queue.store(world.message())
    world.dispatcher.wake()
    world.server.down = ""
    world.server.automatic = None
    world.pass_time(5)
    assert len(world.server.received) == 1
    world.server.sending[0].answer(QUEUED)
    world.pass_time(1.25)
    # The others follow gently: two at a time at first.
    assert len(world.server.sending) == 2


def test_messages_expire_while_every_upstream_is_down(world):
    world.server.down = "connection refused"
    soon = world.clock.seconds() + 30
    lasting = [world.queue.store(world.message()) for _ in range(200)]
    messages = [world.queue.store(world.message(expires_at=soon)) for _ in range(3)]
    world.dispatcher.wake()
    world.pass_time(60)
    for message in messages:
        assert statuses(world, message) == [[Status.EXPIRED]]
        assert "smtp0.internal:25: connection refused" in world.queue.settled[message.id][0].outcomes[0].reply.text
    assert not any(message.id in world.queue.settled for message in lasting)


def test_the_next_upstream_takes_over_and_the_first_is_tried_again(make_world):
    world = make_world(upstreams=2).start()
    first, second = world.servers
    first.down = "TLS failed: the server's certificate has expired"
    for _ in range(5):
        world.dispatcher.deliver(world.queue.store(world.message(), lease=True))
    assert len(second.received) == 5
    assert first.connects == 1
    assert world.dispatcher.has_room("sensor", 1)
    first.down = ""
    world.pass_time(2)
    for _ in range(3):
        world.dispatcher.deliver(world.queue.store(world.message(), lease=True))
    assert len(first.received) == 3
    assert len(second.received) == 5


def test_a_421_again_and_again_leaves_the_upstream_alone_for_a_while(world):
    world.server.automatic = None
    for _ in range(TROUBLES):
        assert world.dispatcher.has_room("sensor", 1)
        message = world.queue.store(world.message(), lease=True)
        world.dispatcher.deliver(message)
        world.server.sending[0].answer(Reply(421, "4.3.2", "busy", "smtp.internal"), trouble="421 busy")
        assert statuses(world, message) == [[Status.DEFERRED]]
    assert not world.dispatcher.has_room("sensor", 1)
    assert world.journal.named("upstream.down") == [{"upstream": "smtp0.internal:25", "reason": "421 busy"}]


def test_a_message_over_a_stale_connection_goes_over_another_at_once(world):
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    (connection,) = world.server.sending
    world.server.sending.clear()
    connection.idle = False
    connection.result.callback(Attempt(stale=True))
    world.server.sending[0].answer(QUEUED)
    assert statuses(world, message) == [[Status.ACCEPTED]]
    assert world.server.connects == 2


def test_a_probe_over_a_stale_connection_does_not_close_the_upstream_for_good(make_world):
    world = make_world(connections=4 * TROUBLES).start()
    world.server.automatic = None
    for message in [world.queue.store(world.message(), lease=True) for _ in range(TROUBLES + 1)]:
        world.dispatcher.deliver(message)
    good, *bad = world.server.sending
    good.answer(QUEUED)
    for connection in bad:
        connection.answer(LATER, trouble="the connection broke")
        connection.close()
    probe = world.queue.store(world.message())
    world.pass_time(6)
    assert world.server.sending == [good]
    world.server.sending.clear()
    good.idle = False
    good.result.callback(Attempt(stale=True))
    (fresh,) = world.server.sending
    fresh.answer(QUEUED)
    assert statuses(world, probe) == [[Status.ACCEPTED]]
    assert world.route.open


def test_an_unknown_outcome_is_recorded(world):
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(LATER, unknown=True, trouble="the connection broke")
    assert world.journal.named("delivery.outcome_unknown") == [
        {
            "message": message.id,
            "message_id": message.message_id,
            "client": "sensor",
            "upstream": "smtp0.internal:25",
        }
    ]
    assert len(world.server.received) == 1
    assert statuses(world, message) == [[Status.DEFERRED]]


def test_an_unknown_outcome_can_be_held_until_it_expires(make_world):
    world = make_world(hold_unknown=True).start()
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(LATER, unknown=True, trouble="the connection broke")
    [settlement] = world.queue.settled[message.id]
    assert (settlement.on_hold, settlement.due_at) == (True, message.expires_at)
    assert "next_attempt_in" not in world.journal.named("delivery.deferred")[0]
    held = replace(message, on_hold=True, attempts=1)
    world.dispatcher.deliver(world.queue.store(held, lease=True))
    assert world.queue.due[message.id] == message.expires_at
    world.set_by = message.expires_at - world.clock.seconds()
    world.queue.due.clear()
    world.dispatcher.deliver(world.queue.store(held, lease=True))
    assert len(world.server.received) == 1
    ended = world.queue.settled[message.id][1]
    assert not ended.tried
    assert world.journal.named("delivery.expired")[0]["attempt"] == 1
    [outcome] = ended.outcomes
    assert outcome.status is Status.EXPIRED
    assert outcome.reply.text == (
        "the message was on hold, because the outcome of an attempt was unknown, until it expired"
    )


def test_what_the_queue_has_lost_a_part_of_fails_for_that_reason_and_is_told(world):
    world.bounces["sensor"] = Address("ops", "x.kr")
    world.dispatcher.deliver(world.queue.store(world.message(damaged=True), lease=True))
    [failed] = world.journal.named("delivery.failed")
    assert failed["attempt"] == 0
    assert failed["text"] == "the gateway's queue was damaged and holds only a part of the message"
    assert len(world.journal.named("bounce.queued")) == 1
    assert all(claim.sender == "" for claim in world.server.received)


def test_what_is_known_is_not_held(make_world):
    world = make_world(hold_unknown=True).start()
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(LATER)
    [settlement] = world.queue.settled[message.id]
    assert not settlement.on_hold
    assert settlement.due_at == world.clock.seconds() + RetrySchedule().first


def test_leases_are_renewed_while_a_delivery_runs(world):
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.pass_time(200)
    assert len(world.server.received) == 1
    world.server.sending[0].answer(QUEUED)
    assert statuses(world, message) == [[Status.ACCEPTED]]


def test_a_settlement_that_fails_is_repeated_and_never_a_second_delivery(world):
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.queue.broken = True
    world.server.sending[0].answer(QUEUED)
    world.pass_time(20)
    assert world.settled == []
    world.queue.broken = False
    world.pass_time(15)
    assert statuses(world, message) == [[Status.ACCEPTED]]
    assert len(world.server.received) == 1
    assert [one for one, _ in world.settled] == [message.id]
    assert world.journal.named("delivery.settle_failed")[0]["reason"] == "the disk is gone"


def test_what_ends_undelivered_is_told_once_and_a_notice_that_does_is_only_journaled(world):
    world.bounces["sensor"] = Address("ops", "x.kr")
    world.server.automatic = NEVER
    message = world.queue.store(world.message("a@x.kr", "b@x.kr"), lease=True)
    world.dispatcher.deliver(message)
    [told] = world.journal.named("bounce.queued")
    assert (told["about"], told["undelivered"]) == (message.id, 2)
    assert [each.id for each in world.server.received] == [message.id, told["message"]]
    assert world.server.received[1].sender == ""
    assert [each["message"] for each in world.journal.named("delivery.failed")] == [message.id] * 2 + [
        told["message"]
    ]
    assert list(world.queue.settled) == [message.id, told["message"]]


def test_who_ends_later_is_told_of_in_a_notice_of_its_own(world):
    world.bounces["sensor"] = Address("ops", "x.kr")
    world.server.automatic = None
    expires_at = world.clock.seconds() + 20
    message = world.queue.store(world.message("a@x.kr", "b@x.kr", expires_at=expires_at), lease=True)
    world.dispatcher.deliver(message)
    world.server.sending[0].answer(NEVER, LATER)
    world.server.sending[0].answer(QUEUED)
    world.server.automatic = LATER
    world.pass_time(21)
    assert [each["undelivered"] for each in world.journal.named("bounce.queued")] == [1, 1]


def test_a_settlement_that_is_repeated_carries_the_very_same_notice(world):
    world.bounces["sensor"] = Address("ops", "x.kr")
    world.server.automatic = NEVER
    message = world.queue.store(world.message(), lease=True)
    seen = []
    settle = world.queue.settle

    def watched(settlement):
        seen.append(settlement)
        return settle(settlement)

    world.queue.settle = watched
    world.queue.broken = True
    world.dispatcher.deliver(message)
    assert world.dispatcher._work._octets == len(seen[0].notice.content), "the notice waits in memory"
    world.pass_time(5)
    world.queue.broken = False
    world.pass_time(15)
    tries = [each.notice.id for each in seen if each.id == message.id]
    assert len(tries) > 1
    assert set(tries) == {world.journal.named("bounce.queued")[0]["message"]}
    assert len(world.journal.named("bounce.queued")) == 1


def test_a_lost_lease_tells_nobody(world):
    world.bounces["sensor"] = Address("ops", "x.kr")
    world.server.automatic = NEVER
    world.dispatcher.deliver(world.message())
    assert world.journal.named("delivery.lease_lost")
    assert not world.journal.named("bounce.queued")


def test_outcomes_that_wait_are_written_as_soon_as_the_queue_takes_one_again(world):
    world.server.automatic = None
    first, second = (world.queue.store(world.message(), lease=True) for _ in range(2))
    world.dispatcher.deliver(first)
    world.dispatcher.deliver(second)
    world.queue.broken = True
    world.server.sending[0].answer(QUEUED)
    world.pass_time(16)
    world.queue.broken = False
    world.server.sending[0].answer(QUEUED)
    world.clock.advance(0)
    assert [statuses(world, each) for each in (first, second)] == [[[Status.ACCEPTED]]] * 2


def test_a_message_that_is_in_hand_is_not_begun_again_when_its_lease_ran_out(world):
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.queue.broken = True
    world.pass_time(60)
    world.queue.broken = False
    world.pass_time(20)
    assert len(world.server.received) == 1
    world.server.sending[0].answer(QUEUED)
    assert statuses(world, message) == [[Status.ACCEPTED]]


def test_a_lost_lease_is_recorded_and_nobody_is_told_of_an_outcome(world):
    message = world.message()
    world.dispatcher.deliver(message)
    assert world.journal.named("delivery.lease_lost") == [{"message": message.id}]
    assert world.settled == []


def test_a_queue_that_fails_is_asked_again(world):
    world.queue.broken = True
    message = world.queue.store(world.message())
    world.dispatcher.wake()
    assert world.journal.named("delivery.claim_failed") == [{"reason": "the disk is gone"}]
    world.queue.broken = False
    world.pass_time(6)
    assert message.id in world.queue.settled


def test_a_wake_during_a_claim_is_not_lost(world):
    held = world.queue.held_back = Deferred()
    world.dispatcher.wake()
    message = world.queue.store(world.message())
    world.dispatcher.wake()
    held.callback(None)
    assert message.id in world.queue.settled


def test_a_queue_that_does_not_know_what_is_due_next_is_asked_again(world):
    held = world.queue.held_back = Deferred()
    world.dispatcher.wake()
    world.queue.broken = True
    held.callback(None)
    world.pass_time(1)
    world.queue.broken = False
    message = world.queue.store(world.message())
    world.pass_time(5.25)
    assert message.id in world.queue.settled
    assert len(world.journal.named("delivery.claim_failed")) == 1


def test_a_dispatcher_without_room_waits_instead_of_asking(world):
    world.server.automatic = None
    for _ in range(2 * workload.MAX_MESSAGES):
        world.queue.store(world.message())
    world.dispatcher.wake()
    before = world.queue.calls.count("claim")
    fired = []
    arm = world.clock.callLater

    def count(wait, *args):
        fired.append(wait)
        return arm(wait, *args)

    world.clock.callLater = count
    world.pass_time(SILENCE - 5)
    world.clock.callLater = arm
    assert world.queue.calls.count("claim") == before
    assert len(fired) < 20


def test_a_release_that_fails_leaves_the_message_to_its_lease(world):
    world.server.down = "connection refused"
    message = world.queue.store(world.message())
    world.dispatcher.wake()
    world.queue.broken = True
    world.clock.advance(0)
    assert world.journal.named("delivery.release_failed") == [{"reason": "the disk is gone"}]
    world.queue.broken = False
    world.server.down = ""
    world.pass_time(LEASE_SECONDS + 6)
    assert statuses(world, message) == [[Status.ACCEPTED]]


def test_work_in_memory_is_bounded_in_number(make_world):
    world = make_world(connections=1)
    world.server.automatic = None
    for _ in range(2000):
        world.queue.store(world.message())
    world.start()
    assert len(world.queue.leases) == workload.MAX_MESSAGES
    assert not world.dispatcher.has_room("sensor", 1)
    world.server.automatic = QUEUED
    world.server.sending[0].answer(QUEUED)
    assert len(world.queue.settled) == 2000
    assert len(world.server.received) == 2000


def test_work_in_memory_is_bounded_in_octets(world):
    world.server.automatic = None
    assert not world.dispatcher.has_room("sensor", workload.MAX_OCTETS + workload.NEWCOMER_OCTETS + 1)
    for _ in range(workload.NEWCOMER_MESSAGES):
        world.dispatcher.deliver(world.queue.store(world.message(content=b"x\r\n" * 1_250_000), lease=True))
    assert world.dispatcher.has_room("sensor", workload.MAX_OCTETS - 30_000_000)
    assert not world.dispatcher.has_room("sensor", workload.MAX_OCTETS - 30_000_000 + 1)
    world.server.automatic = QUEUED
    for sending in list(world.server.sending):
        sending.answer(QUEUED)
    assert world.dispatcher.has_room("sensor", workload.MAX_OCTETS)


def test_a_client_with_little_in_work_finds_room_where_others_have_taken_it(world):
    world.server.automatic = None
    while world.dispatcher.has_room("sensor", 1):
        world.dispatcher.deliver(world.queue.store(world.message(), lease=True))
    for _ in range(workload.NEWCOMER_MESSAGES):
        assert world.dispatcher.has_room("다른 장치", workload.MAX_OCTETS)
        world.dispatcher.deliver(world.queue.store(world.message(client="다른 장치"), lease=True))
    assert not world.dispatcher.has_room("다른 장치", 1)
    assert world.dispatcher.has_room("새 장치", 1)


def test_newcomers_too_find_no_room_without_end(world):
    world.server.automatic = None
    number = 0
    while world.dispatcher.has_room(f"장치 {number}", 1):
        world.dispatcher.deliver(world.queue.store(world.message(client=f"장치 {number}"), lease=True))
        number += 1
    assert number == 2 * workload.MAX_MESSAGES


def test_a_backlog_keeps_room_although_messages_are_handed_over(world):
    world.server.automatic = None
    while world.dispatcher.has_room("sensor", 1):
        world.dispatcher.deliver(world.queue.store(world.message(), lease=True))
    backlog = [world.queue.store(world.message()) for _ in range(10)]
    world.dispatcher.wake()
    assert all(message.id in world.queue.leases for message in backlog)


def test_a_fault_of_ours_neither_loses_nor_holds_a_message(world, monkeypatch):
    monkeypatch.setattr(world.route, "deliver", lambda claim: fail(ZeroDivisionError()))
    logged = []
    monkeypatch.setattr(module._log, "failure", lambda *args, **fields: logged.append(args))
    message = world.queue.store(world.message())
    world.dispatcher.wake()
    assert message.id in world.queue.leases
    assert logged
    monkeypatch.undo()
    world.pass_time(LEASE_SECONDS + 6)
    assert statuses(world, message) == [[Status.ACCEPTED]]


def test_finished_messages_are_purged_at_the_start_and_hourly(world):
    assert world.queue.calls.count("purge") == 1
    world.pass_time(7300, step=10)
    assert world.queue.calls.count("purge") == 3


def test_a_stop_lets_transactions_end_and_gives_back_the_rest(make_world):
    world = make_world(connections=1).start()
    world.server.automatic = None
    first, second = (world.queue.store(world.message(), lease=True) for _ in range(2))
    world.dispatcher.deliver(first)
    world.dispatcher.deliver(second)
    world.stop()
    world.pass_time(1)
    assert world.queue.due[second.id] <= world.clock.seconds()
    assert world.stopped == []
    assert not world.dispatcher.has_room("sensor", 1)
    world.server.sending[0].answer(QUEUED)
    assert world.stopped == [None]
    assert statuses(world, first) == [[Status.ACCEPTED]]
    assert world.queue.leases == {}


def test_a_stop_has_a_bound(make_world):
    world = make_world().start()
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.stop()
    world.pass_time(29)
    assert world.stopped == []
    world.pass_time(2)
    assert world.stopped == [None]
    assert statuses(world, message) == [[Status.DEFERRED]]


def test_a_stop_has_a_bound_although_the_queue_takes_nothing(make_world):
    world = make_world().start()
    world.server.automatic = None
    message = world.queue.store(world.message(), lease=True)
    world.dispatcher.deliver(message)
    world.queue.broken = True
    world.server.sending[0].answer(QUEUED)
    world.stop()
    world.pass_time(36)
    assert world.stopped == [None]
    assert world.journal.named("delivery.unsettled") == [{"message": message.id}]


def test_what_is_claimed_during_a_stop_is_given_back(make_world):
    world = make_world().start()
    message = world.queue.store(world.message())
    held = world.queue.held_back = Deferred()
    world.dispatcher.wake()
    world.stop()
    assert world.stopped == []
    held.callback(None)
    world.pass_time(1)
    assert message.id in world.queue.due
    assert world.stopped == [None]
    assert not world.server.received


def test_a_stop_waits_until_what_a_claim_brings_is_given_back(make_world):
    world = make_world()
    message = world.queue.store(world.message())
    held = world.queue.held_back = Deferred()
    world.start()
    world.stop()
    held.callback(None)
    assert world.stopped == []
    world.clock.advance(0)
    assert world.stopped == [None]
    assert message.id in world.queue.due
    assert not world.journal.named("delivery.unsettled")


def test_a_settlement_that_fails_after_the_stop_is_not_tried_again(make_world):
    world = make_world().start()
    message = world.queue.store(world.message(), lease=True)
    settling = Deferred()
    world.queue.settle = lambda _: settling
    world.dispatcher.deliver(message)
    world.stop()
    world.pass_time(36)
    assert world.stopped == [None]
    settling.errback(QueueError("the queue is closed"))
    assert not world.clock.getDelayedCalls()
    assert world.journal.named("delivery.settle_failed")


def test_waiting_messages_are_turned_away_together_when_the_upstream_goes_down(make_world):
    world = make_world(connections=1).start()
    world.server.automatic = None
    messages = [world.queue.store(world.message(), lease=True) for _ in range(20)]
    for message in messages:
        world.dispatcher.deliver(message)
    releases = world.queue.calls.count("release")
    for _ in range(TROUBLES):
        world.server.sending[0].answer(LATER, trouble="the connection broke")
    world.server.down = "connection refused"
    world.clock.advance(0)
    assert world.queue.calls.count("release") == releases + 1
    assert len(world.queue.due) == 20


@pytest.mark.parametrize("hours", [-5, 5])
def test_a_calendar_that_is_set_moves_neither_waits_nor_leases(world, hours):
    world.server.automatic = None
    sent, deferred = (world.queue.store(world.message(), lease=True) for _ in range(2))
    world.dispatcher.deliver(sent)
    world.dispatcher.deliver(deferred)
    world.set_by = hours * 3600.0
    world.server.sending[1].answer(LATER)
    assert world.queue.due[deferred.id] == world.clock.seconds() + RetrySchedule().first
    assert world.queue.settled[deferred.id][0].settled_at == world.clock.seconds() + hours * 3600.0
    world.pass_time(LEASE_SECONDS * 3)
    assert world.queue.leases[sent.id] > world.clock.seconds()
    for sending in list(world.server.sending):
        sending.answer(QUEUED)
    assert statuses(world, sent) == [[Status.ACCEPTED]]
    assert statuses(world, deferred)[-1] == [Status.ACCEPTED]

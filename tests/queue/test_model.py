"""Two gateways, many messages: the queue against a model of a few lines."""

import itertools
from dataclasses import dataclass, field

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule, run_state_machine_as_test

from mailgate.model.ids import new_id
from mailgate.model.outcome import Outcome, Reply, Status, message_status
from mailgate.queue.accepting import accept
from mailgate.queue.interface import (
    KEY_SECONDS,
    LEASE_SECONDS,
    IdempotencyKeyReusedError,
    NewMessage,
    Settlement,
)
from mailgate.queue.leasing import claim, release, release_all, renew
from mailgate.queue.opening import make_database
from mailgate.queue.records import find, next_due, purge
from mailgate.queue.settling import settle
from mailgate.queue.sqlite import SqliteDatabase

RETENTION = 3600.0
GATEWAYS = st.sampled_from(["이쪽", "저쪽"])
KEYS = st.none() | st.sampled_from(["k", "l"])
WAITS = st.sampled_from([0.0, 1.0, LEASE_SECONDS, 1000.0])
OUTCOMES = st.sampled_from([Status.ACCEPTED, Status.DEFERRED, Status.FAILED, Status.EXPIRED])


@dataclass
class Known:
    """What the model knows of a stored message."""

    message: NewMessage
    due_at: float | None
    lease: str | None
    turn: int | None
    recipients: list[Status]
    attempts: int = 0
    finished_at: float | None = None
    replies: dict[int, Reply] = field(default_factory=dict)


class TwoGateways(RuleBasedStateMachine):
    stored = Bundle("stored")

    def __init__(self, database):
        super().__init__()
        self.now = 1_790_000_000.0
        self.database = database
        self.database.open()
        self.connection = self.database.writer()
        self.known: dict[str, Known] = {}
        self.keys: dict[tuple[str, str], str] = {}

    def teardown(self):
        self.connection.close()
        self.database.close()

    def take_turn(self, message):
        """Put a message at the end of its client's line, which begins where the first of all is."""
        taken = [each for each in self.known.values() if each.turn is not None]
        own = [each.turn for each in taken if each.message.client == message.client]
        first = min((each.turn for each in taken), default=0)
        return max(own) + 1 if own else first

    def do(self, function, *args):
        with self.connection.begin():
            return function(self.connection, *args)

    @rule(seconds=WAITS)
    def time_passes(self, seconds):
        self.now += seconds

    @rule(
        target=stored,
        gateway=GATEWAYS,
        client=st.sampled_from(["장치", "서비스"]),
        key=KEYS,
        fingerprint=st.sampled_from("01"),
        wait=WAITS,
        lease=st.booleans(),
        count=st.integers(1, 3),
    )
    def accepts(self, gateway, client, key, fingerprint, wait, lease, count):
        message = NewMessage(
            id=new_id(self.now),
            message_id="<x@gate.example.com>",
            client=client,
            door="https",
            created_at=self.now,
            due_at=self.now + wait,
            scheduled_at=self.now + wait if wait else None,
            expires_at=self.now + 86400,
            sender="a@example.com",
            recipients=tuple(f"수신{position}@example.com" for position in range(count)),
            content=b"\r\n" * count,
            eight_bit=False,
            smtputf8=True,
            fingerprint=fingerprint,
            idempotency_key=key,
            metadata={},
            lease=lease,
        )
        [result] = self.do(accept, [message], gateway, self.now)
        first = self.keys.get((client, key))
        if key is not None and first is not None:
            original = self.known[first].message
            if original.fingerprint != fingerprint:
                assert isinstance(result, IdempotencyKeyReusedError)
            else:
                assert (result.id, result.replayed, result.recipients) == (first, True, original.recipients)
                scheduled = original.due_at > original.created_at
                assert result.status is (Status.SCHEDULED if scheduled else Status.QUEUED)
            return first
        assert (result.id, result.replayed) == (message.id, False)
        due_at = self.now + LEASE_SECONDS if lease else message.due_at
        turn = None if lease or wait else self.take_turn(message)
        self.known[message.id] = Known(message, due_at, gateway if lease else None, turn, [Status.QUEUED] * count)
        if key is not None:
            self.keys[client, key] = message.id
        return message.id

    @rule(gateway=GATEWAYS, limit=st.integers(1, 4))
    def claims(self, gateway, limit):
        waiting = [
            (known.due_at, each)
            for each, known in self.known.items()
            if known.turn is None and known.due_at is not None and known.due_at <= self.now
        ]
        for _, each in sorted(waiting):
            self.known[each].turn = self.take_turn(self.known[each].message)
        line = sorted((known.turn, each) for each, known in self.known.items() if known.turn is not None)
        claimed = self.do(claim, limit, gateway, self.now)
        assert [each.id for each in claimed] == [each for _, each in line[:limit]]
        for each in claimed:
            known = self.known[each.id]
            known.lease, known.due_at, known.turn = gateway, self.now + LEASE_SECONDS, None
            assert (each.content, each.attempts) == (known.message.content, known.attempts)
            assert [pending.position for pending in each.recipients] == [
                position for position, status in enumerate(known.recipients) if not status.final
            ]

    @rule(gateway=GATEWAYS, message=stored, statuses=st.lists(OUTCOMES, min_size=3, max_size=3), wait=WAITS)
    def settles(self, gateway, message, statuses, wait):
        known = self.known.get(message)
        pending = [] if known is None else [at for at, status in enumerate(known.recipients) if not status.final]
        reply = Reply(450, "4.0.0", "답", "smtp1")
        outcomes = tuple(Outcome(at, statuses[at], reply) for at in pending)
        settlement = Settlement(message, outcomes, self.now, self.now + wait)
        [recorded] = self.do(settle, [settlement], gateway, self.now)
        assert recorded is (known is not None and known.lease == gateway)
        if not recorded:
            return
        for at in pending:
            known.recipients[at] = statuses[at]
            known.replies[at] = reply
        known.attempts += 1
        known.lease = known.turn = None
        final = message_status(known.recipients).final
        known.due_at = None if final else self.now + wait
        known.finished_at = self.now if final else None

    @rule(gateway=GATEWAYS, message=stored, wait=WAITS)
    def releases(self, gateway, message, wait):
        self.do(release, [message], gateway, self.now + wait, self.now)
        known = self.known.get(message)
        if known is not None and known.lease == gateway:
            known.lease, known.due_at, known.turn = None, self.now + wait, None

    @rule(gateway=GATEWAYS, message=stored)
    def renews(self, gateway, message):
        self.do(renew, [message], gateway, self.now)
        known = self.known.get(message)
        if known is not None and known.lease == gateway:
            known.due_at, known.turn = self.now + LEASE_SECONDS, None

    @rule(gateway=GATEWAYS)
    def closes(self, gateway):
        self.do(release_all, gateway, self.now)
        for known in self.known.values():
            if known.lease == gateway and known.turn is None:
                known.lease, known.due_at = None, self.now

    @rule(later=st.sampled_from([0.0, RETENTION, KEY_SECONDS]))
    def purges(self, later):
        self.now += later
        kept = {}
        for each, known in self.known.items():
            lifetime = RETENTION if known.message.idempotency_key is None else KEY_SECONDS
            if known.finished_at is None or known.finished_at > self.now - lifetime:
                kept[each] = known
        assert self.do(purge, RETENTION, self.now) == len(self.known) - len(kept)
        self.known = kept
        self.keys = {key: each for key, each in self.keys.items() if each in kept}

    @rule(message=consumes(stored))
    def finds(self, message):
        known = self.known.get(message)
        if known is None:
            assert self.do(find, "장치", message, self.now) is None
            return
        record = self.do(find, known.message.client, message, self.now)
        assert record.attempts == known.attempts
        if known.lease is not None and known.due_at > self.now:
            assert (record.status, record.next_attempt_at) == (Status.SENDING, None)
        else:
            assert record.next_attempt_at == known.due_at
        if known.due_at is None:
            assert record.status is message_status(known.recipients)
        assert [each.status for each in record.recipients if each.status.final] == [
            status for status in known.recipients if status.final
        ]
        assert {at: each.reply for at, each in enumerate(record.recipients) if each.reply} == known.replies

    @invariant()
    def the_next_due_time_is_known(self):
        line = [(known.turn, each) for each, known in self.known.items() if known.turn is not None]
        times = [known.due_at for known in self.known.values() if known.due_at is not None]
        expected = self.known[min(line)[1]].due_at if line else min(times, default=None)
        assert self.do(next_due) == expected


SETTINGS = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)


def test_two_gateways_on_sqlite(tmp_path, clock):
    numbers = itertools.count()
    run_state_machine_as_test(
        lambda: TwoGateways(SqliteDatabase(tmp_path / f"{next(numbers)}.db", clock, clock.seconds)),
        settings=SETTINGS,
    )


def test_two_gateways_on_postgresql(postgresql, clock):
    run_state_machine_as_test(
        lambda: TwoGateways(make_database(postgresql.new_database(), clock)), settings=SETTINGS
    )

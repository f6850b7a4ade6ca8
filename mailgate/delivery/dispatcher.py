"""Carries messages from the queue to the upstreams and settles what became of them."""

from collections.abc import Callable
from dataclasses import replace
from math import inf

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.bounces import Bouncer
from mailgate.delivery.claimer import Claimer
from mailgate.delivery.route import Route, UnreachableError
from mailgate.delivery.settler import Settler
from mailgate.delivery.workload import Workload
from mailgate.model.journal import Journal
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import LEASE_SECONDS, Claim, NewMessage, Queue, Settlement

SWEEP = 5.0
"""How often, in seconds, some of what is due is looked through for what expired while no upstream works."""

SWEEP_MESSAGES = 64
LAST_CHANCE = 60.0
"""Seconds after its expiry within which a message that was deferred until then is tried a last time."""

PURGE = 3600.0
GRACE = 30.0
"""Seconds that a transaction has to come to its end at a stop."""

SETTLE_GRACE = 5.0
"""Seconds after that for the queue to take the outcomes."""

_LOST = Reply(554, "5.3.0", "the gateway's queue was damaged and holds only a part of the message")

_log = Logger()


class Dispatcher:
    """
    Delivers what is handed over and what is due, and holds the leases of all that it works on.

    A message without an upstream that could be had goes back to the queue without an attempt being counted,
    due again as soon as one may work.
    """

    def __init__(
        self,
        queue: Queue,
        route: Route,
        retry_after: Callable[[int], float],
        clock: IReactorTime,
        wall: Callable[[], float],
        journal: Journal,
        bouncer: Bouncer,
        *,
        hold_unknown: bool = False,
    ) -> None:
        self.on_settled: Callable[[str, tuple[Outcome, ...]], None] | None = None
        self._queue = queue
        self._route = route
        self._retry_after = retry_after
        self._clock = clock
        self._wall = wall
        self._journal = journal
        self._hold_unknown = hold_unknown
        self._bouncer = bouncer
        self._settler = Settler(queue, clock, journal)
        self._claimer = Claimer(queue, self, clock, journal)
        self._work = Workload()
        self._to_release: list[str] = []
        self._next_sweep = 0.0
        self._running = False
        self._emptied: Deferred[None] | None = None
        self._loops = (self._loop(self._renew), self._loop(self._purge))

    def upstreams(self) -> dict[str, bool]:
        """Return of each upstream, by its name, whether it is believed to work."""
        return {upstream.name: upstream.open for upstream in self._route.upstreams}

    def connections(self) -> dict[str, dict[str, int]]:
        """Return of each upstream, by its name, its connections: open, busy, allowed."""
        return {upstream.name: upstream.connections for upstream in self._route.upstreams}

    def start(self) -> None:
        """Begin to deliver."""
        self._running = True
        renewal, purge = self._loops
        renewal.start(LEASE_SECONDS / 3, now=False)
        purge.start(PURGE)
        self._route.start()
        self._claimer.start()

    def stop(self) -> Deferred[None]:
        """
        End delivery: claim nothing more, give back what was not begun, let transactions come to their end.

        Fires when all is settled and every connection closed, after GRACE and SETTLE_GRACE at the latest; the
        leases of what is unsettled then run out by themselves.
        """
        self._running = False
        stopped: Deferred[None] = Deferred()
        # Only then is it known that nothing more comes into work.
        parts = [self._claimer.stop().addCallback(self._wait_until_empty), self._route.close()]
        bounds: list[IDelayedCall] = []
        bounds.append(self._clock.callLater(GRACE, self._route.abort))
        bounds.append(self._clock.callLater(GRACE + SETTLE_GRACE, self._end, None, stopped, bounds))
        gatherResults(parts).addCallback(self._end, stopped, bounds)
        return stopped

    def wake(self) -> None:
        """Look into the queue soon: something was stored there without a lease."""
        self._claimer.look()

    def has_room(self, client: str, size: int) -> bool:
        """Tell whether a message of the client, of so many octets, may be handed over with `deliver`."""
        return self._running and self._route.open and self._work.takes(client, size)

    def deliver(self, claim: Claim) -> None:
        """Take over a message whose lease this gateway holds."""
        if claim.id in self._work:
            # Its lease ran out unnoticed and it was claimed once more: it's still in hand.
            return
        self._work.add(claim)
        if not self._running:
            self._give_back(claim)
        elif claim.damaged:
            outcomes = tuple(Outcome(each.position, Status.FAILED, _LOST) for each in claim.recipients)
            self._settle(claim, outcomes, tried=False)
        elif claim.on_hold and self._wall() < claim.expires_at:
            self._hold_on(claim)
        elif claim.on_hold or self._expired(claim):
            reply = Reply(554, "5.4.7", self._why_expired(claim))
            outcomes = tuple(Outcome(each.position, Status.EXPIRED, reply) for each in claim.recipients)
            self._settle(claim, outcomes, tried=False)
        else:
            delivered = self._route.deliver(claim)
            delivered.addCallbacks(self._attempted, self._not_attempted, (claim,), {}, (claim,), {})
            delivered.addErrback(self._broke, claim)

    def room(self) -> int:
        """Return how many messages may be claimed now."""
        free = self._work.free
        if self._route.open or not free:
            return free
        now = self._clock.seconds()
        if self._next_sweep <= now:
            self._next_sweep = now + SWEEP
            return SWEEP_MESSAGES
        return 1 if self._route.reopens_at <= now else 0

    def room_at(self) -> float:
        """Return when an upstream that is left alone may be tried again."""
        reopens_at = self._route.reopens_at
        return reopens_at if reopens_at > self._clock.seconds() else inf

    def _expired(self, claim: Claim) -> bool:
        late = self._wall() - claim.expires_at
        return late >= (LAST_CHANCE if claim.attempts else 0.0)

    def _why_expired(self, claim: Claim) -> str:
        if claim.on_hold:
            return "the message was on hold, because the outcome of an attempt was unknown, until it expired"
        return f"the message expired before it could be delivered. {self._route.trouble}".strip(". ")

    def _attempted(self, attempt: Attempt, claim: Claim) -> None:
        outcomes = attempt.outcomes
        if self._wall() >= claim.expires_at:
            outcomes = tuple(
                replace(outcome, status=Status.EXPIRED) if outcome.status is Status.DEFERRED else outcome
                for outcome in outcomes
            )
        hold = attempt.unknown and self._hold_unknown
        if attempt.unknown:
            self._journal.record(
                "delivery.outcome_unknown",
                message=claim.id,
                message_id=claim.message_id,
                client=claim.client,
                upstream=attempt.upstream,
                on_hold=hold or None,
            )
        self._settle(claim, outcomes, hold=hold)

    def _not_attempted(self, failure: Failure, claim: Claim) -> None:
        if isinstance(failure.value, UnreachableError):
            self._give_back(claim)
        else:
            self._broke(failure, claim)

    def _broke(self, failure: Failure, claim: Claim) -> None:
        # A fault of ours: the message must neither be lost nor held for ever. Its lease ends by itself.
        _log.failure("delivery of {message} broke", failure, message=claim.id)
        self._done(claim.id)

    def _settle(
        self, claim: Claim, outcomes: tuple[Outcome, ...], *, tried: bool = True, hold: bool = False
    ) -> None:
        """Record how a message stands, after an attempt or without one, and have the queue store it."""
        attempts = claim.attempts + tried
        now, wall = self._clock.seconds(), self._wall()
        due_at = None
        if any(outcome.status is Status.DEFERRED for outcome in outcomes):
            left = max(0.0, claim.expires_at - wall)
            wait = left if hold else min(self._retry_after(attempts), left)
            due_at = now + wait
        self._record(claim, outcomes, attempts, None if hold else due_at)
        notice = self._bouncer.notice(claim, outcomes, attempts, wall)
        # The outcome and its notice stay in memory until they are on disk; the content need not.
        self._work.resize(claim.id, 0 if notice is None else len(notice.content))
        on_hold = hold and due_at is not None
        settled = self._settler.settle(Settlement(claim.id, outcomes, wall, due_at, tried, on_hold, notice))
        settled.addCallback(self._settled, claim.id, outcomes, notice)

    def _settled(
        self,
        held: bool,  # noqa: FBT001 - the queue's answer
        message: str,
        outcomes: tuple[Outcome, ...],
        notice: NewMessage | None,
    ) -> None:
        self._done(message)
        if held and notice is not None:
            self._bouncer.queued(notice, message, outcomes)
            self.wake()
        if held and self.on_settled is not None:
            self.on_settled(message, outcomes)

    def _record(self, claim: Claim, outcomes: tuple[Outcome, ...], attempts: int, due_at: float | None) -> None:
        addresses = {recipient.position: recipient.address for recipient in claim.recipients}
        now = self._clock.seconds()
        for outcome in outcomes:
            reply = outcome.reply or Reply(0, "", "")
            self._journal.record(
                f"delivery.{outcome.status.value}",
                message=claim.id,
                client=claim.client,
                recipient=addresses[outcome.position],
                code=reply.code or None,
                enhanced=reply.enhanced or None,
                text=reply.text or None,
                host=reply.host or None,
                attempt=attempts,
                next_attempt_in=None
                if due_at is None or outcome.status is not Status.DEFERRED
                else round(due_at - now),
            )

    def _hold_on(self, claim: Claim) -> None:
        """Leave what is on hold until it expires: the queue's clock has come to that before the calendar."""
        due_at = self._clock.seconds() + claim.expires_at - self._wall()
        released = self._queue.release([claim.id], due_at)
        released.addErrback(self._report, "delivery.release_failed")
        released.addCallback(self._released, [claim.id])

    def _give_back(self, claim: Claim) -> None:
        if not self._to_release:
            # What comes back, comes back together.
            self._clock.callLater(0, self._release)
        self._to_release.append(claim.id)

    def _release(self) -> None:
        ids, self._to_release = self._to_release, []
        now = due_at = self._clock.seconds()
        if self._running:
            # Not at once, even if a probe is about to end: there has to be an end to taking and giving back.
            reopens_at = self._route.reopens_at
            due_at = now + 1.0 if reopens_at == inf else min(max(reopens_at, now + 1.0), now + SWEEP)
        released = self._queue.release(ids, due_at)
        released.addErrback(self._report, "delivery.release_failed")
        released.addCallback(self._released, ids)

    def _released(self, _: None, ids: list[str]) -> None:
        for message in ids:
            self._done(message)

    def _done(self, message: str) -> None:
        self._work.remove(message)
        self._claimer.freed()
        self._tell_if_empty()

    def _wait_until_empty(self, _: None) -> Deferred[None]:
        emptied = self._emptied = Deferred()
        self._tell_if_empty()
        return emptied

    def _tell_if_empty(self) -> None:
        if not self._work and self._emptied is not None and not self._emptied.called:
            self._emptied.callback(None)

    def _end(self, _: object, stopped: Deferred[None], bounds: list[IDelayedCall]) -> None:
        if stopped.called:
            return
        self._settler.stop()
        for call in bounds:
            if call.active():
                call.cancel()
        for loop in self._loops:
            if loop.running:
                loop.stop()
        for message in self._work:
            self._journal.record("delivery.unsettled", message=message)
        stopped.callback(None)

    def _loop(self, function: Callable[[], Deferred[None] | None]) -> LoopingCall:
        loop = LoopingCall(function)
        loop.clock = self._clock
        return loop

    def _renew(self) -> Deferred[None] | None:
        if not self._work:
            return None
        renewed = self._queue.renew(tuple(self._work), self._clock.seconds())
        return renewed.addErrback(self._report, "delivery.renewal_failed")

    def _purge(self) -> Deferred[None]:
        purged = self._queue.purge(self._wall()).addCallback(lambda _: None)
        return purged.addErrback(self._report, "delivery.purge_failed")

    def _report(self, failure: Failure, event: str) -> None:
        self._journal.record(event, reason=str(failure.value))

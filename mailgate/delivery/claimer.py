"""When to look into the queue for what is due."""

from collections.abc import Callable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgate.model.journal import Journal
from mailgate.queue.interface import LATE_SECONDS, Claim, Queue

POLL = 5.0
"""The longest time between two looks, in seconds, for what other gateways leave behind."""

AFTER_FAILURE = 1.0
"""Seconds until the next claim after one that failed, which asks for half as many, or found what is due taken."""

SHORTEST_WAIT = 0.1
"""Between two looks of which the first found nothing, in seconds."""


_ANY = 1 << 20

_log = Logger()


class Taker(Protocol):
    """Who works on what is due."""

    def room(self) -> int:
        """Return how many messages may be claimed now."""

    def room_at(self) -> float:
        """Return the moment that brings room by itself, by the clock; infinite where none does."""

    def deliver(self, claim: Claim) -> None:
        """Work on a claimed message."""


class Claimer:
    """
    Claims what is due as long as there is room for it.

    It looks when `look` says so, when something falls due, and every few seconds; one claim at a time.
    """

    def __init__(self, queue: Queue, taker: Taker, clock: IReactorTime, journal: Journal) -> None:
        self._queue = queue
        self._taker = taker
        self._clock = clock
        self._journal = journal
        self._running = False
        self._looking = False
        self._again = False
        self._starved = False
        # A smaller claim may still be possible where a large one isn't: on a disk that is all but full.
        self._most = _ANY
        self._timer: IDelayedCall | None = None
        self._stopped: Callable[[None], None] | None = None

    def start(self) -> None:
        """Begin to claim."""
        self._running = True
        self.look()

    def stop(self) -> Deferred[None]:
        """Claim nothing more; fires once a claim under way has ended, its messages handed to the taker."""
        self._running = False
        self._disarm()
        if not self._looking:
            return succeed(None)
        stopped: Deferred[None] = Deferred()
        self._stopped = stopped.callback
        return stopped

    def freed(self) -> None:
        """Look again if there was no room the last time."""
        if self._starved:
            self.look()

    def look(self) -> None:
        """Look for what is due, now or as soon as there is room."""
        if not self._running:
            return
        if self._looking:
            self._again = True
            return
        limit = min(self._taker.room(), self._most)
        self._starved = limit <= 0
        if self._starved:
            self._arm(self._clock.seconds() + POLL)
            return
        self._looking = True
        self._again = False
        asked_at = self._clock.seconds()
        claimed = self._queue.claim(limit, asked_at)
        claimed.addCallbacks(self._claimed, self._failed, (asked_at,), {}, (limit,))
        claimed.addErrback(self._broke)

    def _claimed(self, claims: Sequence[Claim], asked_at: float) -> None:
        self._most = min(self._most * 2, _ANY)
        if self._clock.seconds() - asked_at >= LATE_SECONDS:
            # They are claimed again when their leases have ended.
            claims = ()
        for claim in claims:
            self._taker.deliver(claim)
        self._ended()
        if claims or self._again:
            self.look()
        elif self._running:
            self._queue.next_due().addCallbacks(self._due, self._not_known)

    def _due(self, moment: float | None) -> None:
        if self._running and not self._looking:
            now = self._clock.seconds()
            if moment is None:
                moment = now + POLL
            elif moment <= now:
                # What is due and was not to be had is another gateway's, which may be at it right now.
                moment = now + AFTER_FAILURE
            self._arm(moment)

    def _not_known(self, failure: Failure) -> None:
        self._journal.record("delivery.claim_failed", reason=str(failure.value))
        self._due(None)

    def _failed(self, failure: Failure, limit: int) -> None:
        self._most = max(1, limit // 2)
        self._ended()
        self._not_known(failure)
        if self._running and limit > 1:
            self._arm(self._clock.seconds() + AFTER_FAILURE)

    def _broke(self, failure: Failure) -> None:
        # A defect over one message must not end claiming for all; the leases that it left open end by themselves.
        _log.failure("working on a claim broke", failure)
        self._ended()
        self._due(None)

    def _ended(self) -> None:
        self._looking = False
        if self._stopped is not None:
            self._stopped(None)
            self._stopped = None

    def _arm(self, moment: float) -> None:
        self._disarm()
        wait = min(moment, self._taker.room_at() if self._starved else moment) - self._clock.seconds()
        self._timer = self._clock.callLater(min(max(wait, SHORTEST_WAIT), POLL), self._ring)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        self._timer = None
        self.look()

"""Writes what became of messages into the queue, again and again if need be."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mailgate.model.journal import Journal
from mailgate.queue.interface import Queue, Settlement

FIRST_WAIT = 0.5
LONGEST_WAIT = 10.0


class Settler:
    """
    Settles attempts, and holds on to an outcome that the queue could not take.

    An outcome that got lost would mean a second delivery, so it is kept until it is on disk or the lease is
    found to be lost.
    """

    def __init__(self, queue: Queue, clock: IReactorTime, journal: Journal) -> None:
        self._queue = queue
        self._clock = clock
        self._journal = journal
        self._retries: dict[str, IDelayedCall] = {}
        self._stopped = False

    def settle(self, settlement: Settlement) -> Deferred[bool]:
        """Record the settlement; fires with whether this gateway still held the lease. Never fails."""
        done: Deferred[bool] = Deferred()
        self._try(settlement, done, FIRST_WAIT)
        return done

    def stop(self) -> None:
        """Give up what could not be written, and what is being written if that fails."""
        self._stopped = True
        for retry in self._retries.values():
            retry.cancel()
        self._retries.clear()

    def _try(self, settlement: Settlement, done: Deferred[bool], wait: float) -> None:
        self._retries.pop(settlement.id, None)
        self._queue.settle(settlement).addCallbacks(
            self._settled, self._failed, (settlement, done), {}, (settlement, done, wait), {}
        )

    def _settled(self, held: bool, settlement: Settlement, done: Deferred[bool]) -> None:  # noqa: FBT001 - the queue's answer
        if not held:
            self._journal.record("delivery.lease_lost", message=settlement.id)
        done.callback(held)
        if self._retries:
            # The queue takes outcomes again: each that waits is a second delivery if the gateway dies before.
            for retry in self._retries.values():
                retry.reset(0)

    def _failed(self, failure: Failure, settlement: Settlement, done: Deferred[bool], wait: float) -> None:
        self._journal.record("delivery.settle_failed", message=settlement.id, reason=str(failure.value))
        if self._stopped:
            return
        longer = min(wait * 2, LONGEST_WAIT)
        self._retries[settlement.id] = self._clock.callLater(wait, self._try, settlement, done, longer)

"""How much waits in the queue, counted again and again, and when that is too much."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.queue.interface import Survey

INTERVAL = 10.0
"""Seconds between two counts, where they are quick."""

SHARE = 20.0
"""A count that takes long is followed by a pause so many times as long."""

_RETRY_AFTER = 60.0


class Backlog:
    """
    Keeps an eye on a queue by `survey`, from `start` to `stop`.

    Attributes:
        latest: what the last count found; None before the first one, and where the last one failed.

    """

    def __init__(
        self,
        survey: Callable[[], Deferred[Survey]],
        clock: IReactorTime,
        wall: Callable[[], float],
        journal: Journal,
    ) -> None:
        self.latest: Survey | None = None
        self._survey = survey
        self._clock = clock
        self._wall = wall
        self._journal = journal
        self._timer: IDelayedCall | None = None
        self._running = False

    def start(self) -> None:
        """Begin to count."""
        self._running = True
        self._count()

    def stop(self) -> Deferred[None]:
        """Count no more."""
        self._running = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return succeed(None)

    @property
    def oldest_seconds(self) -> float:
        """For how long the message that has waited longest has done so; 0 where none is known to wait."""
        if self.latest is None or self.latest.oldest_at is None:
            return 0.0
        return max(0.0, self._wall() - self.latest.oldest_at)

    def _count(self) -> None:
        self._timer = None
        self._survey().addCallback(self._counted).addErrback(self._failed).addCallback(
            self._again, self._clock.seconds()
        )

    def _counted(self, survey: Survey) -> None:
        self.latest = survey

    def _failed(self, failure: Failure) -> None:
        self.latest = None
        if self._running:
            self._journal.record("queue.survey_failed", reason=str(failure.value))

    def _again(self, _: None, begun: float) -> None:
        if self._running:
            wait = max(INTERVAL, (self._clock.seconds() - begun) * SHARE)
            self._timer = self._clock.callLater(wait, self._count)


class BacklogAdmission:
    """
    Refuses while more messages wait than `most`, or one waits for longer than `longest` seconds.

    As of the last count: what is accepted until the next one comes on top.
    """

    def __init__(self, backlog: Backlog, most: int, longest: float | None) -> None:
        self._backlog = backlog
        self._most = most
        self._longest = longest

    def __call__(self) -> Refusal | None:
        """Return `queue_full`, or None."""
        survey = self._backlog.latest
        if survey is None:
            return None
        if survey.depth >= self._most:
            return _full(f"{survey.depth} messages wait for delivery, as many as the gateway is to hold")
        if self._longest is not None and self._backlog.oldest_seconds > self._longest:
            return _full("mail waits for too long already, since the internal server doesn't take it")
        return None


def _full(detail: str) -> Refusal:
    return Refusal(RefusalCode.QUEUE_FULL, detail, retry_after=_RETRY_AFTER)

"""Which upstream a message goes to: the most preferred one that works."""

from collections.abc import Sequence
from dataclasses import dataclass

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import UpstreamError, describe
from mailgate.delivery.esmtp import SmtpConnection
from mailgate.delivery.health import Health
from mailgate.delivery.pool import Pool, PoolClosedError
from mailgate.model.journal import Journal
from mailgate.queue.interface import Claim


class UnreachableError(Exception):
    """No upstream can be had for now; the text says why. It is no fault of the message."""


@dataclass(frozen=True, slots=True, eq=False)
class Upstream:
    """One internal server: how it is named in the journal, its connections, and whether it works."""

    name: str
    pool: Pool[SmtpConnection]
    health: Health


class Route:
    """The upstreams in order of preference."""

    def __init__(self, upstreams: Sequence[Upstream], clock: IReactorTime, journal: Journal) -> None:
        self._upstreams = tuple(upstreams)
        self._clock = clock
        self._journal = journal
        self._closing = False
        self.trouble = ""
        """The last thing that was wrong with an upstream, while it may still be."""

    @property
    def open(self) -> bool:
        """Whether some upstream is known to work, or not known to be in trouble."""
        return any(upstream.health.open for upstream in self._upstreams)

    @property
    def states(self) -> dict[str, bool]:
        """Of each upstream by its name, whether any number of messages may try it."""
        return {upstream.name: upstream.health.open for upstream in self._upstreams}

    @property
    def reopens_at(self) -> float:
        """When a message can be tried again, in seconds since the epoch; the past where that is now."""
        return min(upstream.health.admits_at for upstream in self._upstreams)

    def deliver(self, claim: Claim) -> Deferred[Attempt]:
        """
        Carry a message to the first upstream that can be had.

        Fails with UnreachableError; then no server was asked anything about the message.
        """
        upstream = None if self._closing else self._choose()
        if upstream is None:
            return fail(UnreachableError(self.trouble or "the gateway is stopping"))
        return upstream.pool.acquire().addCallbacks(
            self._send, self._not_connected, (upstream, claim), {}, (upstream, claim), {}
        )

    def close(self) -> Deferred[None]:
        """Take no more messages, finish those under way; fires when every connection is closed."""
        self._closing = True
        closed = gatherResults([upstream.pool.close() for upstream in self._upstreams])
        return closed.addCallback(lambda _: None)

    def abort(self) -> None:
        """End every connection at once."""
        self._closing = True
        for upstream in self._upstreams:
            upstream.pool.abort()

    def _choose(self) -> Upstream | None:
        now = self._clock.seconds()
        for upstream in self._upstreams:
            if upstream.health.admits_at <= now:
                upstream.health.admit()
                return upstream
        return None

    def _send(self, connection: SmtpConnection, upstream: Upstream, claim: Claim) -> Deferred[Attempt]:
        return connection.send(claim).addCallback(self._sent, connection, upstream, claim)

    def _sent(
        self, attempt: Attempt, connection: SmtpConnection, upstream: Upstream, claim: Claim
    ) -> Attempt | Deferred[Attempt]:
        if attempt.trouble:
            self._failed(upstream, attempt.trouble)
        elif not attempt.stale and upstream.health.succeeded():
            self.trouble = ""
            self._journal.record("upstream.up", upstream=upstream.name)
        upstream.pool.release(connection)
        if not attempt.stale:
            return attempt
        # Bounded: each time a connection that had been used before is gone, and a fresh one is never stale.
        upstream.health.withdraw()
        return self.deliver(claim)

    def _not_connected(self, failure: Failure, upstream: Upstream, claim: Claim) -> Deferred[Attempt]:
        if not isinstance(failure.value, PoolClosedError):
            self._failed(upstream, describe(failure))
        return self.deliver(claim)

    def _failed(self, upstream: Upstream, reason: str) -> None:
        if self._closing or not upstream.health.failed():
            return
        self.trouble = f"{upstream.name}: {reason}"
        self._journal.record("upstream.down", upstream=upstream.name, reason=reason)
        upstream.pool.turn_away(Failure(UpstreamError(reason)))

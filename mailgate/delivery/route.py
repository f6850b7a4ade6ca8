"""Which upstream a message goes to: the most preferred one that works."""

from collections.abc import Sequence
from dataclasses import replace

from twisted.internet.defer import Deferred, fail, gatherResults
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import describe
from mailgate.delivery.esmtp import SmtpConnection
from mailgate.delivery.pool import PoolClosedError
from mailgate.delivery.upstream import Upstream
from mailgate.queue.interface import Claim

WATCH = 5.0
"""Seconds between two looks for upstreams that say nothing any more."""


class UnreachableError(Exception):
    """No upstream can be had for now; the text says why. It is no fault of the message."""


class Route:
    """The upstreams in order of preference."""

    def __init__(self, upstreams: Sequence[Upstream], clock: IReactorTime) -> None:
        self._upstreams = tuple(upstreams)
        self._clock = clock
        self._closing = False
        self._watching = LoopingCall(self._watch)
        self._watching.clock = clock

    @property
    def open(self) -> bool:
        """Whether some upstream is known to work, or not known to be in trouble."""
        return any(upstream.open for upstream in self._upstreams)

    @property
    def upstreams(self) -> Sequence[Upstream]:
        """The upstreams, in order of preference."""
        return self._upstreams

    @property
    def trouble(self) -> str:
        """What was last wrong with an upstream that is still left alone; empty where none is."""
        return next((upstream.trouble for upstream in self._upstreams if upstream.trouble), "")

    @property
    def reopens_at(self) -> float:
        """When a message can be tried again, by the clock; the past where that is now."""
        return min(upstream.admits_at for upstream in self._upstreams)

    def start(self) -> None:
        """Begin to watch the upstreams."""
        self._watching.start(WATCH, now=False)

    def deliver(self, claim: Claim) -> Deferred[Attempt]:
        """
        Carry a message to the first upstream that can be had.

        Fails with UnreachableError; then no server was asked anything about the message.
        """
        upstream = None if self._closing else self._choose()
        if upstream is None:
            return fail(UnreachableError(self.trouble or "the gateway is stopping"))
        return upstream.acquire(claim.client).addCallbacks(
            self._send, self._not_connected, (upstream, claim), {}, (upstream, claim), {}
        )

    def close(self) -> Deferred[None]:
        """Take no more messages, finish those under way; fires when every connection is closed."""
        self._closing = True
        if self._watching.running:
            self._watching.stop()
        closed = gatherResults([upstream.close() for upstream in self._upstreams])
        return closed.addCallback(lambda _: None)

    def abort(self) -> None:
        """End every connection at once."""
        self._closing = True
        for upstream in self._upstreams:
            upstream.abort()

    def _choose(self) -> Upstream | None:
        now = self._clock.seconds()
        return next((upstream for upstream in self._upstreams if upstream.admits_at <= now), None)

    def _send(self, connection: SmtpConnection, upstream: Upstream, claim: Claim) -> Deferred[Attempt]:
        return connection.send(claim).addCallback(self._sent, connection, upstream, claim)

    def _sent(
        self, attempt: Attempt, connection: SmtpConnection, upstream: Upstream, claim: Claim
    ) -> Attempt | Deferred[Attempt]:
        upstream.release(connection, attempt)
        # Bounded: each time a connection that had been used before is gone, and a fresh one is never stale.
        return self.deliver(claim) if attempt.stale else replace(attempt, upstream=upstream.name)

    def _not_connected(self, failure: Failure, upstream: Upstream, claim: Claim) -> Deferred[Attempt]:
        if not isinstance(failure.value, PoolClosedError):
            upstream.not_connected(describe(failure))
        return self.deliver(claim)

    def _watch(self) -> None:
        for upstream in self._upstreams:
            upstream.watch()

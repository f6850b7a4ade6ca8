"""One internal server: its connections, how many it's good for, and whether it works."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from mailgate.delivery.allowance import Allowance
from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import UpstreamError
from mailgate.delivery.esmtp import SmtpConnection
from mailgate.delivery.health import Health
from mailgate.delivery.pool import Pool
from mailgate.model.journal import Journal
from mailgate.model.outcome import Reply

TROUBLES = 3
"""Connections in a row that were lost or could not be had, after which that is no mere chance any more."""

LATELY = 5.0
"""Seconds after a success, or the first of several failures, within which what can't be had may be chance."""

SILENCE = 30.0
"""Seconds without a reply on any connection, with messages waiting, before it is left alone."""

_CLOSING = 421
_OVERLOAD = ("4.3.1", "4.3.2", "4.4.5")
"""System full, not accepting messages, congestion (RFC 3463 sections 3.4 and 3.5): no message's fault."""


class Upstream:
    """
    An internal server under the name that the journal gives it.

    Attributes:
        name: host and port.
        trouble: what was wrong with it when it was last left alone; empty while nothing is.

    """

    def __init__(
        self, name: str, pool: Pool[SmtpConnection], health: Health, clock: IReactorTime, journal: Journal
    ) -> None:
        self.name = name
        self.trouble = ""
        self._pool = pool
        self._health = health
        self._allowance = Allowance(pool.most)
        self._clock = clock
        self._journal = journal
        self._troubles = 0
        self._worked_at = -LATELY
        self._refused_since = 0.0
        self._silent = False
        self._probe: SmtpConnection | None = None
        self._closing = False

    @property
    def open(self) -> bool:
        """Whether any number of messages may try it."""
        return self._health.open

    @property
    def admits_at(self) -> float:
        """When a message may try it, by the clock: the past for now, infinite while one does."""
        return self._health.admits_at

    @property
    def connections(self) -> dict[str, int]:
        """How many connections are open, how many are in use, and how many it is good for at the moment."""
        return {"open": len(self._pool), "busy": self._pool.busy, "allowed": self._allowance.connections}

    def acquire(self, client: str) -> Deferred[SmtpConnection]:
        """Lend a connection for a message of the client; fails as Pool says."""
        probing = not self._health.open
        self._health.admit()
        lent = self._pool.acquire(client)
        return lent.addCallback(self._remember) if probing else lent

    def release(self, connection: SmtpConnection, attempt: Attempt) -> None:
        """Take a connection back, and learn from what became of the message."""
        now = self._clock.seconds()
        if attempt.stale:
            self._health.withdraw()
        elif attempt.trouble:
            self._in_trouble(attempt, connection, now)
        else:
            self._works(attempt, now)
        self._pool.release(connection)
        self._adjust()

    def not_connected(self, reason: str) -> None:
        """
        Learn that a connection could not be made.

        Where others work, or may yet, the first few in a row may be chance; then there was one too many. What is
        being opened is hope for a short time only: the next message's may be as dead as the last one's.
        """
        now = self._clock.seconds()
        if self._pool.refusals <= 1:
            self._refused_since = now
        others = len(self._pool)
        if now - self._refused_since < LATELY:
            others += self._pool.young
        misses = self._allowance.missed(self._pool.refusals)
        if not self._health.open:
            self._leave_alone(reason)
        elif others and misses >= TROUBLES:
            self._allowance.refused(others - self._hung, now)
        elif not others and (now - self._worked_at >= LATELY or self._pool.refusals >= TROUBLES):
            self._leave_alone(reason)
        self._adjust()

    def watch(self) -> None:
        """Leave the upstream alone if it has said nothing on any connection for long, and messages wait for it."""
        if self._health.open and self._pool.waiting and 0 < self._pool.busy == self._hung:
            self._silent = True
            self._leave_alone(f"no reply on any connection for {SILENCE:.0f} s")
        self._adjust()

    def close(self) -> Deferred[None]:
        """Lend nothing more; fires when every connection is gone."""
        self._closing = True
        return self._pool.close()

    def abort(self) -> None:
        """End every connection at once."""
        self._closing = True
        self._pool.abort()

    def _works(self, attempt: Attempt, now: float) -> None:
        self._troubles = 0
        self._worked_at = now
        if self._silent:
            self._silent = False
            self._health.hint()
        if self._health.succeeded():
            self.trouble = ""
            self._allowance.restart(now)
            self._journal.record("upstream.up", upstream=self.name)
        elif _tells_of_load(attempt):
            self._allowance.overloaded(now)
        else:
            self._allowance.succeeded(self._pool.busy - self._hung, now)

    def _remember(self, connection: SmtpConnection) -> SmtpConnection:
        self._probe = connection
        return connection

    def _in_trouble(self, attempt: Attempt, connection: SmtpConnection, now: float) -> None:
        if not self._health.open and connection is not self._probe:
            # Old business of a closed upstream proves nothing: the probe decides.
            return
        if self._health.open and _hangs(connection, now):
            # It was of no use before, and others may do well meanwhile.
            return
        self._troubles += 1
        if self._troubles >= TROUBLES or not self._health.open:
            self._leave_alone(attempt.trouble)
        elif _tells_of_load(attempt):
            self._allowance.overloaded(now)

    @property
    def _hung(self) -> int:
        """How many connections in use have said nothing for long."""
        now = self._clock.seconds()
        return sum(_hangs(connection, now) for connection in self._pool.lent)

    def _adjust(self) -> None:
        # What hangs is of no use, and may do so for ten minutes: it must not keep others from the upstream.
        self._pool.allow(self._allowance.connections + self._hung)

    def _leave_alone(self, reason: str) -> None:
        if self._closing or not self._health.failed():
            return
        self._troubles = 0
        self.trouble = f"{self.name}: {reason}"
        self._journal.record("upstream.down", upstream=self.name, reason=reason)
        self._pool.turn_away(Failure(UpstreamError(reason)))


def _hangs(connection: SmtpConnection, now: float) -> bool:
    return now - connection.heard_at >= SILENCE


def _tells_of_load(attempt: Attempt) -> bool:
    replies = (outcome.reply for outcome in attempt.outcomes)
    return any(reply is not None and _is_of_load(reply) for reply in replies)


def _is_of_load(reply: Reply) -> bool:
    return reply.code == _CLOSING or reply.enhanced in _OVERLOAD

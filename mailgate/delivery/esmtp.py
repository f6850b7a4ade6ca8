"""A connection to an upstream that carries other people's mail safely."""

from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import UpstreamError, describe
from mailgate.delivery.handover import Handover
from mailgate.delivery.session_start import StartingSession, Timeouts
from mailgate.delivery.settings import UpstreamSettings
from mailgate.delivery.tls import UpstreamTls
from mailgate.delivery.transaction import Stage
from mailgate.queue.interface import Claim
from mailgate.wire.smtp.replies import ReplyError, ServerReply

_CLOSING = 421


@dataclass(slots=True)
class Habits:
    """
    What was learned of one upstream, for all its connections.

    Attributes:
        bdat_failed: whether it offers CHUNKING, but did not know BDAT or gave an answer to something else.

    """

    bdat_failed: bool = False


class SmtpConnection(StartingSession):
    """
    One connection to an upstream, which carries any number of messages, one after the other.

    `ready` fires once mail may be sent, or fails with UpstreamError. `lost` fires when the connection is gone.
    `heard_at` is when the server last said something, or was given a message and time to take it, by the clock.
    The connection ends itself on anything that is not SMTP, on a timeout and on a 421.
    """

    def __init__(
        self,
        upstream: UpstreamSettings,
        hostname: str,
        tls: UpstreamTls | None,
        clock: IReactorTime,
        timeouts: Timeouts,
        habits: Habits,
    ) -> None:
        super().__init__(upstream, hostname, tls, clock, timeouts)
        self.lost: Deferred[None] = Deferred()
        self.carried = 0
        self.heard_at = clock.seconds()
        self._habits = habits
        self._transactions = 0
        self._begun = 0
        self._handover: Handover | None = None
        self._result: Deferred[Attempt] | None = None

    @property
    def idle(self) -> bool:
        """Whether `send` may be called."""
        return not (self._starting or self._ending or self._handover or self._reader.pending)

    def send(self, claim: Claim) -> Deferred[Attempt]:
        """
        Carry one message; only while `idle`. The Deferred never fails.

        It fires after the whole transaction, or the last of several, when the connection is idle again or of no
        more use.
        """
        self.heard_at = self._clock.seconds()
        result = self._result = Deferred()
        offered = self._extensions
        if self._habits.bdat_failed:
            offered = replace(offered, chunking=False)
        most = offered.most_transactions
        allowed = None if most is None else most - self._transactions
        handover = self._handover = Handover(claim, offered, self._upstream.host, allowed)
        self._write(handover, handover.start())
        self._watch()
        return result

    def close(self) -> None:
        """End an idle connection with QUIT; one in a transaction is aborted."""
        if self._ending or not self.connected:
            return
        if self.idle:
            self._quit()
        else:
            self.abort()

    def abort(self) -> None:
        """End the connection at once, whatever goes on in it."""
        self._give_up("the gateway ended the connection")

    # What twisted.protocols and twisted.mail call.

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell everyone who waits."""
        self.connected = 0
        super().connectionLost(reason)
        self._conclude(describe(reason), stale=True)
        self.lost.callback(None)

    def timeoutConnection(self) -> None:
        """Give up on a server that does not answer."""
        waited_for = self._handover.stage.value if self._handover else "the session's start"
        self._give_up(f"no answer to {waited_for} in time")

    def dataReceived(self, data: bytes) -> None:
        """Read replies with bounds, instead of the library's lines without."""
        self.heard_at = self._clock.seconds()
        self._reader.feed(data)
        try:
            while (reply := self._reader.next_reply()) is not None:
                self._replied(reply)
        except ReplyError as problem:
            self._give_up(f"the server broke the protocol ({problem})")
        self._watch()

    # Our own.

    def _replied(self, reply: ServerReply) -> None:
        handover = self._handover
        if self._ending:
            self._hang_up()
        elif handover is not None:
            if reply.code == _CLOSING and not handover.answered and self.carried:
                self._give_up("the server ended the session", stale=True)
            else:
                self._write(handover, handover.answer(reply))
        elif self._starting:
            self._start_replied(reply)
        else:
            # Nothing was asked: a server that goes away (421), or one whose replies no longer match.
            self._quit()

    def _write(self, handover: Handover, octets: bytes) -> None:
        if octets:
            if self._reader.pending:
                # They would be taken for the answer to what goes out now.
                handover.withhold()
                raise ReplyError("replies that nobody asked for")
            if handover.transactions > self._begun:
                self._begun = handover.transactions
                allowance = handover.size / self._timeouts.octets_per_second
                self._deadline = self._clock.seconds() + self._timeouts.whole_transaction + allowance
            self.transport.write(octets)
            if handover.stage is Stage.CONTENT:
                self.heard_at = self._clock.seconds() + handover.size / self._timeouts.octets_per_second
        elif handover.stage is Stage.DONE:
            self._finish(handover)

    def _watch(self) -> None:
        """Give the server its time for the next reply, if a transaction waits for one."""
        handover, times = self._handover, self._timeouts
        if handover is None:
            return
        match handover.stage:
            case Stage.CONTENT:
                self._wait(times.content + handover.size / times.octets_per_second)
            case Stage.DATA:
                self._wait(times.data)
            case _:
                self._wait(times.command)

    def _finish(self, handover: Handover) -> None:
        attempt = handover.attempt
        result, self._result, self._handover = self._result, None, None
        self.carried += 1
        self._transactions += handover.transactions
        self._begun = 0
        most = self._extensions.most_transactions
        if handover.bdat_failed:
            # It may be reading the message as commands: nothing it says from here on can be trusted.
            self._habits.bdat_failed = True
            self._give_up(attempt.trouble)
        elif attempt.trouble or self._reader.pending or (most is not None and self._transactions >= most):
            # Replies that nobody asked for would be taken for those of the next message.
            self._quit()
        elif not self._ending:
            self.setTimeout(None)
        assert result is not None
        result.callback(attempt)

    def _give_up(self, reason: str, *, stale: bool = False) -> None:
        self._ending = True
        if self.connected:
            self.setTimeout(None)
            self.transport.abortConnection()
        self._conclude(reason, stale=stale)

    def _conclude(self, reason: str, *, stale: bool = False) -> None:
        """Fire what waits, each at most once: the end comes by a timeout, an error or the connection's loss."""
        self._ending = True
        if self._starting:
            self._starting = False
            self.ready.errback(UpstreamError(reason))
        handover, result = self._handover, self._result
        if handover is not None and result is not None:
            self._handover = self._result = None
            if stale and self.carried and not handover.answered:
                result.callback(Attempt(stale=True))
            else:
                handover.interrupt(reason)
                result.callback(handover.attempt)

    def _hang_up(self) -> None:
        self.setTimeout(self._timeouts.closing)
        self.transport.loseConnection()

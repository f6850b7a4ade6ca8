"""
twisted.mail's ESMTP client, made safe to carry other people's mail.

The greeting, EHLO, STARTTLS and AUTH run through the library's state machine. Replaced are the parts that are
unsound there: the reading of replies, the mail transaction, what happens after an error, and time.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport, ITLSTransport
from twisted.internet.protocol import connectionDone
from twisted.mail import smtp
from twisted.mail._cred import CramMD5ClientAuthenticator, LOGINAuthenticator, PLAINAuthenticator
from twisted.python.failure import Failure

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.errors import UpstreamError, describe
from mailgate.delivery.handover import Handover
from mailgate.delivery.settings import UpstreamSettings
from mailgate.delivery.tls import UpstreamTls
from mailgate.delivery.transaction import Stage
from mailgate.queue.interface import Claim
from mailgate.wire.smtp.ehlo import Extensions, parse_extensions
from mailgate.wire.smtp.replies import ReplyError, ReplyReader, ServerReply

_CLOSING = 421

_MAX_CHALLENGES = 3
"""More than any mechanism in use needs; a server may not go on asking for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """
    How long to wait for a reply, in seconds.

    In a transaction as RFC 5321 section 4.5.3.2 wants it. Less before it: nothing is at stake there, and another
    server may be there to take the message.

    Attributes:
        setup: for the TCP connection, the greeting, and each reply to EHLO, STARTTLS and AUTH.
        whole_setup: for all of them together.
        command: for MAIL, RCPT and RSET.
        data: for the go-ahead after DATA.
        content: for the reply to the message; the time to send it comes on top.
        octets_per_second: the slowest pace at which a message may leave.
        whole_transaction: for a transaction, to which the time to send its message comes on top.
        closing: for QUIT, and again for the connection to close.

    """

    setup: float = 30.0
    whole_setup: float = 120.0
    command: float = 300.0
    data: float = 120.0
    content: float = 600.0
    octets_per_second: float = 32768.0
    whole_transaction: float = 1800.0
    closing: float = 5.0


@dataclass(slots=True)
class Habits:
    """
    What was learned of one upstream, for all its connections.

    Attributes:
        refuses_bdat: whether it offers CHUNKING but did not know BDAT.

    """

    refuses_bdat: bool = False


class SmtpConnection(smtp.ESMTPClient):
    """
    One connection to an upstream, which carries any number of messages, one after the other.

    `ready` fires once mail may be sent, or fails with UpstreamError. `lost` fires when the connection is gone.
    `heard_at` is when the server last said something, or was given a message, by the clock.
    The connection ends itself on anything that is not SMTP, on a timeout and on a 421.
    """

    debug = False
    transport: ITLSTransport

    def __init__(
        self,
        upstream: UpstreamSettings,
        hostname: str,
        tls: UpstreamTls | None,
        clock: IReactorTime,
        timeouts: Timeouts,
        habits: Habits,
    ) -> None:
        login = upstream.credentials
        super().__init__(login.password.encode() if login else None, tls, hostname)
        self.requireTransportSecurity = upstream.tls != "none"
        self.requireAuthentication = login is not None
        self.heloFallback = upstream.tls == "none" and login is None
        if login:
            # Over TLS PLAIN is as good as any and the one every server has (RFC 4954 section 4).
            for mechanism in (PLAINAuthenticator, LOGINAuthenticator, CramMD5ClientAuthenticator):
                self.registerAuthenticator(mechanism(login.username.encode()))
        self.ready: Deferred[None] = Deferred(lambda _: self.abort())
        self.lost: Deferred[None] = Deferred()
        self.carried = 0
        self.heard_at = clock.seconds()
        self._upstream = upstream
        self._tls = tls
        self._clock = clock
        self._timeouts = timeouts
        self._habits = habits
        self._transactions = 0
        self._begun = 0
        self._deadline = 0.0
        self._reader = ReplyReader()
        self._extensions = Extensions()
        self._answer: ServerReply | None = None
        self._challenges = 0
        self._login_begun = False
        self._starting = True
        self._ending = False
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
        if self._habits.refuses_bdat:
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

    def callLater(self, period: float, func: Callable[[], None]) -> IDelayedCall:
        """Keep time by the given clock instead of the global reactor."""
        return self._clock.callLater(period, func)

    def connectionMade(self) -> None:
        """Wait for the greeting."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
        self._deadline = self._clock.seconds() + self._timeouts.whole_setup
        super().connectionMade()
        self.setTimeout(self._timeouts.setup)

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

    def sendError(self, exc: Exception) -> None:
        """End the session's start, which the library found to have failed."""
        self._refuse_session(_FAULTS.get(type(exc), "the server refused the session"))

    def smtpConnectionFailed(self, _code: int, _resp: bytes) -> None:
        """Treat any greeting but 220 as a reason to come back later, never as a fate of a message."""
        self._refuse_session("the server does not take connections")

    def smtpState_helo(self, code: int, resp: bytes) -> None:
        """Say HELO where EHLO is unknown, once, and not because of a temporary trouble."""
        if code < 500:  # noqa: PLR2004 - RFC 5321 section 3.2
            self._refuse_session("the server does not take EHLO")
            return
        super().smtpState_helo(code, resp)
        self._failresponse = self.smtpConnectionFailed

    def smtpState_from(self, _code: int, _resp: bytes) -> None:
        """Be ready: the library asks for its first message here."""
        if self._reader.pending:
            self._give_up("the server sent replies that nobody asked for")
            return
        self.setTimeout(None)
        self._starting = False
        self.ready.callback(None)

    def esmtpState_serverConfig(self, code: int, resp: bytes) -> None:
        """Read what the server offers, in any case of letters."""
        self._extensions = offered = parse_extensions(resp.split(b"\n"))
        items: dict[bytes, bytes | None] = {}
        if offered.starttls:
            items[b"STARTTLS"] = None
        if offered.auth:
            items[b"AUTH"] = " ".join(offered.auth).encode()
        self.tryTLS(code, resp, items)

    def esmtpState_starttls(self, code: int, resp: bytes) -> None:
        """Begin TLS, unless replies were slipped in ahead of it (RFC 3207 section 6, CVE-2011-0411)."""
        if self._reader.pending:
            self._give_up("the server sent more than its reply to STARTTLS before TLS began")
            return
        assert self._tls is not None
        self.transport.startTLS(self._tls)
        self._tlsMode = True
        self.esmtpState_ehlo(code, resp)

    def authenticate(self, code: int, resp: bytes, items: dict[bytes, bytes | None]) -> None:
        """Log in, but never in clear text."""
        if self.secret and not self._tlsMode:
            self.esmtpTLSRequired()
            return
        self._login_begun = bool(self.secret)
        super().authenticate(code, resp, items)

    def _esmtpState_plainAuth(self, code: int, resp: bytes) -> None:
        # The library would try the same password a second time, which counts towards a lock-out.
        self.esmtpAUTHDeclined(code, resp)

    def smtpState_maybeAuthenticated(self, code: int, resp: bytes) -> None:
        """Go on with the login, up to a bound."""
        self._challenges += 1
        if self._challenges > _MAX_CHALLENGES:
            self._refuse_session("the server's login does not end")
            return
        super().smtpState_maybeAuthenticated(code, resp)

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
            self._answer = reply
            self._wait(self._timeouts.setup)
            proceed = self._okresponse if reply.code in self._expected else self._failresponse
            proceed(reply.code, b"\n".join(reply.lines))
        else:
            # Nothing was asked: a server that goes away (421), or one whose replies no longer match.
            self._quit()

    def _write(self, handover: Handover, octets: bytes) -> None:
        if octets:
            if self._reader.pending:
                # They would be taken for the answer to what goes out now.
                raise ReplyError("replies that nobody asked for")
            if handover.transactions > self._begun:
                self._begun = handover.transactions
                allowance = handover.size / self._timeouts.octets_per_second
                self._deadline = self._clock.seconds() + self._timeouts.whole_transaction + allowance
            self.transport.write(octets)
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
        if handover.bdat_refused:
            # It may be reading the message as commands: nothing it says from here on can be trusted.
            self._habits.refuses_bdat = True
            self._give_up(attempt.trouble)
        elif attempt.trouble or self._reader.pending or (most is not None and self._transactions >= most):
            # Replies that nobody asked for would be taken for those of the next message.
            self._quit()
        elif not self._ending:
            self.setTimeout(None)
        assert result is not None
        result.callback(attempt)

    def _wait(self, seconds: float) -> None:
        self.setTimeout(max(0.0, min(seconds, self._deadline - self._clock.seconds())))

    def _refuse_session(self, fault: str) -> None:
        """End a session that can't start, with the server's reply as the reason."""
        reason = fault
        if self._answer is not None and not self._answer.positive:
            shown = self._answer.readable(self._upstream.host)
            # A server may echo the login in its refusal.
            text = "" if self._login_begun else shown.text
            reason = f"{fault}: " + " ".join(filter(None, (str(shown.code), shown.enhanced, text)))
        self._quit()
        self._conclude(reason)

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

    def _quit(self) -> None:
        self._ending = True
        if self.connected:
            self.sendLine(b"QUIT")
            self.setTimeout(self._timeouts.closing)

    def _hang_up(self) -> None:
        self.setTimeout(self._timeouts.closing)
        self.transport.loseConnection()


_FAULTS: dict[type[Exception], str] = {
    smtp.AUTHDeclinedError: "the server refused the login",
    smtp.AUTHRequiredError: "the server offers no login that the gateway knows",
    smtp.AuthenticationError: "the login failed",
    smtp.EHLORequiredError: "the server does not take EHLO",
    smtp.TLSRequiredError: "the server does not offer STARTTLS",
    smtp.TLSError: "the server refused STARTTLS",
}

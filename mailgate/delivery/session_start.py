"""
The start of a session with an upstream: greeting, EHLO, STARTTLS and AUTH, up to where mail may be sent.

They run through the state machine of twisted.mail's ESMTP client. Replaced are the parts that are unsound there:
the reading of replies, what happens after an error, and time.
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime, ITCPTransport, ITLSTransport
from twisted.mail import smtp
from twisted.mail._cred import CramMD5ClientAuthenticator, LOGINAuthenticator, PLAINAuthenticator

from mailgate.delivery.settings import UpstreamSettings
from mailgate.delivery.tls import UpstreamTls
from mailgate.wire.smtp.ehlo import Extensions, parse_extensions
from mailgate.wire.smtp.replies import ReplyReader, ServerReply

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


class StartingSession(smtp.ESMTPClient):
    """
    A session that is being brought to where mail may be sent.

    `ready` fires then, or fails with UpstreamError. What comes before and after is the subclass's.
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
        self._upstream = upstream
        self._tls = tls
        self._clock = clock
        self._timeouts = timeouts
        self._deadline = 0.0
        self._reader = ReplyReader()
        self._extensions = Extensions()
        self._answer: ServerReply | None = None
        self._challenges = 0
        self._login_begun = False
        self._starting = True
        self._ending = False

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

    @abstractmethod
    def abort(self) -> None:
        """End the connection at once, whatever goes on in it."""

    @abstractmethod
    def _give_up(self, reason: str) -> None:
        """End the connection at once."""

    @abstractmethod
    def _conclude(self, reason: str) -> None:
        """Tell everyone who waits that the connection is of no more use."""

    def _start_replied(self, reply: ServerReply) -> None:
        """Let the state machine take the next reply."""
        self._answer = reply
        self._wait(self._timeouts.setup)
        proceed = self._okresponse if reply.code in self._expected else self._failresponse
        proceed(reply.code, b"\n".join(reply.lines))

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

    def _quit(self) -> None:
        self._ending = True
        if self.connected:
            self.sendLine(b"QUIT")
            self.setTimeout(self._timeouts.closing)


_FAULTS: dict[type[Exception], str] = {
    smtp.AUTHDeclinedError: "the server refused the login",
    smtp.AUTHRequiredError: "the server offers no login that the gateway knows",
    smtp.AuthenticationError: "the login failed",
    smtp.EHLORequiredError: "the server does not take EHLO",
    smtp.TLSRequiredError: "the server does not offer STARTTLS",
    smtp.TLSError: "the server refused STARTTLS",
}

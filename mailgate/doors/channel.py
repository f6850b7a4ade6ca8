"""One connection of the HTTPS door: request after request, each within its time and size."""

from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web import http
from twisted.web.iweb import INonQueuedRequestFactory
from zope.interface import directlyProvides, implementer

from mailgate.doors.connections import DRAIN_OCTETS, DRAIN_SECONDS, GOODBYE_SECONDS
from mailgate.doors.desk import Desk
from mailgate.doors.request import Dispatch, GatewayRequest
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.trust.factory import MutualTLSProtocol

if TYPE_CHECKING:
    from mailgate.model.identity import PeerCertificate

IDLE_SECONDS = 75.0
"""How long a connection may stay open without a request."""

_OCTETS_PER_SECOND = 64 * 1024
_MAX_LENGTH_DIGITS = 15

Told = Callable[["GatewayChannel"], None]

directlyProvides(GatewayRequest, INonQueuedRequestFactory)


class Phase(Enum):
    """Where a connection stands."""

    HANDSHAKE = auto()
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWERING = auto()
    CLOSING = auto()


@implementer(IHandshakeListener)
class GatewayChannel(http.HTTPChannel):
    """
    Reads requests one after the other, and answers in their order.

    Attributes:
        deadline: when `expire` should be called; the clock's seconds.
        peer: who proved to be there, once the handshake is complete.

    """

    transport: MutualTLSProtocol
    requestFactory = GatewayRequest  # type: ignore[assignment]  # it takes our channel, not any
    timeOut = None
    maxHeaders = 100

    def __init__(self, desk: Desk, dispatch: Dispatch, opened: Told, closed: Told) -> None:
        super().__init__()
        self.desk = desk
        self.dispatch = dispatch
        self.peer: PeerCertificate | None = None
        self.address = ""
        self.deadline = inf
        self._opened = opened
        self._closed = closed
        self._phase = Phase.HANDSHAKE
        self._cut = False
        self._drainable = DRAIN_OCTETS

    def connectionMade(self) -> None:
        """Be watched from now on."""
        super().connectionMade()
        self._opened(self)

    def handshakeCompleted(self) -> None:
        """Learn who is there; from now on requests may come."""
        self.peer = self.transport.peer
        self.address = self.transport.address
        assert self.peer is not None
        self.desk.welcome(self.peer)
        self._enter(Phase.IDLE, IDLE_SECONDS)
        if self.desk.draining:
            self.drain()

    def dataReceived(self, data: bytes) -> None:
        """Take octets of requests, or throw them away once the connection is closing."""
        if self._phase is Phase.CLOSING:
            self._drainable -= len(data)
            if self._drainable < 0:
                # What isn't read holds a client back from sending more, and leaves it time to read the answer.
                self.transport.pauseProducing()
            return
        if self._phase is Phase.IDLE:
            self._begin_head()
        super().dataReceived(data)

    def lineReceived(self, line: bytes) -> None:
        """Take a line of a head."""
        if self._phase is Phase.IDLE:
            self._begin_head()
        if line[:1] in {b" ", b"\t"}:
            # RFC 9112 section 5.2 lets a server refuse folded lines; proxies disagree on what they mean.
            self._respondToBadRequestAndDisconnect()
            return
        super().lineReceived(line)

    def lineLengthExceeded(self, line: bytes) -> None:
        """Refuse a line of a head that is too long."""
        del line
        self.refuse(_HEADERS_TOO_LARGE)

    def allHeadersReceived(self) -> None:
        """Judge the request by its head, before any of its body is read."""
        request = self.requests[-1]
        request.method, request.uri, request.clientproto = self._command, self._path, self._version
        self.persistent = self.checkPersistence(request, self._version)
        request.gotLength(self.length)
        refusal = request.judge(self.length)
        if refusal is not None and (self.length != 0 or refusal.code is RefusalCode.BAD_REQUEST):
            self.refuse(refusal)
            return
        if self.length != 0:
            self._enter(Phase.BODY, self.desk.limits.request_head + (self.length or 0) / _OCTETS_PER_SECOND)
            if request.clientproto == b"HTTP/1.1" and (request.header(b"Expect") or "").lower() == "100-continue":
                self._send100Continue()

    def rawDataReceived(self, data: bytes) -> None:
        """Take a part of a body, or of what follows a request that is being answered."""
        if self._phase is Phase.BODY and self.length is None:
            self.deadline += len(data) / _OCTETS_PER_SECOND
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Have the request answered."""
        if self._phase is not Phase.CLOSING:
            self._enter(Phase.ANSWERING, inf)
            super().allContentReceived()

    def pauseProducing(self) -> None:
        """
        Read no more while the peer doesn't read what was written.

        Twisted would go on reading where an answer that was written at once has filled the buffer.
        """
        super().pauseProducing()
        self.transport.pauseProducing()

    def requestDone(self, request: GatewayRequest) -> None:
        """Go on to the next request, or close."""
        if self.persistent:
            self._enter(Phase.IDLE, IDLE_SECONDS)
        else:
            self._enter(Phase.CLOSING, DRAIN_SECONDS)
        super().requestDone(request)

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request that is being read, read no more of it, and close."""
        if self._phase is Phase.CLOSING:
            return
        self._enter(Phase.CLOSING, DRAIN_SECONDS)
        self.persistent = False
        self.clearLineBuffer()
        if not self.requests:
            self.requests.append(self.requestFactory(self))
        self.requests[-1].refuse(refusal)

    def drain(self) -> None:
        """Close as soon as nothing is under way."""
        if self._phase in {Phase.HANDSHAKE, Phase.IDLE}:
            self._enter(Phase.CLOSING, GOODBYE_SECONDS)
            self.loseConnection()

    def recheck(self) -> None:
        """
        End, if the client may not be here any more: nothing further is taken from it.

        A request that is read is refused, one that is being answered has a second more.
        """
        verdict = None if self.peer is None else self.desk.identify(self.peer)
        if self.peer is None or not isinstance(verdict, Refusal) or self._phase is Phase.CLOSING:
            return
        self.desk.tell_cut(self.peer, self.address, verdict.detail)
        if self._phase in {Phase.HEAD, Phase.BODY}:
            self.refuse(verdict)
            self.deadline = self.desk.clock.seconds() + GOODBYE_SECONDS
        elif self._phase is Phase.ANSWERING:
            self.persistent = False
            self._cut = True
            self.deadline = self.desk.clock.seconds() + GOODBYE_SECONDS
        else:
            self.drain()

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.transport.abortConnection()

    def expire(self) -> None:
        """Do what the deadline was for."""
        if self._phase is Phase.IDLE:
            self.drain()
        elif self._phase is Phase.CLOSING:
            self.deadline = inf
            self.transport.abortConnection()
        elif self._cut:
            self.abort()
        else:
            self.refuse(_REQUEST_TIMEOUT)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget what was under way; handlers go on."""
        self._enter(Phase.CLOSING, inf)
        super().connectionLost(reason)
        self._closed(self)

    def _enter(self, phase: Phase, seconds: float) -> None:
        self._phase = phase
        self.deadline = self.desk.clock.seconds() + seconds

    def _begin_head(self) -> None:
        self._enter(Phase.HEAD, self.desk.limits.request_head)

    # Twisted has no public place for these three: what it does with malformed HTTP, how it reads the length, and
    # the end of a body, which a chunk that was refused may still be followed by.

    def _respondToBadRequestAndDisconnect(self) -> None:
        if self._receivedHeaderSize > self.totalHeadersSize or self._receivedHeaderCount > self.maxHeaders:
            self.refuse(_HEADERS_TOO_LARGE)
        else:
            self.refuse(_MALFORMED)

    def _maybeChooseTransferDecoder(self, header: bytes, data: bytes) -> bool:
        if header == b"Content-Length" and len(data) > _MAX_LENGTH_DIGITS:
            # int() raises for thousands of digits.
            return bool(self._failChooseTransferDecoder())
        return bool(super()._maybeChooseTransferDecoder(header, data))

    def _finishRequestBody(self, data: bytes) -> None:
        if self._phase is not Phase.CLOSING:
            super()._finishRequestBody(data)


_MALFORMED = Refusal(RefusalCode.BAD_REQUEST, "the request is not well-formed HTTP/1.1")
_HEADERS_TOO_LARGE = Refusal(
    RefusalCode.HEADERS_TOO_LARGE,
    f"a head has at most {GatewayChannel.maxHeaders} fields and {GatewayChannel.totalHeadersSize} octets",
)
_REQUEST_TIMEOUT = Refusal(RefusalCode.REQUEST_TIMEOUT, "the request did not arrive in time")

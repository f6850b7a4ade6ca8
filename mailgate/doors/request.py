"""One request of the HTTPS door: judged by its head, bounded in its body, answered once."""

import re
from collections.abc import Callable
from io import BytesIO
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web import http

from mailgate.doors.answers import Answer, octets, refused
from mailgate.doors.desk import Desk
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.ids import new_id
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.trust.factory import MutualTLSProtocol

Result = Answer | Refusal
Dispatch = Callable[["GatewayRequest"], Result | Deferred[Result]]

_HOST = re.compile(rb"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]+)(?::[0-9]*)?")
_ABSOLUTE = re.compile(rb"https?://[^/?#]+", re.IGNORECASE)

_NO_CERTIFICATE = Refusal(RefusalCode.CLIENT_UNKNOWN, "the connection has no client certificate")
_DEFECT = Refusal(
    RefusalCode.STORAGE_UNAVAILABLE, "the gateway failed at this request; it may be tried again", retry_after=30
)


class Channel(Protocol):
    """What a request knows of the connection it came by."""

    desk: Desk
    dispatch: Dispatch
    peer: PeerCertificate | None
    address: str
    persistent: int
    transport: MutualTLSProtocol

    def refuse(self, refusal: Refusal) -> None:
        """Answer the request that is being read, read no more of it, and close."""

    def write(self, data: bytes) -> None:
        """Write octets of the answer."""


class GatewayRequest(http.Request):
    """
    A request and its answer.

    Handlers get one and may read `body` and the fields of the head; what they return is written by it.
    A client that goes away cancels nothing: what has begun is finished, and its answer is dropped.
    """

    _failures = Logger()

    def __init__(self, channel: Channel) -> None:
        super().__init__(channel, parsePOSTFormSubmission=False)  # type: ignore[arg-type]
        self._connection = channel
        self.address = channel.address
        self.request_id = new_id(channel.desk.clock.seconds())
        self._desk = channel.desk
        self._peer = channel.peer
        self._identity: ClientIdentity | Refusal | None = None
        self._refusal: Refusal | None = None
        self._limit = 0
        self._received = 0
        self._client = ""

    @property
    def certificate(self) -> bytes:
        """The client's certificate, in DER."""
        return self._connection.transport.peer_octets()

    @property
    def body(self) -> bytes:
        """The body as it was received."""
        assert isinstance(self.content, BytesIO)
        return self.content.getvalue()

    def header(self, name: bytes) -> str | None:
        """Return a field's value, several of that name joined by commas (RFC 9110 section 5.3), or None."""
        values = self.requestHeaders.getRawHeaders(name)
        return None if values is None else b", ".join(values).decode("latin-1")

    def identify(self) -> ClientIdentity | Refusal:
        """Return the client that asks; judged once a request."""
        if self._identity is None:
            self._identity = _NO_CERTIFICATE if self._peer is None else self._desk.identify(self._peer)
        return self._identity

    def judge(self, length: int | None) -> Refusal | None:
        """
        Return why the request is refused by its head alone, or None.

        `length` is that of the body, None where it comes in chunks.
        """
        self._refusal = self._malformed() or self._unwelcome(length)
        return self._refusal

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, whatever its length: the limits are ours."""
        del length
        self.content = BytesIO()

    def handleContentChunk(self, data: bytes) -> None:
        """Take a part of the body, unless that is too much."""
        if self.finished:
            return
        self._received += len(data)
        self._desk.bodies.hold(self._client, len(data))
        if self._received > self._limit:
            self._connection.refuse(_too_large(self._limit, self._received))
            return
        no_room = self._desk.bodies.refuse(self._client, 0)
        if no_room is not None:
            self._connection.refuse(no_room)
            return
        super().handleContentChunk(data)

    def process(self) -> None:
        """Answer a request that was read to its end."""
        if self._refusal is not None:
            self.refuse(self._refusal)
            return
        # A reload may have made the client another one while its body was read.
        self._identity = None
        self.path = _ABSOLUTE.sub(b"", self.path, count=1) or b"/"
        try:
            result = self._connection.dispatch(self)
        except Exception:  # noqa: BLE001 (whatever it is, the client is waiting)
            self._failed(Failure())
            return
        if isinstance(result, Deferred):
            result.addCallback(self._finish).addErrback(self._failed)
        else:
            self._finish(result)

    def refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal, and tell the journal."""
        self.tell_refusal(refusal)
        self.respond(refused(refusal, self.request_id))

    def tell_refusal(self, refusal: Refusal) -> None:
        """Tell the journal that this request was refused."""
        identity = self._identity
        self._desk.tell_refusal(
            refusal.code.value,
            refusal.detail,
            request_id=self.request_id,
            address=self.address,
            client=identity.client if isinstance(identity, ClientIdentity) else None,
            peer=self._peer,
        )

    def respond(self, answer: Answer) -> None:
        """Write the answer; nothing happens where the client has gone."""
        if self._disconnected or self.finished:
            return
        if self._desk.draining:
            self._connection.persistent = False
        self.startedWriting = 1
        self.code = answer.status
        self._connection.write(
            octets(answer, self._common(), body=self.method != b"HEAD", close=not self._connection.persistent)
        )
        self.finish()

    def finish(self) -> None:
        """End the answer and let go of the body."""
        self._let_go()
        super().finish()

    def connectionLost(self, reason: Failure) -> None:
        """Let go of the body; a handler that is at work goes on."""
        self._let_go()
        super().connectionLost(reason)

    def _let_go(self) -> None:
        self._desk.bodies.hold(self._client, -self._received)
        self._received = 0

    def _malformed(self) -> Refusal | None:
        detail = self._fault_of_host() or self._fault_of_framing() or self._fault_of_target()
        return None if detail is None else Refusal(RefusalCode.BAD_REQUEST, detail)

    def _fault_of_host(self) -> str | None:
        """Hold the Host field against RFC 9112 section 3.2."""
        hosts = self.requestHeaders.getRawHeaders(b"Host") or []
        if len(hosts) > 1 or (not hosts and self.clientproto == b"HTTP/1.1"):
            return f"a request has one Host field, not {len(hosts)}"
        if hosts and not _HOST.fullmatch(hosts[0]):
            return "the Host field holds no host name"
        return None

    def _fault_of_framing(self) -> str | None:
        """
        Hold the length of the body against RFC 9112 section 6.1: nobody may read another length from it.

        Twisted has refused several lengths, and a length beside an encoding, before.
        """
        encodings = self.requestHeaders.getRawHeaders(b"Transfer-Encoding")
        if encodings is None:
            return None
        if self.clientproto != b"HTTP/1.1":
            return "HTTP/1.0 has no Transfer-Encoding"
        if len(encodings) > 1 or encodings[0].lower() != b"chunked":
            return "the only Transfer-Encoding that is understood is chunked"
        return None

    def _fault_of_target(self) -> str | None:
        """Take the forms of RFC 9112 section 3.2 that a server that is no proxy is asked in."""
        if self.uri.isascii() and (self.uri.startswith(b"/") or self.uri == b"*" or _ABSOLUTE.match(self.uri)):
            return None
        return "the request's target is neither a path nor an URL"

    def _unwelcome(self, length: int | None) -> Refusal | None:
        identity = self.identify()
        if isinstance(identity, Refusal):
            return identity
        if self._desk.draining:
            return Refusal(RefusalCode.DRAINING, "the gateway is shutting down", retry_after=10)
        self._client = identity.client
        self._limit = self._desk.body_limit(identity)
        if length is not None and length > self._limit:
            return _too_large(self._limit, length)
        return self._desk.bodies.refuse(self._client, length or 0) if length != 0 else None

    def _common(self) -> bytes:
        notice = None if self._peer is None else self._desk.expiry_notice(self._peer)
        expires = b"" if notice is None else b"Mailgate-Certificate-Expires: %b\r\n" % notice
        return b"Date: %b\r\nX-Request-Id: %b\r\nCache-Control: no-store\r\n%b" % (
            self._desk.date(),
            self.request_id.encode(),
            expires,
        )

    def _finish(self, result: Result) -> None:
        if isinstance(result, Refusal):
            self.refuse(result)
        else:
            self.respond(result)

    def _failed(self, failure: Failure) -> None:
        self._failures.failure("A handler failed at request {request}", failure, request=self.request_id)
        self.refuse(_DEFECT)


def _too_large(limit: int, actual: int) -> Refusal:
    detail = f"the body has {actual} octets or more, and {limit} are allowed"
    return Refusal(RefusalCode.MESSAGE_TOO_LARGE, detail, limit=limit, actual=actual)

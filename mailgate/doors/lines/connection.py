"""One connection of the line door: greeted, read, answered and closed, within time and memory."""

import socket
from math import inf
from typing import TYPE_CHECKING

from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.doors.connections import DRAIN_OCTETS, DRAIN_SECONDS, GOODBYE_SECONDS
from mailgate.doors.lines.answering import COMMIT_SECONDS, Answering
from mailgate.doors.lines.desk import LineDesk
from mailgate.model.identity import ClientIdentity
from mailgate.model.refusal import Refusal
from mailgate.trust.factory import MutualTLSProtocol
from mailgate.wire.lines import Reply, refused

if TYPE_CHECKING:
    from mailgate.wire.lines import LineMessage, LineSession

IDLE_SECONDS = 600.0
STALL_SECONDS = 60.0
"""How long a client may stay silent within a message."""

MESSAGE_SECONDS = 15 * 60.0

KEEPALIVE_SECONDS = 200
"""NATs forget a silent connection after 240 seconds or more."""

MOST_MISTAKES = 10
"""After so many replies from 500 to 504 the connection closes: whoever is there doesn't speak this protocol."""

_MISTAKES = range(500, 505)
_IDLE = Reply(421, "4.4.2", f"closing: idle for {IDLE_SECONDS:.0f} seconds")
_STALLED = Reply(421, "4.4.2", f"closing: silent for {STALL_SECONDS:.0f} seconds within a message")
_TOO_SLOW = Reply(421, "4.4.2", f"closing: a message may take {MESSAGE_SECONDS / 60:.0f} minutes")
_GIVE_WAY = Reply(421, "4.7.0", "closing: a new connection of this client takes the place of this idle one")
_CROWDED = Reply(421, "4.7.0", "closing: all connections that this client may have are at work")
_MISTAKEN = Reply(421, "4.7.0", "closing: too many mistakes")
_SHUTDOWN = Reply(421, "4.3.2", "closing: the gateway is shutting down")


@implementer(IHandshakeListener, IPushProducer)
class LineConnection(Protocol):
    """
    Greets a client, reads what it sends, and answers in order.

    What was sent completely is stored, also where the client has gone before the answer. While more is owed than
    it should be, or the client doesn't read, nothing more is read from it.

    Attributes:
        deadline: when `expire` should be called; the clock's seconds.

    """

    transport: MutualTLSProtocol
    deadline = inf
    # Of thousands of connections most are idle: what an idle one doesn't need stands here, once for all of them.
    _client: ClientIdentity | None = None
    _session: "LineSession | None" = None
    _answering: Answering | None = None
    _message: "LineMessage | None" = None
    _message_since = 0.0
    _heard_at = 0.0
    _mistakes = 0
    _drainable = DRAIN_OCTETS
    _blocked = False
    _paused = False
    _draining = False
    _closing = False
    _gone = False
    _working = False

    def __init__(self, desk: LineDesk) -> None:
        self._desk = desk

    @property
    def idle_since(self) -> float | None:
        """When the client was last heard of; None while a message is open or a reply is owed."""
        return None if self._message is not None or self._owes else self._heard_at

    def connectionMade(self) -> None:
        """Be looked after from now on."""
        self._desk.connections.opened(self)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            _keep_alive(self.transport)

    def handshakeCompleted(self) -> None:
        """Say who the client is taken for, or why it may not come in."""
        desk, peer = self._desk, self.transport.peer
        assert peer is not None
        self._heard_at = desk.clock.seconds()
        identity = desk.identify(peer)
        if isinstance(identity, Refusal):
            desk.tell_of_stranger(
                "request.refused",
                self.transport.address,
                subject=peer.subject,
                serial=peer.serial,
                reason=identity.code.value,
                detail=identity.detail,
            )
            self._close(refused(identity))
        elif desk.draining:
            self._close(_SHUTDOWN)
        elif not desk.clients.admit(identity.client, self):
            reason = "all connections that this client may have are at work"
            desk.tell_of_stranger(
                "connection.refused", self.transport.address, client=identity.client, reason=reason
            )
            self._close(_CROWDED)
        else:
            self._client = identity
            self.transport.write(desk.greet(identity))
            self._set_deadline()

    def dataReceived(self, data: bytes) -> None:
        """Take octets of the session, or throw them away once it is over."""
        if self._closing:
            self._drainable -= len(data)
            if self._drainable < 0:
                # What isn't read holds a client back from sending more, and leaves it time to read the reply.
                self.transport.pauseProducing()
            return
        self._heard_at = self._desk.clock.seconds()
        session = self._session or self._begin_session()
        session.feed(data)
        self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Answer nobody any more, but store what was sent completely."""
        del reason
        self._desk.connections.closed(self)
        self._leave()
        self._gone = True
        self._blocked = False
        if not self._closing and self._session is not None:
            if self._draining:
                self._session.close()
            self._work()

    def drain(self) -> None:
        """Close as soon as no reply is owed."""
        self._draining = True
        if not self._owes and not self._closing:
            self._close(_SHUTDOWN if self._client else None, GOODBYE_SECONDS)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.transport.abortConnection()

    def give_way(self) -> None:
        """Close, because another connection of the client takes the place."""
        client = None if self._client is None else self._client.client
        self._desk.tell_of_stranger("connection.displaced", self.transport.address, client=client)
        self._close(_GIVE_WAY)

    def expire(self) -> None:
        """Do what the deadline was for."""
        now = self._desk.clock.seconds()
        if self._closing:
            self.deadline = inf
            self.abort()
        elif self._answering is not None and self._answering.owed.since is not None:
            self._answering.time_out()
            self._work()
        elif self._message is None:
            self._close(_IDLE)
        else:
            slow = now >= self._message_since + MESSAGE_SECONDS
            self._close(_TOO_SLOW if slow else _STALLED)

    def pauseProducing(self) -> None:
        """Read nothing more from a client that doesn't read its replies."""
        self._blocked = True
        if self._answering is not None:
            self._regulate(self._answering)

    def resumeProducing(self) -> None:
        """Go on once it has read them."""
        self._blocked = False
        self._work()

    def stopProducing(self) -> None:
        """Hear that the transport has ended; `connectionLost` follows."""

    @property
    def _owes(self) -> bool:
        return self._answering is not None and len(self._answering.owed) > 0

    def _begin_session(self) -> "LineSession":
        assert self._client is not None
        peer = self._client.certificate
        self._session = self._desk.session(self._client)
        self._answering = Answering(self._desk, peer, self.transport.address, self._work)
        self.transport.registerProducer(self, True)
        return self._session

    def _work(self) -> None:
        """Take as much from the session as may be owed, tell what is known, and go on while that makes room."""
        # A reply that is known at once calls back from within.
        if self._working or self._closing or self._session is None or self._answering is None:
            return
        self._working = True
        try:
            more = True
            while more and not self._closing:
                more = self._take_events(self._session, self._answering)
                more = self._tell_replies(self._session, self._answering) and more
        finally:
            self._working = False
        self._regulate(self._answering)

    def _take_events(self, session: "LineSession", answering: Answering) -> bool:
        """Owe the replies to events, as many as may be owed; return whether there may be more of them."""
        more = True
        while more and not (answering.full or self._blocked or self._draining):
            event = session.next_event()
            if event is not None:
                answering.take(event)
            if answering.ended or (event is None and self._gone):
                session.close()
            more = event is not None
        if session.message is not self._message:
            self._message = session.message
            self._message_since = self._heard_at
        return more

    def _tell_replies(self, session: "LineSession", answering: Answering) -> bool:
        """Write the replies that are known and whose turn it is; return whether there was one."""
        lines = []
        over = False
        for reply in answering.owed.told():
            lines.append(reply.encode())
            self._mistakes += reply.code in _MISTAKES
            if self._mistakes >= MOST_MISTAKES:
                lines.append(_MISTAKEN.encode())
            over = reply.closes or self._mistakes >= MOST_MISTAKES
            if over and not self._gone:
                break
        if self._gone:
            return bool(lines)
        if lines:
            self.transport.write(b"".join(lines))
        if over or (session.ended and not answering.owed):
            self._close()
        elif self._draining and not answering.owed:
            self._close(_SHUTDOWN, GOODBYE_SECONDS)
        return bool(lines)

    def _close(self, reply: Reply | None = None, seconds: float = DRAIN_SECONDS) -> None:
        """Say a last word, and give the client so many seconds to read it and close."""
        self._closing = True
        self._leave()
        if reply is not None:
            self.transport.write(reply.encode())
        if self._session is not None and self._answering is not None:
            self._session.close()
            self._answering.owed.clear()
            self._message = None
            self.transport.unregisterProducer()
        if self._paused:
            self.transport.resumeProducing()
        self.transport.loseConnection()
        self.deadline = self._desk.clock.seconds() + seconds

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._desk.clients.forget(client.client, self)

    def _regulate(self, answering: Answering) -> None:
        """Read on or not, and set the time that the client has for its next octet, or we for our next reply."""
        if self._closing or self._gone:
            return
        pause = self._blocked or self._draining or answering.full
        if pause != self._paused:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()
        self._set_deadline()

    def _set_deadline(self) -> None:
        waiting_since = None if self._answering is None else self._answering.owed.since
        if waiting_since is not None:
            self.deadline = waiting_since + COMMIT_SECONDS
        elif self._message is not None:
            self.deadline = min(self._heard_at + STALL_SECONDS, self._message_since + MESSAGE_SECONDS)
        else:
            self.deadline = self._heard_at + IDLE_SECONDS


def _keep_alive(transport: MutualTLSProtocol) -> None:
    """Have TCP ask whether the peer is still there, often enough for NATs."""
    transport.setTcpKeepAlive(True)
    # Every TCP transport has this method, but no interface says so.
    connection: socket.socket = transport.transport.getHandle()  # type: ignore[union-attr]
    for option, value in (("TCP_KEEPIDLE", KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

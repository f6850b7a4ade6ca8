"""One connection of the line door: greeted, read, answered and closed, within time and memory."""

import socket
from math import inf

from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.doors.connections import DRAIN_OCTETS, DRAIN_SECONDS, GOODBYE_SECONDS
from mailgate.doors.lines.conversation import MESSAGE_SECONDS, STALL_SECONDS, Conversation
from mailgate.doors.lines.desk import LineDesk
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.refusal import Refusal
from mailgate.trust.factory import MutualTLSProtocol
from mailgate.wire.lines import Reply, refused

IDLE_SECONDS = 600.0

KEEPALIVE_SECONDS = 200
"""NATs forget a silent connection after 240 seconds or more."""

MOST_MISTAKES = 10
"""After so many replies from 500 to 504 the connection closes: whoever is there doesn't speak this protocol."""

UNWATCHED_OCTETS = 8 * 1024
"""Replies of so many octets are written without a look at whether the client reads them."""

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
    it should be, or the client doesn't read, nothing more is read from it. Of thousands of connections most are
    idle, so what only a client that talks needs is in its conversation, which ends when it is at rest.

    Attributes:
        deadline: when `expire` should be called; the clock's seconds.

    """

    transport: MutualTLSProtocol

    __slots__ = (
        "_blocked",
        "_client",
        "_closing",
        "_conversation",
        "_desk",
        "_drainable",
        "_draining",
        "_gone",
        "_heard_at",
        "_mistakes",
        "_paused",
        "_unwatched",
        "_watched",
        "_working",
        "deadline",
    )

    def __init__(self, desk: LineDesk) -> None:
        self.deadline = inf
        self._desk = desk
        self._client: ClientIdentity | None = None
        self._conversation: Conversation | None = None
        self._heard_at = 0.0
        self._mistakes = 0
        self._unwatched = UNWATCHED_OCTETS
        self._drainable = DRAIN_OCTETS
        self._watched = self._blocked = self._paused = False
        self._draining = self._closing = self._gone = self._working = False

    @property
    def idle_since(self) -> float | None:
        """When the client was last heard of; None while a message is open or a reply is owed."""
        talk = self._conversation
        return self._heard_at if talk is None or not (talk.message or talk.owes) else None

    def connectionMade(self) -> None:
        """Be looked after from now on."""
        self._desk.connections.opened(self)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            _keep_alive(self.transport)

    def handshakeCompleted(self) -> None:
        """Say who the client is taken for, or why it may not come in."""
        peer = self.transport.peer
        assert peer is not None
        self._heard_at = self._desk.clock.seconds()
        identity = self._desk.identify(peer)
        if isinstance(identity, Refusal):
            self._turn_away(peer, identity)
        elif self._desk.draining:
            self._close(_SHUTDOWN)
        elif not self._desk.clients.admit(identity.client, self):
            self._tell("connection.refused", client=identity.client, reason="all its connections are at work")
            self._close(_CROWDED)
        else:
            self._client = identity
            self.transport.write(self._desk.greet(identity))
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
        if self._conversation is None:
            assert self._client is not None
            self._conversation = Conversation(self._desk, self._client, self.transport.address, self._work)
        self._conversation.feed(data)
        self._work()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Answer nobody any more, but store what was sent completely."""
        del reason
        self._gone = True
        self._blocked = False
        self._desk.connections.closed(self)
        self._leave()
        if self._draining and self._conversation is not None:
            self._conversation.end()
        self._work()

    def drain(self) -> None:
        """Close as soon as no reply is owed."""
        self._draining = True
        if not self._closing and not (self._conversation and self._conversation.owes):
            self._close(_SHUTDOWN if self._client else None, GOODBYE_SECONDS)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self.transport.abortConnection()

    def give_way(self) -> None:
        """Close, because another connection of the client takes the place."""
        self._tell("connection.displaced", client=self._client and self._client.client)
        self._close(_GIVE_WAY)

    def expire(self) -> None:
        """Do what the deadline was for."""
        talk = self._conversation
        if self._closing:
            self.deadline = inf
            self.abort()
        elif talk is not None and talk.waits:
            talk.time_out()
            self._work()
        elif talk is not None and talk.message is not None:
            slow = self._desk.clock.seconds() >= talk.message_since + MESSAGE_SECONDS
            self._close(_TOO_SLOW if slow else _STALLED)
        else:
            self._close(_IDLE)

    def pauseProducing(self) -> None:
        """Read nothing more from a client that doesn't read its replies."""
        self._blocked = True
        self._regulate()

    def resumeProducing(self) -> None:
        """Go on once it has read them."""
        self._blocked = False
        self._work()

    def stopProducing(self) -> None:
        """Hear that the transport has ended; `connectionLost` follows."""

    def _work(self) -> None:
        """Take as much from the client as may be owed, tell what is known, and go on while that makes room."""
        talk = self._conversation
        # A reply that is known at once calls back from within.
        if talk is None or self._working or self._closing:
            return
        self._working = True
        try:
            more = True
            while more and not self._closing:
                more = not (self._blocked or self._draining) and talk.take_events(self._heard_at)
                more = self._tell_replies(talk) and more
        finally:
            self._working = False
        if self._gone and not talk.full:
            talk.end()
        elif talk.at_rest and not self._blocked:
            self._conversation = None
            self._watch(wanted=False)
        self._regulate()

    def _tell_replies(self, talk: Conversation) -> bool:
        """Write the replies that are known and whose turn it is; return whether there was one."""
        lines = []
        over = False
        for reply in talk.told():
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
            self._write(b"".join(lines))
        if over or talk.over:
            self._close()
        elif self._draining and not talk.owes:
            self._close(_SHUTDOWN, GOODBYE_SECONDS)
        return bool(lines)

    def _write(self, octets: bytes) -> None:
        self._unwatched -= len(octets)
        self._watch(wanted=self._unwatched < 0)
        self.transport.write(octets)

    def _watch(self, *, wanted: bool) -> None:
        """Have the transport say when the client doesn't read, or not: that alone takes more than a kilobyte."""
        if wanted == self._watched:
            return
        self._watched = wanted
        if wanted:
            self.transport.registerProducer(self, True)
        else:
            self.transport.unregisterProducer()

    def _turn_away(self, peer: PeerCertificate, refusal: Refusal) -> None:
        self._tell(
            "request.refused",
            subject=peer.subject,
            serial=peer.serial,
            reason=refusal.code.value,
            detail=refusal.detail,
        )
        self._close(refused(refusal))

    def _tell(self, event: str, **fields: object) -> None:
        self._desk.tell_of_stranger(event, self.transport.address, **fields)

    def _close(self, reply: Reply | None = None, seconds: float = DRAIN_SECONDS) -> None:
        """Say a last word, and give the client so many seconds to read it and close."""
        self._closing = True
        self._leave()
        if reply is not None:
            self.transport.write(reply.encode())
        if self._conversation is not None:
            self._conversation.abandon()
            self._conversation = None
        self._watch(wanted=False)
        if self._paused:
            self.transport.resumeProducing()
        self.transport.loseConnection()
        self.deadline = self._desk.clock.seconds() + seconds

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            self._desk.clients.forget(client.client, self)

    def _regulate(self) -> None:
        """Read on or not, and set the time that the client has for its next octet, or we for our next reply."""
        if self._closing or self._gone:
            return
        full = self._conversation is not None and self._conversation.full
        pause = self._blocked or self._draining or full
        if pause != self._paused:
            self._paused = pause
            if pause:
                self.transport.pauseProducing()
            else:
                self.transport.resumeProducing()
        self._set_deadline()

    def _set_deadline(self) -> None:
        within = inf if self._conversation is None else self._conversation.deadline(self._heard_at)
        self.deadline = self._heard_at + IDLE_SECONDS if within == inf else within


def _keep_alive(transport: MutualTLSProtocol) -> None:
    """Have TCP ask whether the peer is still there, often enough for NATs."""
    transport.setTcpKeepAlive(True)
    # Every TCP transport has this method, but no interface says so.
    connection: socket.socket = transport.transport.getHandle()  # type: ignore[union-attr]
    for option, value in (("TCP_KEEPIDLE", KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

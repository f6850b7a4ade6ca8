"""One connection of the line door: greeted, read, answered and closed, within time and memory."""

from math import inf

from twisted.internet.interfaces import IHandshakeListener, IPushProducer, ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.doors.connections import DRAIN_OCTETS, DRAIN_SECONDS, GOODBYE_SECONDS
from mailgate.doors.lines.conversation import MESSAGE_SECONDS, STALL_SECONDS, Conversation
from mailgate.doors.lines.desk import LineDesk
from mailgate.doors.lines.keepalive import keep_alive
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.refusal import Refusal
from mailgate.trust.factory import MutualTLSProtocol
from mailgate.wire.lines import Reply, refused

IDLE_SECONDS = 600.0

MOST_MISTAKES = 10
"""After so many replies from 500 to 504 the connection closes: whoever is there doesn't speak this protocol."""

LINES_A_TURN = 128
"""So much is taken from one client before the others have their turn; counted octets are a few lines."""

UNWATCHED_OCTETS = 8 * 1024
"""Replies of so many octets are written without a look at whether the client reads them."""

_MISTAKES = range(500, 505)
_IDLE = Reply(421, "4.4.2", f"closing: idle for {IDLE_SECONDS:.0f} seconds")
_STALLED = Reply(421, "4.4.2", f"closing: silent for {STALL_SECONDS:.0f} seconds within a message")
_TOO_SLOW = Reply(421, "4.4.2", f"closing: a message may take {MESSAGE_SECONDS / 60:.0f} minutes")
_GIVE_WAY = Reply(421, "4.7.0", "closing: a new connection of this client takes the place of this silent one")
_CROWDED = Reply(421, "4.7.0", "closing: all connections that this client may have are at work")
_MISTAKEN = Reply(421, "4.7.0", "closing: too many mistakes")
_RENAMED = Reply(421, "4.3.2", "closing: the gateway knows you by another name from now on")
_SHUTDOWN = Reply(421, "4.3.2", "closing: the gateway is shutting down")


@implementer(IHandshakeListener, IPushProducer)
class LineConnection(Protocol):
    """
    Greets a client, reads what it sends, and answers in order.

    What was sent completely is stored, also where the client has gone before the answer; until that is done it
    counts as one of the client's connections. While more is owed than should be, or the client doesn't read,
    nothing more is read from it. Of thousands of connections most are idle, so what only a client that talks
    needs is in its conversation, which ends when it is at rest.

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
        "_had_turn",
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
        self._watched = self._blocked = self._paused = self._had_turn = False
        self._draining = self._closing = self._gone = self._working = False

    @property
    def idle_since(self) -> float | None:
        """When the client was last heard of; None while a message is open or a reply is owed."""
        talk = self._conversation
        return self._heard_at if talk is None or not (talk.message or talk.owes) else None

    @property
    def silent_since(self) -> float | None:
        """When the client was last heard of; None while a reply is owed."""
        talk = self._conversation
        return self._heard_at if talk is None or not talk.owes else None

    def connectionMade(self) -> None:
        """Be looked after from now on."""
        self._desk.connections.opened(self)
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)
            keep_alive(self.transport)

    def handshakeCompleted(self) -> None:
        """Say who the client is taken for, or why it may not come in."""
        peer = self.transport.peer
        assert peer is not None
        self._heard_at = self._desk.clock.seconds()
        identity = self._desk.welcome(peer)
        if isinstance(identity, Refusal):
            self._turn_away(peer, identity)
        elif self._desk.draining:
            self._close(_SHUTDOWN)
        elif not self._desk.clients.admit(identity.client, self, self._heard_at):
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
        self.deadline = inf
        if self._conversation is None:
            self._depart()
            return
        self._work()

    def drain(self) -> None:
        """Close as soon as no reply is owed."""
        self._draining = True
        if not self._closing and not (self._conversation and self._conversation.owes):
            idle = self._desk.clock.seconds() - self._heard_at > DRAIN_SECONDS
            self._close(_SHUTDOWN if self._client else None, GOODBYE_SECONDS if idle else DRAIN_SECONDS)

    def recheck(self) -> None:
        """End with a reason, if the client may not be here any more; what is on its way to the disk goes on."""
        client = self._client
        if client is None or self._gone:
            return
        verdict = self._desk.identify(client.certificate)
        if isinstance(verdict, Refusal):
            self._desk.tell_cut(client.certificate, self.transport.address, verdict.detail)
            self._close(refused(verdict), GOODBYE_SECONDS)
        elif verdict.client != client.client:
            self._close(_RENAMED)

    def abort(self) -> None:
        """Close now, whatever is under way."""
        self._closing = True
        self._forget()
        if self._gone:
            self._depart()
        else:
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
            self._work(overdue=True)
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

    def _work(self, *, overdue: bool = False) -> None:
        """Take as much from the client as may be owed, tell what is known, and go on while that makes room."""
        # A reply that is known at once calls back from within.
        if self._working:
            return
        talk = self._conversation
        if talk is None:
            self._regulate()
            return
        self._working = True
        try:
            if overdue:
                talk.time_out()
            used_up = self._take_turn(talk)
        finally:
            self._working = False
        if self._conversation is None:
            return
        if used_up:
            self._had_turn = True
            self._desk.clock.callLater(0, self._take_next_turn)
        if not self._had_turn:
            self._come_to_rest(talk)
        self._regulate()

    def _come_to_rest(self, talk: Conversation) -> None:
        """Keep nothing that isn't needed, once all that came was taken."""
        if self._gone and not talk.full:
            talk.end()
        if self._gone and not talk.owes:
            self._depart()
        elif talk.at_rest:
            self._conversation = None

    def _take_turn(self, talk: Conversation) -> bool:
        """Take lines and tell replies by turns; return whether as much was taken as one turn may take."""
        left = LINES_A_TURN
        more = True
        while more and not self._closing:
            listens = not (self._blocked or self._draining or self._had_turn)
            taken = talk.take_lines(self._heard_at, left) if listens else 0
            left -= taken
            more = self._tell_replies(talk) or taken > 0
        return left == 0

    def _take_next_turn(self) -> None:
        self._had_turn = False
        self._work()

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
            self._close(_SHUTDOWN)
        return bool(lines)

    def _write(self, octets: bytes) -> None:
        self._unwatched -= len(octets)
        if self._unwatched < 0 and not self._watched:
            # Only now, since that alone takes more than a kilobyte; and to the end, or who asks a little at a time
            # and never reads would never be noticed.
            self._watched = True
            self.transport.registerProducer(self, True)
        self.transport.write(octets)

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
        self._forget()
        if reply is not None:
            self.transport.write(reply.encode())
        if self._watched:
            self.transport.unregisterProducer()
        if self._paused:
            self.transport.resumeProducing()
        self.transport.loseConnection()
        self.deadline = self._desk.clock.seconds() + seconds

    def _depart(self) -> None:
        """Be nobody's connection any more."""
        self._forget()
        self._desk.connections.closed(self)

    def _forget(self) -> None:
        talk, self._conversation = self._conversation, None
        if talk is not None:
            talk.abandon()
        client, self._client = self._client, None
        if client is not None:
            self._desk.clients.forget(client.client, self)

    def _regulate(self) -> None:
        """Read on or not, and set the time that the client has for its next octet, or we for our next reply."""
        if self._closing or self._gone:
            return
        full = self._conversation is not None and self._conversation.full
        pause = self._blocked or self._draining or self._had_turn or full
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

"""Mutual TLS around a door's protocols, over any endpoint."""

from collections.abc import Sequence

from cryptography.hazmat.primitives.serialization import Encoding
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    ITransport,
)
from twisted.internet.protocol import connectionDone
from twisted.protocols.tls import BufferingTLSTransport, TLSMemoryBIOFactory
from twisted.python.failure import Failure

from mailgate.model.identity import PeerCertificate
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.handshake import Handshake
from mailgate.trust.reasons import LEFT, TOO_SLOW, of_error
from mailgate.trust.server import ServerTrust

HANDSHAKE_SECONDS = 60.0
"""A peer that has not finished its handshake by then is cut off."""

SLICE = 4096
"""Octets that are handed to OpenSSL at a time. Its buffer for them grows to their size, and never shrinks."""

CLOSE_SECONDS = 15.0
"""How long a peer may take to read what was written last and to answer the end of the TLS stream."""


class MutualTLSProtocol(BufferingTLSTransport):
    """
    One connection: the transport of the door's protocol.

    The door's protocol should provide IHandshakeListener; when that is told, `peer` is known.

    Attributes:
        address: the peer's IP address, or an empty string where it has none.
        handshake: what the TLS callbacks of this connection write to.

    """

    factory: "MutualTLSFactory"
    _reason: Failure | None
    _steps = 0
    _counted = False
    _deadline: IDelayedCall | None = None

    def __init__(self, factory: "MutualTLSFactory", wrapped: IProtocol, *, address: str) -> None:
        super().__init__(factory, wrapped)
        self.address = address
        self.handshake = Handshake(factory.alpn, factory.trust)

    @property
    def peer(self) -> PeerCertificate | None:
        """Who the peer has proved to be; None before the handshake is complete."""
        return self.handshake.peer if self._handshakeDone else None

    def peer_octets(self) -> bytes:
        """Return the peer's own certificate, in DER. The handshake must be complete."""
        certificate = self.getPeerCertificate()
        assert certificate is not None
        octets: bytes = certificate.to_cryptography().public_bytes(Encoding.DER)
        return octets

    def makeConnection(self, transport: ITransport) -> None:
        """Begin the handshake, and the time it may take."""
        self._deadline = self.factory.clock.callLater(HANDSHAKE_SECONDS, self._too_slow)
        super().makeConnection(transport)

    def dataReceived(self, data: bytes) -> None:
        """Take octets of the TLS stream, a slice at a time."""
        for start in range(0, len(data), SLICE):
            if self._lostTLSConnection or self._aborted:
                return
            super().dataReceived(data[start : start + SLICE])

    def loseConnection(self) -> None:
        """Close once everything is written, or without that when the peer takes too long to read it."""
        super().loseConnection()
        self._close_in_time()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell the journal of a peer that did not get through the handshake."""
        if not self._handshakeDone:
            self._tell_refusal(self._reason or reason)
        super().connectionLost(reason)
        # Only now, since reading the rest of the TLS stream may have set another one.
        self._stop_deadline()

    # Twisted has no public place for these two. The first is called for each flight of the handshake, the second
    # when TLS has ended for whatever reason, and only the underlying transport is left to be closed.

    def _checkHandshakeStatus(self) -> None:
        self._steps += 1
        super()._checkHandshakeStatus()
        if self._handshakeDone and not self.disconnecting:
            self._stop_deadline()
            if not self._counted:
                self._counted = True
                self.factory.count_handshake("completed")

    def _tlsShutdownFinished(self, reason: Failure | None) -> None:
        super()._tlsShutdownFinished(reason)
        self._close_in_time()

    def _close_in_time(self) -> None:
        if self.connected and self._deadline is None:
            self._deadline = self.factory.clock.callLater(CLOSE_SECONDS, self._abort)

    def _abort(self) -> None:
        self._deadline = None
        self.abortConnection()

    def _too_slow(self) -> None:
        self._deadline = None
        self._reason = Failure(TimeoutError(TOO_SLOW))
        self.abortConnection()

    def _stop_deadline(self) -> None:
        if self._deadline is not None and self._deadline.active():
            self._deadline.cancel()
        self._deadline = None

    def _tell_refusal(self, reason: Failure) -> None:
        refused = self.handshake.refused
        if refused is not None:
            self.factory.tell_refusal(
                self.address,
                reason=refused.reason,
                subject=refused.subject or None,
                issuer=refused.issuer or None,
                serial=refused.serial or None,
                names=refused.names or None,
            )
            return
        words = TOO_SLOW if isinstance(reason.value, TimeoutError) else of_error(reason.value)
        # A scanner that connects and goes has not tried to shake hands.
        if words != LEFT or self._steps > 1:
            self.factory.tell_refusal(self.address, reason=words)


class MutualTLSFactory(TLSMemoryBIOFactory):
    """
    Wraps a door's factory: limits outside TLS, then the handshake, then the door's protocol.

    `alpn` names the door's application protocols in its order of preference; a client that offers none of them
    gets none, and may go on without (RFC 7301 leaves that to the door's protocol).
    """

    def __init__(
        self,
        trust: ServerTrust,
        wrapped: IProtocolFactory,
        *,
        door: str,
        alpn: Sequence[bytes],
        limits: ConnectionLimits,
        clock: IReactorTime,
    ) -> None:
        super().__init__(trust, isClient=False, wrappedFactory=wrapped, clock=clock)
        self.alpn = tuple(alpn)
        self.clock = clock
        self.trust = trust
        self._door = door
        self._limits = limits

    @property
    def connections(self) -> tuple[MutualTLSProtocol, ...]:
        """The connections that are open now, shaking hands or past that."""
        return tuple(self.protocols)

    # IProtocolFactory lets this be None; WrappingFactory's own annotation forgets that.
    def buildProtocol(self, addr: IAddress | None) -> MutualTLSProtocol | None:  # type: ignore[override]
        """Return a protocol for a new connection, or None where it is one too many."""
        address = _host(addr)
        excess = self._limits.refuse(address)
        if excess is not None:
            self.trust.refusals.record("connection.refused", address=address, door=self._door, reason=excess)
            return None
        wrapped = self.wrappedFactory.buildProtocol(addr)
        return None if wrapped is None else MutualTLSProtocol(self, wrapped, address=address)

    def registerProtocol(self, p: MutualTLSProtocol) -> None:
        """Count a connection that was made."""
        # Twisted's TLS protocol registers itself twice.
        if p not in self.protocols:
            self._limits.opened(p.address)
        super().registerProtocol(p)

    def unregisterProtocol(self, p: MutualTLSProtocol) -> None:
        """Count a connection that was lost."""
        super().unregisterProtocol(p)
        self._limits.closed(p.address)

    def count_handshake(self, outcome: str) -> None:
        """Count a handshake that came to its end."""
        self.trust.handshakes[self._door, outcome] += 1

    def tell_refusal(self, address: str, **fields: object) -> None:
        """Tell the journal whose handshake was refused, and why."""
        self.count_handshake("refused")
        self.trust.refusals.record("handshake.refused", address=address, door=self._door, **fields)


def _host(address: IAddress | None) -> str:
    host = getattr(address, "host", None)
    # An IPv4 peer of an IPv6 listener (RFC 4291 section 2.5.5.2) is the same peer as on an IPv4 one.
    return host.removeprefix("::ffff:") if isinstance(host, str) else ""

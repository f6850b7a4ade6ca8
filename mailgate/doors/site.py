"""How the HTTPS door's connections are made."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress
from twisted.web import http

from mailgate.doors.channel import GatewayChannel
from mailgate.doors.connections import Connections
from mailgate.doors.desk import Desk
from mailgate.doors.request import Dispatch


class Site(http.HTTPFactory):
    """
    Makes the channels of connections.

    HTTP/2 is never spoken: the channel is HTTP/1.1's own, whatever is installed. There is no access log; the
    journal has what matters.
    """

    noisy = False

    def __init__(self, desk: Desk, dispatch: Dispatch) -> None:
        super().__init__(timeout=None, reactor=desk.clock)  # type: ignore[arg-type]
        self._desk = desk
        self._dispatch = dispatch
        self._connections: Connections[GatewayChannel] = Connections(desk.clock)

    def startFactory(self) -> None:
        """Open no log file."""

    def stopFactory(self) -> None:
        """Close no log file."""

    def log(self, request: http.Request) -> None:
        """Write no access log."""

    def buildProtocol(self, addr: IAddress | None) -> GatewayChannel:  # type: ignore[override]
        """Return a channel for a new connection."""
        del addr
        connections = self._connections
        channel = GatewayChannel(self._desk, self._dispatch, connections.opened, connections.closed)
        channel.factory = self
        return channel

    def recheck(self) -> None:
        """End each connection whose client may not be here any more."""
        self._connections.recheck()

    def drain(self, seconds: float) -> Deferred[None]:
        """
        End every connection: idle ones at once, others when their request is answered, all after `seconds`.

        The Deferred fires when none is left.
        """
        self._desk.draining = True
        return self._connections.drain(seconds)

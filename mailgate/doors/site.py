"""The HTTPS door's connections as a whole: how they are made, and how they end together."""

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IAddress, IDelayedCall
from twisted.web import http

from mailgate.doors.channel import GatewayChannel
from mailgate.doors.deadlines import Deadlines
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
        self._connections: Deadlines[GatewayChannel] = Deadlines(desk.clock)
        self._drained: list[Deferred[None]] = []
        self._cut: IDelayedCall | None = None

    def startFactory(self) -> None:
        """Open no log file."""

    def stopFactory(self) -> None:
        """Close no log file."""

    def log(self, request: http.Request) -> None:
        """Write no access log."""

    def buildProtocol(self, addr: IAddress | None) -> GatewayChannel:  # type: ignore[override]
        """Return a channel for a new connection."""
        del addr
        channel = GatewayChannel(self._desk, self._dispatch, self._connections.watch, self._forget)
        channel.factory = self
        return channel

    def drain(self, seconds: float) -> Deferred[None]:
        """
        End every connection: idle ones at once, others when their request is answered, all after `seconds`.

        The Deferred fires when none is left.
        """
        self._desk.draining = True
        for channel in tuple(self._connections.watched):
            channel.drain()
        if not self._connections.watched:
            return succeed(None)
        if self._cut is None:
            self._cut = self._desk.clock.callLater(seconds, self._abort)
        drained: Deferred[None] = Deferred()
        self._drained.append(drained)
        return drained

    def _abort(self) -> None:
        self._cut = None
        for channel in tuple(self._connections.watched):
            channel.transport.abortConnection()

    def _forget(self, channel: GatewayChannel) -> None:
        self._connections.forget(channel)
        if self._connections.watched:
            return
        if self._cut is not None:
            self._cut.cancel()
            self._cut = None
        waiting, self._drained = self._drained, []
        for drained in waiting:
            drained.callback(None)

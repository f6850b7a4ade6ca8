"""Opens connections to one upstream, up to where they take mail."""

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IAddress, IProtocol, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from mailgate.delivery.esmtp import Habits, SmtpConnection, Timeouts
from mailgate.delivery.settings import UpstreamSettings
from mailgate.delivery.tls import UpstreamTls


class Connector:
    """
    Makes ready connections to one upstream.

    `reactor` connects, resolves names and keeps time; `tls` is None only where the settings ask for none.
    """

    def __init__(
        self,
        upstream: UpstreamSettings,
        hostname: str,
        tls: UpstreamTls | None,
        reactor: IReactorTime,
        timeouts: Timeouts | None = None,
    ) -> None:
        self._factory = _ConnectionFactory(upstream, hostname, tls, reactor, timeouts or Timeouts())
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            reactor, upstream.host, upstream.port, self._factory.timeouts.setup
        )
        if upstream.tls == "implicit":
            assert tls is not None
            endpoint = wrapClientTLS(tls, endpoint)
        self._endpoint = endpoint

    def connect(self) -> Deferred[SmtpConnection]:
        """
        Open a connection and bring it to where it takes mail; cancelling ends it.

        Fails with UpstreamError, or what the endpoint failed with.
        """
        return self._endpoint.connect(self._factory).addCallback(_when_ready)


def _when_ready(connection: IProtocol) -> Deferred[SmtpConnection]:
    assert isinstance(connection, SmtpConnection)
    return connection.ready.addCallback(lambda _: connection)


class _ConnectionFactory(Factory):
    """Builds the protocol of each connection."""

    noisy = False

    def __init__(
        self,
        upstream: UpstreamSettings,
        hostname: str,
        tls: UpstreamTls | None,
        clock: IReactorTime,
        timeouts: Timeouts,
    ) -> None:
        self.timeouts = timeouts
        self._upstream = upstream
        self._hostname = hostname
        self._tls = tls
        self._clock = clock
        self._habits = Habits()

    def buildProtocol(self, _addr: IAddress | None) -> SmtpConnection:
        """Return the protocol of one connection."""
        return SmtpConnection(self._upstream, self._hostname, self._tls, self._clock, self.timeouts, self._habits)

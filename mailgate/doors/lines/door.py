"""The line door as the service tree starts and stops it."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Factory

from mailgate.doors.lines.connection import LineConnection
from mailgate.doors.lines.desk import DOOR, LineDesk
from mailgate.doors.lines.spool import Spool
from mailgate.doors.settings import LimitSettings
from mailgate.intake import Intake
from mailgate.model.journal import Journal
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.counts import Counts
from mailgate.trust.factory import MutualTLSFactory
from mailgate.trust.server import ServerTrust

ALPN = b"mailgate/1"

STOP_SECONDS = 10.0
"""How long replies that are owed may take once the door is closing."""


class LineFactory(Factory):
    """Makes the connections."""

    noisy = False

    def __init__(self, desk: LineDesk) -> None:
        self._desk = desk

    def buildProtocol(self, addr: IAddress | None) -> LineConnection:
        """Return a new connection."""
        del addr
        connection = LineConnection(self._desk)
        connection.factory = self
        return connection


class LineDoor:
    """
    The door, ready to listen with `factory`.

    Attributes:
        factory: mutual TLS around the line protocol, for any stream endpoint.

    """

    def __init__(self, factory: MutualTLSFactory, desk: LineDesk) -> None:
        self.factory = factory
        self._desk = desk

    def stop(self) -> Deferred[None]:
        """
        Answer what is owed and close every connection, within ten seconds.

        Whoever listens with the factory stops that first. Messages that are not complete are forgotten.
        """
        self._desk.draining = True
        return self._desk.connections.drain(STOP_SECONDS)

    def reload(self, limits: LimitSettings) -> None:
        """Hold to other limits from now on, and judge every client that is connected anew."""
        self._desk.hold_to(limits)
        self._desk.connections.recheck()

    def count_clients_with(self, counts: Counts, crowded: Callable[[str], None]) -> None:
        """
        Count the clients' connections together with other processes; nothing is open yet.

        `crowded` hears of a client that was turned away because of what it holds there.
        """
        self._desk.clients.counts = counts
        self._desk.clients.crowded = crowded

    def make_room(self, client: str) -> None:
        """Close a connection of the client that is silent, if there is one, for one at another process."""
        self._desk.clients.relieve(client, self._desk.clock.seconds())


def make_line_door(
    hostname: str,
    intake: Intake,
    trust: ServerTrust,
    limits: LimitSettings,
    connections: ConnectionLimits,
    new_spool: Callable[[], Spool],
    clock: IReactorTime,
    journal: Journal,
) -> LineDoor:
    """
    Return the door; nothing listens yet.

    `connections` may be other doors' too; `new_spool` makes what a message waits in while it comes.
    """
    desk = LineDesk(hostname, intake, trust, limits, new_spool, trust.refusals, journal, clock)
    factory = MutualTLSFactory(trust, LineFactory(desk), door=DOOR, alpn=[ALPN], limits=connections, clock=clock)
    return LineDoor(factory, desk)

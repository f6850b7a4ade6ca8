"""What every connection of the line door shares."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from mailgate.doors.connections import Connections
from mailgate.doors.lines.clients import ClientConnections
from mailgate.doors.lines.room import Room
from mailgate.doors.lines.spool import Spool
from mailgate.doors.reception import Reception, Trust
from mailgate.doors.settings import LimitSettings, body_limit
from mailgate.intake import Intake, Origin
from mailgate.model.identity import ClientIdentity
from mailgate.model.journal import Journal
from mailgate.model.receipt import DryRun, MessageRecord, Receipt
from mailgate.model.refusal import Refusal
from mailgate.model.submission import Outline, Submission
from mailgate.trust.refusals import RefusalLog
from mailgate.wire.lines import LineLimits, LineMessage, LineSession, Reply, greeting

if TYPE_CHECKING:
    from mailgate.doors.lines.connection import LineConnection

DOOR = "lines"
PROTOCOL = "LINES"

_DAY = 86400.0


class LineDesk(Reception):
    """
    Judges who is there, keeps count, and passes on what is asked.

    Attributes:
        connections: all of them, with their deadlines.
        clients: how many each client holds.
        room: what is between a spool and the disk.

    """

    def __init__(
        self,
        hostname: str,
        intake: Intake,
        trust: Trust,
        limits: LimitSettings,
        new_spool: Callable[[], Spool],
        refusals: RefusalLog,
        journal: Journal,
        clock: IReactorTime,
    ) -> None:
        super().__init__(DOOR, intake, trust, journal, refusals.record, clock)
        self.connections: Connections[LineConnection] = Connections(clock)
        self.clients: ClientConnections[LineConnection] = ClientConnections(limits.connections_per_client)
        self.room = Room()
        self._hostname = hostname
        self._limits = limits
        self._new_spool = new_spool

    def hold_to(self, limits: LimitSettings) -> None:
        """Hold to other limits from now on."""
        self._limits = limits
        self.clients.most = limits.connections_per_client

    def greet(self, identity: ClientIdentity) -> bytes:
        """Return the greeting of a client whose certificate was accepted."""
        now = self._intake.wall()
        left = identity.certificate.time_left(datetime.fromtimestamp(now, UTC)).total_seconds()
        return greeting(
            self._hostname,
            identity.client,
            size=self._intake.max_message(identity),
            time=now,
            days=int(left // _DAY),
        )

    def session(self, identity: ClientIdentity) -> LineSession:
        """Return a new session of this client."""
        size = self._intake.max_message(identity)
        limits = LineLimits(size, body_limit(size), self._limits.recipients)
        return LineSession(limits, self._new_spool, self._intake.wall)

    def submit(
        self, identity: ClientIdentity, submission: Submission, address: str, request_id: str
    ) -> Deferred[Receipt | DryRun | Refusal]:
        """Hand a message over to intake."""
        return self._intake.submit(identity, submission, Origin(DOOR, PROTOCOL, address, request_id))

    def compose(self, message: LineMessage) -> Submission | Reply:
        """Return what the message submits, or the reply that says why it can't be submitted."""
        return message.compose(self._intake.wall())

    def check(self, identity: ClientIdentity, outline: Outline) -> Deferred[Refusal | None]:
        """Ask intake about a message that is still being written."""
        return self._intake.check(identity, outline)

    def find(self, identity: ClientIdentity, key: str) -> Deferred[MessageRecord | Refusal]:
        """Ask intake for the client's message of a key."""
        return self._intake.find_by_key(identity, key)

    def tell_of_stranger(self, event: str, address: str, **fields: object) -> None:
        """Tell the journal of somebody at the door, so many times a minute for one address."""
        self._record(event, address=address, door=DOOR, **fields)

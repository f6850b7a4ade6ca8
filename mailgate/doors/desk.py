"""What every connection of the HTTPS door shares."""

from datetime import UTC, datetime, timedelta

from twisted.internet.interfaces import IReactorTime
from twisted.web.http import datetimeToString

from mailgate.doors.bodies import Bodies
from mailgate.doors.reception import Reception, Trust
from mailgate.doors.settings import LimitSettings, body_limit
from mailgate.intake import Intake
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.journal import Journal

DOOR = "https"

EXPIRY_NOTICE = timedelta(days=30)
"""A certificate that ends within this time is told so on every answer."""


class Desk(Reception):
    """
    Judges who asks and how much may be taken, and keeps count.

    Attributes:
        bodies: what request bodies hold in memory.
        limits: read afresh for every request; replacing them is a reload.

    """

    def __init__(
        self, intake: Intake, trust: Trust, limits: LimitSettings, journal: Journal, clock: IReactorTime
    ) -> None:
        super().__init__(DOOR, intake, trust, journal, journal.record, clock)
        self.limits = limits
        self.bodies = Bodies(limits.max_body)
        self._date = (0, b"")

    def hold_to(self, limits: LimitSettings) -> None:
        """Hold to other limits from now on."""
        self.limits = limits
        self.bodies.hold_to(limits.max_body)

    def body_limit(self, identity: ClientIdentity) -> int:
        """Return the octets a body of this client may have."""
        return min(self.limits.max_body, body_limit(self._intake.max_message(identity)))

    def expiry_notice(self, peer: PeerCertificate) -> bytes | None:
        """Return the end of the certificate as an HTTP date if it is near, else None."""
        now = datetime.fromtimestamp(self._intake.wall(), UTC)
        if peer.time_left(now) > EXPIRY_NOTICE:
            return None
        notice: bytes = datetimeToString(peer.not_after.timestamp())
        return notice

    def date(self) -> bytes:
        """Return the time as a Date field has it."""
        now = int(self._intake.wall())
        if self._date[0] != now:
            self._date = (now, datetimeToString(now))
        return self._date[1]

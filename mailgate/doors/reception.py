"""Who stands at a door, and what the journal hears of whom it turned away."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from mailgate.intake import Intake
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.refusal import Refusal, RefusalCode


class Record(Protocol):
    """Tells the journal of an event, or counts it as one of many."""

    def __call__(self, event: str, /, *, address: str, **fields: object) -> None:
        """Take the event with its fields."""


class Reception:
    """
    What every connection of one door shares.

    Attributes:
        door: the door's name in the settings.
        clock: tells seconds since the epoch.
        draining: whether the door is closing, and takes nothing new.

    """

    def __init__(self, door: str, intake: Intake, record: Record, clock: IReactorTime) -> None:
        self.door = door
        self.clock = clock
        self.draining = False
        self._intake = intake
        self._record = record

    def identify(self, peer: PeerCertificate) -> ClientIdentity | Refusal:
        """Return the client that the certificate proves right now, which may change while a connection lives."""
        if peer.time_left(datetime.fromtimestamp(self.clock.seconds(), UTC)) < timedelta(0):
            return Refusal(RefusalCode.CLIENT_UNKNOWN, "the client certificate has expired")
        return self._intake.identify(peer, self.door)

    def tell_refusal(
        self,
        reason: str,
        detail: str,
        *,
        request_id: str,
        address: str,
        client: str | None,
        peer: PeerCertificate | None,
    ) -> None:
        """Tell the journal of a request that this door refused; a certificate is named where no client is."""
        unnamed = peer if client is None else None
        self._record(
            "request.refused",
            door=self.door,
            request=request_id,
            address=address,
            client=client,
            subject=unnamed and unnamed.subject,
            serial=unnamed and unnamed.serial,
            reason=reason,
            detail=detail,
        )

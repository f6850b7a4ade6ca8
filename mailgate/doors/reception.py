"""Who stands at a door, and what the journal hears of whom it turned away."""

from datetime import UTC, datetime, timedelta
from typing import Protocol

from twisted.internet.interfaces import IReactorTime

from mailgate.intake import Intake
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.trust.authorities import Objection


class Record(Protocol):
    """Tells the journal of an event, or counts it as one of many."""

    def __call__(self, event: str, /, *, address: str, **fields: object) -> None:
        """Take the event with its fields."""


class Trust(Protocol):
    """What is known of certificates beyond a handshake."""

    def complete(self, peer: PeerCertificate) -> PeerCertificate:
        """Return the peer with all CAs above it, as they are now."""

    def object_to(self, peer: PeerCertificate) -> Objection | None:
        """Return why a peer whose chain was once verified is not accepted now, or None."""

    def saw(self, identity: ClientIdentity) -> None:
        """Note that a client has proved who it is."""


class Reception:
    """
    What every connection of one door shares.

    `record` is told of what was refused, `journal` of the rest.

    Attributes:
        door: the door's name in the settings.
        clock: tells seconds, whatever is done to the calendar.
        draining: whether the door is closing, and takes nothing new.

    """

    def __init__(
        self, door: str, intake: Intake, trust: Trust, journal: Journal, record: Record, clock: IReactorTime
    ) -> None:
        self.door = door
        self.clock = clock
        self.draining = False
        self._intake = intake
        self._trust = trust
        self._journal = journal
        self._record = record

    def identify(self, peer: PeerCertificate) -> ClientIdentity | Refusal:
        """Return the client that the certificate proves right now, which may change while a connection lives."""
        if peer.time_left(datetime.fromtimestamp(self._intake.wall(), UTC)) < timedelta(0):
            return Refusal(RefusalCode.CLIENT_UNKNOWN, "the client certificate has expired")
        objection = self._trust.object_to(peer)
        if objection is not None:
            code = RefusalCode.CERTIFICATE_REVOKED if objection.revoked else RefusalCode.CLIENT_UNKNOWN
            return Refusal(code, f"the client certificate is not accepted: {objection.reason}")
        return self._intake.identify(self._trust.complete(peer), self.door)

    def welcome(self, peer: PeerCertificate) -> ClientIdentity | Refusal:
        """Return the client of a connection that has just been made."""
        identity = self.identify(peer)
        if isinstance(identity, ClientIdentity):
            self._trust.saw(identity)
        return identity

    def tell_cut(self, peer: PeerCertificate, address: str, reason: str) -> None:
        """Tell the journal that a live connection ends because its client may not be here any more."""
        self._journal.record(
            "connection.cut",
            door=self.door,
            address=address,
            subject=peer.subject,
            serial=peer.serial,
            reason=reason,
        )

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

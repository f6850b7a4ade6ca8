"""What became of a message, per recipient and as a whole."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """The state of a message or of one of its recipients; the names of the HTTPS contract."""

    SCHEDULED = "scheduled"
    QUEUED = "queued"
    SENDING = "sending"
    DEFERRED = "deferred"
    ACCEPTED = "accepted"
    PARTIALLY_ACCEPTED = "partially_accepted"
    FAILED = "failed"
    EXPIRED = "expired"
    CANCELED = "canceled"

    @property
    def final(self) -> bool:
        """Whether nothing more will happen to it."""
        return self not in _OPEN


_OPEN = frozenset({Status.SCHEDULED, Status.QUEUED, Status.SENDING, Status.DEFERRED})


@dataclass(frozen=True, slots=True)
class Reply:
    """
    A reply of the internal server (RFC 5321 section 4.2), or of the gateway in its place.

    Attributes:
        code: three digits.
        enhanced: the enhanced status code of RFC 3463 (``5.1.1``), empty where the server gave none.
        text: printable text on one line; the enhanced code is not repeated in it.
        host: the upstream that said it; empty where the gateway itself did.

    """

    code: int
    enhanced: str
    text: str
    host: str = ""


@dataclass(frozen=True, slots=True)
class Outcome:
    """
    How one attempt ended for one recipient.

    Attributes:
        position: the recipient's place in the message, from 0.
        status: ``accepted``, ``deferred``, ``failed`` or ``expired``.
        reply: what decided it; None where there was no reply.

    """

    position: int
    status: Status
    reply: Reply | None


def message_status(recipients: Iterable[Status]) -> Status:
    """Return the status of a message whose recipients have the given ones (at least one)."""
    statuses = frozenset(recipients)
    for unfinished in (Status.SENDING, Status.DEFERRED, Status.QUEUED, Status.SCHEDULED):
        if unfinished in statuses:
            return unfinished
    if Status.ACCEPTED in statuses:
        return Status.ACCEPTED if len(statuses) == 1 else Status.PARTIALLY_ACCEPTED
    for bad in (Status.FAILED, Status.EXPIRED, Status.CANCELED):
        if bad in statuses:
            return bad
    raise ValueError("a message has at least one recipient")

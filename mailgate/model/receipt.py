"""What a client is told of a message that the gateway took."""

from collections.abc import Mapping
from dataclasses import dataclass

from mailgate.model.outcome import Reply, Status


@dataclass(frozen=True, slots=True)
class Receipt:
    """
    The gateway's word that a message is on disk.

    Attributes:
        id: the gateway's identifier.
        message_id: the Message-ID header, with angle brackets.
        status: the status at acceptance: queued or scheduled.
        created_at: seconds since the epoch.
        recipients: the envelope's recipients in order, as addr-specs.
        replayed: True where an earlier request with the same idempotency key had already stored it.

    """

    id: str
    message_id: str
    status: Status
    created_at: float
    recipients: tuple[str, ...]
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class DryRun:
    """
    What would have been queued, for a submission that asked not to be.

    Attributes:
        rule: the entry of ``[clients]`` that let it through.
        envelope_sender, recipients: as addr-specs.
        headers: the header fields as they would go to the upstream.
        size: octets of the composed message.

    """

    rule: str
    envelope_sender: str
    recipients: tuple[str, ...]
    headers: tuple[tuple[str, str], ...]
    size: int


@dataclass(frozen=True, slots=True)
class RecipientRecord:
    """One recipient of a stored message and what became of it; times in seconds since the epoch."""

    address: str
    status: Status
    updated_at: float
    reply: Reply | None = None


@dataclass(frozen=True, slots=True)
class MessageRecord:
    """
    A stored message as its owner may see it; times in seconds since the epoch.

    Attributes:
        id, message_id, created_at: as in its receipt.
        client: the client that owns it.
        status: the state now; `sending` while a delivery holds its lease.
        attempts: deliveries that were tried and settled.
        next_attempt_at: when it is due; None while an attempt is under way, and once it is final.
        expires_at: when the gateway gives up.
        recipients: in the envelope's order.
        metadata: the client's own labels.

    """

    id: str
    message_id: str
    client: str
    status: Status
    created_at: float
    attempts: int
    next_attempt_at: float | None
    expires_at: float
    recipients: tuple[RecipientRecord, ...]
    metadata: Mapping[str, str]

"""What the rest of the gateway may ask of a queue, whichever database stands behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from twisted.internet.defer import Deferred

from mailgate.model.outcome import Outcome
from mailgate.model.receipt import MessageRecord, Receipt


class QueueError(Exception):
    """The queue can't be opened or used; the text is one sentence that names the file or server."""


class IdempotencyKeyReusedError(Exception):
    """The client used this idempotency key before, for other content."""


class QuotaExceededError(Exception):
    """The client's quota is used up; `retry_after` is in seconds."""

    def __init__(self, retry_after: float) -> None:
        super().__init__(f"quota used up for another {retry_after:.0f} s")
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """
    The ``[queue]`` table.

    Attributes:
        url: an SQLAlchemy URL; ``sqlite:////absolute/path`` here.
        retention: seconds for which a finished message's record is kept.
        minimum_free_disk: share of the file system (0 to 1) below which nothing more is taken.

    """

    url: str
    retention: float = 7 * 86400.0
    minimum_free_disk: float = 0.05


@dataclass(frozen=True, slots=True)
class Quota:
    """At most `limit` messages in each window of `period` seconds."""

    limit: int
    period: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """
    A message to be stored; times in seconds since the epoch.

    Attributes:
        id, message_id, client, door, created_at, expires_at: as they will be told.
        due_at: when delivery may start; later than `created_at` for a scheduled message.
        sender: the envelope's sender as an addr-spec, domain in A-labels.
        recipients: the envelope's recipients likewise, each once.
        content: the message as it goes to the upstream, in canonical form.
        eight_bit, smtputf8: whether its transport needs 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531).
        idempotency_key: the client's key, or None.
        fingerprint: what a repeat under the same key must equal.
        metadata: the client's own labels.
        quota: checked and counted in the same transaction, or None.
        lease: whether the message is born leased to this gateway, because the caller delivers it at once.

    """

    id: str
    message_id: str
    client: str
    door: str
    created_at: float
    due_at: float
    expires_at: float
    sender: str
    recipients: tuple[str, ...]
    content: bytes
    eight_bit: bool
    smtputf8: bool
    fingerprint: str
    idempotency_key: str | None = None
    metadata: Mapping[str, str]
    quota: Quota | None = None
    lease: bool = False


@dataclass(frozen=True, slots=True)
class PendingRecipient:
    """A recipient without a final outcome, at its place in the message."""

    position: int
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """
    A message this gateway holds the lease of: nobody else delivers it until the lease ends.

    `attempts` counts the settled ones; `recipients` are those still without a final outcome.
    """

    id: str
    message_id: str
    client: str
    sender: str
    recipients: tuple[PendingRecipient, ...]
    content: bytes
    eight_bit: bool
    smtputf8: bool
    attempts: int
    created_at: float
    expires_at: float

    @classmethod
    def of(cls, message: NewMessage) -> "Claim":
        """Return the claim of a message that was just stored with its lease."""
        return cls(
            id=message.id,
            message_id=message.message_id,
            client=message.client,
            sender=message.sender,
            recipients=tuple(PendingRecipient(*pair) for pair in enumerate(message.recipients)),
            content=message.content,
            eight_bit=message.eight_bit,
            smtputf8=message.smtputf8,
            attempts=0,
            created_at=message.created_at,
            expires_at=message.expires_at,
        )


@dataclass(frozen=True, slots=True)
class Settlement:
    """
    The end of one attempt: an outcome for every recipient of the claim.

    `due_at` is when the deferred ones are tried again (seconds since the epoch), None if none is deferred.
    """

    id: str
    outcomes: tuple[Outcome, ...]
    settled_at: float
    due_at: float | None


class Queue(Protocol):
    """
    A durable queue.

    Every Deferred fails with QueueError where the database could not do it; then nothing of it was done.
    """

    def accept(self, message: NewMessage) -> Deferred[Receipt]:
        """
        Store the message; the Deferred fires only when it would survive a power cut.

        Many messages share one commit. Fails with IdempotencyKeyReusedError, or QuotaExceededError; a repeat
        of a stored key with the same fingerprint fires with the first receipt, `replayed`, and stores nothing.
        """

    def claim(self, limit: int, now: float) -> Deferred[Sequence[Claim]]:
        """Lease up to `limit` due messages to this gateway, the longest due first."""

    def settle(self, settlement: Settlement) -> Deferred[None]:
        """Record an attempt's outcome, end the lease, and drop the content once every outcome is final."""

    def renew(self, ids: Sequence[str], now: float) -> Deferred[None]:
        """Extend the leases that this gateway holds by a whole lease time."""

    def release(self, ids: Sequence[str], due_at: float) -> Deferred[None]:
        """Give leases back without an attempt being counted; the messages are due at `due_at`."""

    def next_due(self) -> Deferred[float | None]:
        """Return when the earliest message is due that nobody delivers now, or None."""

    def find(self, client: str, message: str) -> Deferred[MessageRecord | None]:
        """Return the client's own message of that id; None if there is none, or it is another client's."""

    def purge(self, now: float) -> Deferred[int]:
        """Forget finished messages and idempotency keys past the retention; return how many messages."""

    def close(self) -> Deferred[None]:
        """Finish what was begun, release every lease this gateway holds, and close the database."""

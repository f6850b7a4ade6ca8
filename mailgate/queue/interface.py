"""What the rest of the gateway may ask of a queue, whichever database stands behind it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from twisted.internet.defer import Deferred

from mailgate.model.outcome import Outcome, Status
from mailgate.model.receipt import MessageRecord, Receipt

LEASE_SECONDS = 30.0
"""How long a lease lasts from when it is taken or renewed; after that anyone may claim the message."""

LATE_SECONDS = LEASE_SECONDS / 2
"""After so long nobody acts on an answer of the queue that gives a lease: it may be over, and another's by now."""

KEY_SECONDS = 7 * 86400.0
"""How long an idempotency key is remembered at least, whatever the retention."""


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
        url: an SQLAlchemy URL: ``sqlite:////absolute/path`` or ``postgresql+psycopg://user@host/database``.
        retention: seconds for which a finished message's record is kept.
        minimum_free_disk: share of the file system (0 to 1) below which nothing more is taken.
        maximum_messages: how many messages without a final outcome may lie in it before nothing more is taken.
        maximum_age: seconds that one of them may have waited before nothing more is taken; None for any.

    """

    url: str = field(repr=False)
    retention: float = 7 * 86400.0
    minimum_free_disk: float = 0.05
    maximum_messages: int = 1_000_000
    maximum_age: float | None = None


@dataclass(frozen=True, slots=True)
class Quota:
    """
    At most `limit` messages in each window of `period` seconds.

    Windows are aligned to the epoch: a day's begins at 00:00 UTC. A message counts in the window of its
    `created_at`; one that is refused, and a repeat under a stored idempotency key, don't count.
    """

    limit: int
    period: float

    def __post_init__(self) -> None:
        if self.limit < 0 or self.period <= 0:
            raise ValueError("a quota's limit is not negative and its period lies above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """
    A message to be stored; times in seconds since the epoch.

    Attributes:
        id, message_id, client, door, created_at, scheduled_at, expires_at: as they will be told, of the calendar;
            `scheduled_at` is None for a message that needs not wait.
        due_at: when delivery may start, by the gateway's clock; only looked at with `scheduled_at`.
        sender: the envelope's sender as an addr-spec, domain in A-labels.
        recipients: the envelope's recipients likewise, each once.
        content: the message as it goes to the upstream, in canonical form.
        eight_bit, smtputf8: whether its transport needs 8BITMIME (RFC 6152), SMTPUTF8 (RFC 6531).
        idempotency_key: the client's key, or None.
        fingerprint: what a repeat under the same key must equal; not looked at without a key.
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
    scheduled_at: float | None = None
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

    `attempts` counts the settled ones; `recipients` are those still without a final outcome. `on_hold` tells that
    it isn't to be tried again by itself; `damaged` that the queue has lost its content.
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
    on_hold: bool = False
    damaged: bool = False

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
    The end of one attempt, or of a message that isn't tried any more: an outcome for every recipient of the claim.

    `settled_at` is of the calendar; `due_at` is when the deferred ones are tried again, by the gateway's clock,
    None if none is deferred. `tried` tells whether an attempt was made. `on_hold` keeps the deferred ones from
    being tried again: at `due_at` they expire.
    `notice` is a message that tells of the outcome, to be stored with it: without a key, a quota and a lease.
    """

    id: str
    outcomes: tuple[Outcome, ...]
    settled_at: float
    due_at: float | None
    tried: bool = True
    on_hold: bool = False
    notice: NewMessage | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """
    What lies in a queue without a final outcome.

    Attributes:
        messages: how many there are of each stored status: one that is being sent counts as what it was before.
        oldest_at: when delivery of the one that has waited longest might have begun, seconds since the epoch; None
            where nothing waits. What is scheduled doesn't yet, what is deferred not for the gateway's sake.

    """

    messages: Mapping[Status, int]
    oldest_at: float | None

    @property
    def depth(self) -> int:
        """All of them."""
        return sum(self.messages.values())


class Queue(Protocol):
    """
    A durable queue, called from the reactor's thread.

    Every Deferred fails with QueueError where the database could not do it; then nothing of it was done.
    A Deferred that fires tells of something that would survive a power cut. Calls that wait at the same time
    may be carried out in any order; whatever is called after a Deferred has fired sees what that one did.
    Cancelling a Deferred only stops the waiting, not the work. After `close` every other call fails.
    """

    def accept(self, message: NewMessage) -> Deferred[Receipt]:
        """
        Store the message; the Deferred fires only when it would survive a power cut.

        Many messages share one commit. Fails with IdempotencyKeyReusedError, or QuotaExceededError; a repeat
        of a stored key with the same fingerprint fires with the first receipt, `replayed`, and stores nothing.
        A key is remembered as long as its message's record, and at least KEY_SECONDS.
        """

    def claim(self, limit: int, now: float) -> Deferred[Sequence[Claim]]:
        """
        Lease up to `limit` due messages to this gateway for LEASE_SECONDS, one of each client in turn.

        The longest due of a client comes first. Fewer may come while more are due, where they or their contents
        would be very many. A message whose lease ran out is due again for everyone, this gateway included: who
        forgot to renew can meet it twice.
        """

    def settle(self, settlement: Settlement) -> Deferred[bool]:
        """
        Record an attempt's outcome, end the lease, and drop the content once every outcome is final.

        The settlement's notice is stored in the same transaction: either both are there or neither. Where it is
        found stored, this very settlement was recorded before, which fires with True.

        Fires with False, and records nothing, where this gateway no longer holds the lease (it ran out and
        was taken by another, or the message was settled before); with True otherwise. A lease that ran out but
        that nobody took still counts as held. Fails with QueueError where the outcomes are not of open
        recipients, or leave some open without a `due_at`.
        """

    def renew(self, ids: Sequence[str], now: float) -> Deferred[None]:
        """Make the leases among `ids` that this gateway still holds last LEASE_SECONDS from `now`."""

    def release(self, ids: Sequence[str], due_at: float) -> Deferred[None]:
        """
        Give leases back without an attempt being counted; the messages are due at `due_at`.

        Ids whose lease this gateway doesn't hold are left as they are.
        """

    def next_due(self) -> Deferred[float | None]:
        """
        Return when a claim can next find something; None if there is no unfinished message.

        That is when the earliest message is due, or the earliest lease ends unless it is renewed.
        """

    def find(self, client: str, message: str) -> Deferred[MessageRecord | None]:
        """Return the client's own message of that id; None if there is none, or it is another client's."""

    def find_by_key(self, client: str, key: str) -> Deferred[MessageRecord | None]:
        """Return the message that the client stored under this idempotency key; None if there is none."""

    def used(self, client: str, period: float, now: float) -> Deferred[int]:
        """Return how many messages count against a quota of that period in the window that holds `now`."""

    def survey(self) -> Deferred[Survey]:
        """Count what has no final outcome. Takes long where that is much, and keeps no other call waiting."""

    def purge(self, now: float) -> Deferred[int]:
        """
        Forget what finished longer ago than the retention, and quota windows that are over.

        Returns how many messages were forgotten. Works in small steps between which other calls get their turn.
        """

    def close(self) -> Deferred[None]:
        """
        Finish what was begun, release every lease this gateway holds, and close the database.

        Fails with QueueError where the leases couldn't be released; the database is closed all the same, and
        the messages are claimed again when the queue is next opened, or their leases end.
        """

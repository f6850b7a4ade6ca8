"""What the queue knows of a client's messages, told or refused in words for the client."""

from mailgate.intake.refusals import IN_PROGRESS, NOT_FOUND, STORAGE_UNAVAILABLE
from mailgate.model.defect import describe_defect
from mailgate.model.ids import is_id
from mailgate.model.journal import Journal
from mailgate.model.receipt import MessageRecord
from mailgate.model.refusal import Refusal
from mailgate.policy.rules import Rate
from mailgate.queue.interface import Queue, QueueError


class Records:
    """
    Reads the queue; what goes wrong is told to the journal, and is a refusal of the one who asked.

    Attributes:
        in_progress: the client and the idempotency key of each message on its way to the disk.

    """

    def __init__(self, queue: Queue, journal: Journal) -> None:
        self.in_progress: set[tuple[str, str | None]] = set()
        self._queue = queue
        self._journal = journal

    async def find(self, client: str, message: str) -> MessageRecord | Refusal:
        """Return a message of this client."""
        if not is_id(message):
            return NOT_FOUND
        try:
            return await self._queue.find(client, message) or NOT_FOUND
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is answered and may ask again
            return self.trouble(error)

    async def find_by_key(self, client: str, key: str) -> MessageRecord | Refusal:
        """Return the client's message of this idempotency key."""
        if (client, key) in self.in_progress:
            return IN_PROGRESS
        try:
            return await self._queue.find_by_key(client, key) or NOT_FOUND
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is answered and may ask again
            return self.trouble(error)

    async def unless_repeat(self, client: str, key: str | None, refusal: Refusal) -> Refusal | None:
        """Return the refusal of a message, or None where it repeats one of this key that was accepted before."""
        if key is None:
            return refusal
        found = await self.find_by_key(client, key)
        if isinstance(found, MessageRecord):
            return None
        return refusal if found is NOT_FOUND else found

    async def quota_left(self, client: str, quota: Rate, now: float) -> int | Refusal:
        """Return how many messages the client may still send within the quota's window."""
        try:
            used = await self._queue.used(client, quota.period, now)
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is answered and may ask again
            return self.trouble(error)
        return max(0, quota.count - used)

    def trouble(self, error: Exception) -> Refusal:
        """Return what the client is told of the queue's failure, once the journal knows of it."""
        # A defect is told like a broken disk: the client's next try may still succeed, and must be answered.
        reason = str(error) if isinstance(error, QueueError) else describe_defect(error)
        self._journal.record("queue.error", reason=reason)
        return STORAGE_UNAVAILABLE

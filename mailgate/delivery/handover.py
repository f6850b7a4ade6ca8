"""One message in as many mail transactions as the upstream's limits on recipients make of it, without I/O."""

from mailgate.delivery.attempt import Attempt
from mailgate.delivery.transaction import Stage, Transaction
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import Claim, PendingRecipient
from mailgate.wire.smtp.ehlo import Extensions
from mailgate.wire.smtp.replies import ServerReply


class Handover:
    """
    Carries one claim over a session with the given extensions; `host` is who its replies come from.

    Write what `start` returns and, for each reply, what `answer` returns, until `stage` is DONE; then `attempt`
    says how it ended. Recipients beyond what the server announces (RFC 9422), or refuses as too many (RFC 5321
    section 4.5.3.1.10), follow at once in another transaction, of which there are no more than `allowed` (None:
    any number). Each of them decides for at least one recipient, so there are never more than recipients.
    `interrupt` ends it when no more replies come.

    Attributes:
        answered: whether any reply came.
        transactions: how many were begun.

    """

    def __init__(self, claim: Claim, extensions: Extensions, host: str, allowed: int | None = None) -> None:
        self.answered = False
        self.transactions = 0
        self._claim = claim
        self._extensions = extensions
        self._host = host
        self._allowed = allowed
        self._left = list(claim.recipients)
        self._outcomes: dict[int, Outcome] = {}
        self._transaction = self._begin()

    @property
    def size(self) -> int:
        """The octets of the message."""
        return len(self._claim.content)

    @property
    def stage(self) -> Stage:
        """What the next reply answers."""
        return self._transaction.stage

    @property
    def bdat_failed(self) -> bool:
        """Whether BDAT had better not be used with this server again, though it offers it."""
        return self._transaction.bdat_failed

    @property
    def attempt(self) -> Attempt:
        """How it ended, once `stage` is DONE."""
        return Attempt(
            outcomes=tuple(self._outcomes[recipient.position] for recipient in self._claim.recipients),
            unknown=self._transaction.unknown,
            trouble=self._transaction.trouble,
        )

    def start(self) -> bytes:
        """Return the first octets; none, with `stage` DONE, where this server can't take the message at all."""
        return self._follow(self._transaction.start())

    def answer(self, reply: ServerReply) -> bytes:
        """Take the next reply and return what to send; raises ReplyError for one that has no place there."""
        self.answered = True
        octets = self._transaction.answer(reply)
        return self._follow(b"") if self.stage is Stage.DONE else octets

    def withhold(self) -> None:
        """Take note that the octets which were returned last are not sent; only `interrupt` may follow."""
        self._transaction.withhold()

    def interrupt(self, reason: str) -> None:
        """End it because the connection is of no more use; who has no outcome is deferred."""
        self._transaction.interrupt(reason)
        self._follow(b"")

    def _begin(self) -> Transaction:
        batch = self._batch()
        self._left = self._left[len(batch) :]
        again = self.transactions > 0
        return Transaction(self._claim, tuple(batch), self._extensions, self._host, again=again)

    def _follow(self, octets: bytes) -> bytes:
        """Count a transaction that begins with `octets`, or see to what follows one that is over."""
        while self.stage is Stage.DONE:
            self._outcomes |= self._transaction.outcomes
            if not self._goes_on():
                return b""
            self._transaction = self._begin()
            octets = self._transaction.start()
        self.transactions += 1
        return octets

    def _goes_on(self) -> bool:
        """Tell whether another transaction may help those left over; where it may not, decide for them."""
        ended = self._transaction
        obstacle = ended.obstacle
        if obstacle is None and self._allowed is not None and self.transactions >= self._allowed:
            no_more = Reply(452, "4.5.3", "the server takes no more transactions over this connection")
            obstacle = (Status.DEFERRED, no_more)
        if obstacle is None:
            self._left = [*ended.postponed, *self._left]
            return bool(self._left)
        status, reply = obstacle
        for recipient in self._left:
            self._outcomes[recipient.position] = Outcome(recipient.position, status, reply)
        return False

    def _batch(self) -> list[PendingRecipient]:
        """Return as many of those left as the server takes at once, in their order."""
        return self._left[: self._extensions.most_recipients]

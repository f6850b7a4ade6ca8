"""Decide, commit, hand over: the way of every submission past its door."""

from collections.abc import Callable
from math import inf

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime

from mailgate.intake.rates import RateKeeper, Rates
from mailgate.intake.records import Records
from mailgate.intake.refusals import (
    DRAINING,
    IN_PROGRESS,
    KEY_REUSED,
    UNKNOWN,
    quota_exceeded,
    rate_limited,
    too_late,
)
from mailgate.intake.values import Admission, Handover, Limits, Origin, Standing
from mailgate.intake.waiting import Attempts
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.ids import new_id
from mailgate.model.journal import Journal
from mailgate.model.outcome import Status
from mailgate.model.receipt import DryRun, MessageRecord, Receipt
from mailgate.model.refusal import Refusal
from mailgate.model.submission import Outline, Parties, Submission
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.decide import decide
from mailgate.policy.rules import ClientRules
from mailgate.queue.interface import (
    LATE_SECONDS,
    Claim,
    IdempotencyKeyReusedError,
    NewMessage,
    Queue,
    Quota,
    QuotaExceededError,
)
from mailgate.wire.mime import Trace, header_fields, stamp


class Intake:
    """
    Decides on submissions and puts what is allowed on disk.

    Attributes:
        directory, limits: read afresh for every request; replacing them is a reload.
        wall: tells the calendar's seconds since the epoch, for all doors.
        rates: what is left of each client's rate; other processes may take from it too.
        look_seconds: how often a request that waits for an attempt looks into the queue by itself, where another
            process may be the one that makes it.

    """

    def __init__(
        self,
        *,
        hostname: str,
        directory: ClientDirectory,
        limits: Limits,
        queue: Queue,
        handover: Handover,
        admission: Admission,
        journal: Journal,
        clock: IReactorTime,
        wall: Callable[[], float],
    ) -> None:
        self.directory = directory
        self.limits = limits
        self.wall = wall
        self._hostname = hostname
        self._queue = queue
        self._handover = handover
        self._admission = admission
        self._journal = journal
        self._clock = clock
        self._draining = False
        self.rates: RateKeeper = Rates()
        self.look_seconds = inf
        self._attempts = Attempts(clock)
        self._records = Records(queue, journal)

    @property
    def draining(self) -> bool:
        """Whether every further submission is refused."""
        return self._draining

    def drain(self) -> None:
        """Refuse every further submission; those under way go on."""
        self._draining = True

    def identify(self, certificate: PeerCertificate, door: str) -> ClientIdentity | Refusal:
        """Return which client the certificate proves, if it may use the door."""
        return self.directory.identify(certificate, door)

    def max_message(self, identity: ClientIdentity) -> int:
        """Return the octets that this client's composed message may have."""
        rules = self.directory.rules(identity.label)
        own = None if rules is None else rules.max_message
        return self.limits.max_message if own is None else min(own, self.limits.max_message)

    def submit(
        self, identity: ClientIdentity, submission: Submission, origin: Origin
    ) -> Deferred[Receipt | DryRun | Refusal]:
        """
        Decide on a submission, and fire once it is durable or refused.

        The Deferred never fails; cancelling it only stops the waiting, not what has begun.
        """
        now = self.wall()
        rules = self.directory.rules(identity.label)
        if self._draining or rules is None:
            return succeed(self._refused(identity, origin, DRAINING if self._draining else UNKNOWN))
        message = self._compose(identity, rules, submission, origin, now)
        refusal = self._judge(rules, submission.parties, len(message.content))
        if refusal is not None:
            return succeed(self._refused(identity, origin, refusal))
        hurdle = too_late(submission.scheduled_at, submission.expires_at, now) or self._admission()
        if submission.dry_run:
            return succeed(_dry_run(rules, message) if hurdle is None else self._refused(identity, origin, hurdle))
        hurdle = hurdle or self._take(identity, rules)
        # Cancelled itself, the storing would tell of a refusal, and nobody would deliver what is stored after all.
        answer: Deferred[Receipt | DryRun | Refusal] = Deferred()
        Deferred.fromCoroutine(self._store(identity, rules, message, origin, hurdle)).addBoth(answer.callback)
        return answer

    def check(self, identity: ClientIdentity, outline: Outline) -> Deferred[Refusal | None]:
        """
        Tell what `submit` would refuse of a message that is still being written, or None.

        Nothing is stored and nothing is taken from a rate or quota, but one that is used up is told.
        """
        return Deferred.fromCoroutine(self._check(identity, outline))

    def find_by_key(self, identity: ClientIdentity, key: str) -> Deferred[MessageRecord | Refusal]:
        """
        Return the client's message of this idempotency key.

        Refusals: `idempotency_in_progress` while it is on its way to the disk; `not_found`.
        """
        return Deferred.fromCoroutine(self._records.find_by_key(identity.client, key))

    def find(self, identity: ClientIdentity, message: str) -> Deferred[MessageRecord | Refusal]:
        """Return the client's own message, or the refusal `not_found`; another client's is not found either."""
        return Deferred.fromCoroutine(self._records.find(identity.client, message))

    def wait(self, identity: ClientIdentity, message: str, seconds: float) -> Deferred[MessageRecord | Refusal]:
        """
        Return the message as `find` does, once an attempt of it has ended or after so many seconds.

        Fires at once for a message that was attempted before.
        """
        return Deferred.fromCoroutine(self._wait(identity, message, seconds))

    def settled(self, message: str) -> None:
        """Hear from delivery that an attempt of the message has ended and is on disk."""
        self._attempts.ended(message)

    def describe(self, identity: ClientIdentity) -> Deferred[Standing | Refusal]:
        """Return the client's rules and what is left of its rate and quota."""
        return Deferred.fromCoroutine(self._describe(identity))

    def _judge(self, rules: ClientRules, parties: Parties, size: int) -> Refusal | None:
        return decide(rules, parties, size=size, max_message=self.limits.max_message)

    async def _check(self, identity: ClientIdentity, outline: Outline) -> Refusal | None:
        rules = self.directory.rules(identity.label)
        if self._draining or rules is None:
            return DRAINING if self._draining else UNKNOWN
        refusal = self._judge(rules, outline.parties, outline.size)
        if refusal is not None:
            return refusal
        now = self.wall()
        hurdle = too_late(outline.scheduled_at, outline.expires_at, now) or self._admission()
        hurdle = hurdle or self._rate_used_up(identity, rules)
        hurdle = hurdle or await self._quota_used_up(identity, rules, now)
        return hurdle and await self._records.unless_repeat(identity.client, outline.idempotency_key, hurdle)

    def _rate_used_up(self, identity: ClientIdentity, rules: ClientRules) -> Refusal | None:
        if rules.rate is None:
            return None
        wait = self.rates.wait(identity.client, rules.rate, self._clock.seconds())
        return rate_limited(rules.rate, wait) if wait else None

    async def _quota_used_up(self, identity: ClientIdentity, rules: ClientRules, now: float) -> Refusal | None:
        if rules.quota is None:
            return None
        left = await self._records.quota_left(identity.client, rules.quota, now)
        if isinstance(left, Refusal):
            return left
        return None if left else quota_exceeded(rules.quota.period - now % rules.quota.period)

    async def _describe(self, identity: ClientIdentity) -> Standing | Refusal:
        rules = self.directory.rules(identity.label)
        if rules is None:
            return UNKNOWN
        rate = None
        if rules.rate is not None:
            rate = self.rates.left(identity.client, rules.rate, self._clock.seconds())
        quota = None
        if rules.quota is not None:
            quota = await self._records.quota_left(identity.client, rules.quota, self.wall())
        if isinstance(quota, Refusal):
            return quota
        return Standing({**rules.describe(), "max_message": self.max_message(identity)}, rate, quota)

    async def _wait(self, identity: ClientIdentity, message: str, seconds: float) -> MessageRecord | Refusal:
        ends_at = self._clock.seconds() + seconds
        while True:
            left = max(0.0, ends_at - self._clock.seconds())
            # Waiting starts before the look-up, or an attempt that ends meanwhile would be missed.
            ended = self._attempts.wait(message, min(left, self.look_seconds))
            record = await self.find(identity, message)
            if isinstance(record, Refusal) or record.attempts or record.status.final or not left:
                ended.cancel()
                return record
            await ended

    def _compose(
        self, identity: ClientIdentity, rules: ClientRules, submission: Submission, origin: Origin, now: float
    ) -> NewMessage:
        identifier = new_id(now)
        message_id = submission.message_id or f"<{identifier}@{self._hostname}>"
        scheduled_at = submission.scheduled_at
        if scheduled_at is not None and scheduled_at <= now:
            scheduled_at = None
        content = stamp(
            submission.content,
            trace=Trace(
                hostname=self._hostname,
                client=identity.client,
                protocol=origin.protocol,
                address=origin.address,
                id=identifier,
                time=now,
            ),
            message_id=None if submission.message_id else message_id,
            date=None if submission.has_date else now,
        )
        quota = rules.quota
        return NewMessage(
            id=identifier,
            message_id=message_id,
            client=identity.client,
            door=origin.door,
            created_at=now,
            scheduled_at=scheduled_at,
            due_at=self._clock.seconds() + (0.0 if scheduled_at is None else scheduled_at - now),
            expires_at=submission.expires_at or (scheduled_at or now) + self.limits.give_up_after,
            sender=str(submission.envelope.sender),
            recipients=tuple(str(recipient.address) for recipient in submission.envelope.recipients),
            content=content,
            eight_bit=submission.eight_bit,
            smtputf8=submission.needs_smtputf8,
            # Only a key makes it worth going through the whole content once more.
            fingerprint="" if submission.idempotency_key is None else submission.fingerprint,
            idempotency_key=submission.idempotency_key,
            metadata=submission.metadata,
            quota=None if quota is None else Quota(quota.count, quota.period),
            lease=scheduled_at is None and self._handover.has_room(identity.client, len(content)),
        )

    def _take(self, identity: ClientIdentity, rules: ClientRules) -> Refusal | None:
        if rules.rate is None:
            return None
        wait = self.rates.take(identity.client, rules.rate, self._clock.seconds())
        return rate_limited(rules.rate, wait) if wait else None

    async def _store(
        self,
        identity: ClientIdentity,
        rules: ClientRules,
        message: NewMessage,
        origin: Origin,
        hurdle: Refusal | None,
    ) -> Receipt | DryRun | Refusal:
        key = identity.client, message.idempotency_key
        refusal = hurdle and await self._records.unless_repeat(*key, hurdle)
        if refusal is not None:
            return self._refused(identity, origin, refusal)
        if key in self._records.in_progress:
            return self._refused(identity, origin, IN_PROGRESS)
        if message.idempotency_key is not None:
            self._records.in_progress.add(key)
        try:
            receipt = await self._queue.accept(message)
        except IdempotencyKeyReusedError:
            return self._refused(identity, origin, KEY_REUSED)
        except QuotaExceededError as error:
            return self._refused(identity, origin, quota_exceeded(error.retry_after))
        except Exception as error:  # noqa: BLE001 - whatever it was, the client is answered and may try again
            return self._refused(identity, origin, self._records.trouble(error))
        finally:
            self._records.in_progress.discard(key)
        self._journal_acceptance(message, receipt, origin)
        if not receipt.replayed:
            self._hand_over(message)
        elif hurdle is None and rules.rate is not None:
            self.rates.give_back(identity.client, rules.rate, self._clock.seconds())
        return receipt

    def _hand_over(self, message: NewMessage) -> None:
        if not message.lease:
            self._handover.wake()
        elif self._clock.seconds() - message.due_at < LATE_SECONDS:
            self._handover.deliver(Claim.of(message))
        # After a commit that took longer, whoever claims it next delivers it.

    def _journal_acceptance(self, message: NewMessage, receipt: Receipt, origin: Origin) -> None:
        self._journal.record(
            "message.replayed" if receipt.replayed else "message.accepted",
            message=receipt.id,
            client=message.client,
            door=origin.door,
            address=origin.address,
            request=origin.request_id,
            sender=message.sender,
            recipients=len(message.recipients),
            message_id=receipt.message_id,
            size=len(message.content),
            scheduled=receipt.status is Status.SCHEDULED or None,
        )

    def _refused(self, identity: ClientIdentity, origin: Origin, refusal: Refusal) -> Refusal:
        """Return the refusal, once the journal knows of it."""
        self._journal.record(
            "message.refused",
            client=identity.client,
            door=origin.door,
            address=origin.address,
            request=origin.request_id,
            reason=refusal.code.value,
            detail=refusal.detail,
        )
        return refusal


def _dry_run(rules: ClientRules, message: NewMessage) -> DryRun:
    return DryRun(
        rule=rules.label,
        envelope_sender=message.sender,
        recipients=message.recipients,
        headers=header_fields(message.content),
        size=len(message.content),
    )

"""What the HTTPS door answers, as JSON: these types both render an answer and describe it."""

from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec
from msgspec import Struct

from mailgate.model.identity import ClientIdentity
from mailgate.model.outcome import Reply, Status
from mailgate.model.receipt import DryRun, MessageRecord, Receipt, RecipientRecord
from mailgate.wire.address import display

_CANCELABLE = frozenset({Status.SCHEDULED, Status.QUEUED, Status.DEFERRED})
_DAY = 86400.0
_LAST = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()


class RecipientAnswer(Struct, frozen=True):
    """A recipient at acceptance."""

    email: str
    status: Status


class ReceiptAnswer(Struct, frozen=True):
    """A message that was taken."""

    id: str
    message_id: str
    status: Status
    created_at: str
    recipients: list[RecipientAnswer]


class ReplyAnswer(Struct, frozen=True):
    """What the internal server said; null where it gave no enhanced code, or the gateway itself said it."""

    code: int
    enhanced_code: str | None
    text: str
    host: str | None


class RecipientState(Struct, frozen=True):
    """A recipient and what became of it; `smtp` is null while nobody has answered."""

    email: str
    status: Status
    updated_at: str
    smtp: ReplyAnswer | None


class RecordAnswer(Struct, frozen=True):
    """A stored message; `next_attempt_at` is null once nothing more will be tried."""

    id: str
    message_id: str
    status: Status
    created_at: str
    attempts: int
    next_attempt_at: str | None
    expires_at: str
    cancelable: bool
    recipients: list[RecipientState]
    metadata: Mapping[str, str]


class EnvelopeAnswer(Struct, frozen=True):
    """The SMTP envelope that a message would have travelled in."""

    mail_from: str
    rcpt_to: list[str]


class HeaderAnswer(Struct, frozen=True):
    """A header field as it would have gone to the internal server."""

    name: str
    value: str


class DryRunAnswer(Struct, frozen=True):
    """What would have been queued, the entry of the rules that lets it through, and its size in octets."""

    status: str
    rule: str
    envelope: EnvelopeAnswer
    headers: list[HeaderAnswer]
    size: int


class CertificateAnswer(Struct, frozen=True):
    """The certificate that a client showed."""

    subject: str
    sans: list[str]
    fingerprint: str
    serial: str
    not_before: str
    not_after: str
    days_left: int


class RemainingAnswer(Struct, frozen=True):
    """How many more messages the rules take now; null for any number."""

    rate: int | None
    quota: int | None


class WhoamiAnswer(Struct, frozen=True):
    """Who the gateway takes a client for, and what it grants it."""

    client: str
    door: str
    certificate: CertificateAnswer
    rules: Mapping[str, object]
    remaining: RemainingAnswer


def rfc3339(seconds: float) -> str:
    """
    Return the time in UTC with its Z; whole seconds without a fraction, others with microseconds.

    What lies beyond the year 9999, which RFC 3339 ends with, is told as its end.
    """
    return _rfc3339(datetime.fromtimestamp(min(seconds, _LAST), UTC))


def render_receipt(receipt: Receipt) -> bytes:
    """Return the answer to a submission that was taken."""
    return msgspec.json.encode(
        ReceiptAnswer(
            receipt.id,
            receipt.message_id,
            receipt.status,
            rfc3339(receipt.created_at),
            [RecipientAnswer(display(address), receipt.status) for address in receipt.recipients],
        )
    )


def render_record(record: MessageRecord, now: float) -> bytes:
    """Return the state of a message at `now`; one whose scheduled time has come counts as queued."""
    due = record.next_attempt_at is not None and record.next_attempt_at <= now
    return msgspec.json.encode(
        RecordAnswer(
            id=record.id,
            message_id=record.message_id,
            status=_current(record.status, due=due),
            created_at=rfc3339(record.created_at),
            attempts=record.attempts,
            next_attempt_at=None if record.next_attempt_at is None else rfc3339(record.next_attempt_at),
            expires_at=rfc3339(record.expires_at),
            cancelable=record.status in _CANCELABLE,
            recipients=[_recipient(each, due=due) for each in record.recipients],
            metadata=record.metadata,
        )
    )


def render_dry_run(dry_run: DryRun) -> bytes:
    """Return the answer to a submission that asked not to be queued and would have been."""
    return msgspec.json.encode(
        DryRunAnswer(
            status="dry_run",
            rule=dry_run.rule,
            envelope=EnvelopeAnswer(
                display(dry_run.envelope_sender), [display(address) for address in dry_run.recipients]
            ),
            headers=[HeaderAnswer(name, value) for name, value in dry_run.headers],
            size=dry_run.size,
        )
    )


def render_whoami(
    identity: ClientIdentity,
    *,
    door: str,
    rules: Mapping[str, object],
    rate: int | None,
    quota: int | None,
    now: float,
) -> bytes:
    """
    Return what a client may know of itself.

    `rules` holds plain values; `rate` and `quota` are what is left of them, None for no limit. The days left
    are whole ones, negative once the certificate has expired.
    """
    certificate = identity.certificate
    left = certificate.time_left(datetime.fromtimestamp(now, UTC))
    return msgspec.json.encode(
        WhoamiAnswer(
            client=identity.client,
            door=door,
            certificate=CertificateAnswer(
                subject=certificate.subject,
                sans=list(certificate.names),
                fingerprint=certificate.fingerprint,
                serial=certificate.serial,
                not_before=_rfc3339(certificate.not_before),
                not_after=_rfc3339(certificate.not_after),
                days_left=int(left.total_seconds() // _DAY),
            ),
            rules=rules,
            remaining=RemainingAnswer(rate, quota),
        )
    )


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def _current(status: Status, *, due: bool) -> Status:
    return Status.QUEUED if due and status is Status.SCHEDULED else status


def _recipient(record: RecipientRecord, *, due: bool) -> RecipientState:
    return RecipientState(
        email=display(record.address),
        status=_current(record.status, due=due),
        updated_at=rfc3339(record.updated_at),
        smtp=None if record.reply is None else _reply(record.reply),
    )


def _reply(reply: Reply) -> ReplyAnswer:
    return ReplyAnswer(reply.code, reply.enhanced or None, reply.text, reply.host or None)

"""The message as the HTTPS door takes it: these types both decode a request and describe it."""

from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, Struct, field

Base64 = Annotated[str, Meta(extra_json_schema={"contentEncoding": "base64"})]
Moment = Annotated[datetime, Meta(tz=True)]


class MailboxObject(Struct, forbid_unknown_fields=True, frozen=True):
    """A mailbox in parts."""

    email: str
    name: str | None = None


MailboxForm = str | MailboxObject
MailboxForms = str | MailboxObject | list[str | MailboxObject]


class AttachmentObject(Struct, forbid_unknown_fields=True, frozen=True):
    """A file that goes with the message."""

    filename: str
    content: Base64
    content_type: str | None = None
    content_id: str | None = None
    disposition: Literal["attachment", "inline"] | None = None


class EnvelopeObject(Struct, forbid_unknown_fields=True, frozen=True):
    """The SMTP envelope, where it differs from the header."""

    mail_from: str | None = None
    rcpt_to: list[str] | None = None


class MessageRequest(Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A message to send; null stands for what is left out."""

    from_: MailboxForm = field(name="from")
    to: MailboxForms | None = None
    cc: MailboxForms | None = None
    bcc: MailboxForms | None = None
    reply_to: MailboxForms | None = None
    subject: str | None = None
    text: str | None = None
    html: str | None = None
    headers: dict[str, str] | None = None
    attachments: list[AttachmentObject] | None = None
    metadata: dict[str, str] | None = None
    scheduled_at: Moment | None = None
    expires_at: Moment | None = None
    envelope: EnvelopeObject | None = None
    dry_run: bool = False


def member_count(request: MessageRequest) -> int:
    """Return how many members the JSON objects of a request have at least: those that aren't at their default."""
    return sum(_counts(request))


def _counts(request: MessageRequest) -> Iterator[int]:
    for form in (request.from_, request.to, request.cc, request.bcc, request.reply_to):
        if form is not None:
            yield 1 + _mailbox_members(form)
    for text in (request.subject, request.text, request.html, request.scheduled_at, request.expires_at):
        yield text is not None
    for labels in (request.headers, request.metadata):
        if labels is not None:
            yield 1 + len(labels)
    if request.attachments is not None:
        yield 1
        for each in request.attachments:
            yield 2 + sum(x is not None for x in (each.content_type, each.content_id, each.disposition))
    if request.envelope is not None:
        yield 1 + (request.envelope.mail_from is not None) + (request.envelope.rcpt_to is not None)
    yield request.dry_run


def _mailbox_members(form: MailboxForms) -> int:
    if isinstance(form, str):
        return 0
    if isinstance(form, list):
        return sum(map(_mailbox_members, form))
    return 1 + (form.name is not None)

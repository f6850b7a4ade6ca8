"""Check what a well-shaped request says, and make of it the parts of a submission."""

from collections.abc import Sequence
from datetime import datetime
from math import inf

from mailgate.model.address import Mailbox
from mailgate.model.refusal import FaultCode
from mailgate.model.submission import Envelope, Recipient
from mailgate.wire.checks import (
    check_address,
    check_labels,
    check_mailbox,
    check_name,
    check_recipients,
    check_subject,
    check_times,
    each_once,
    too_many_recipients,
)
from mailgate.wire.faults import Faults, escape_pointer
from mailgate.wire.headers import check_headers
from mailgate.wire.json.attachments import check_attachments
from mailgate.wire.json.schema import MailboxForm, MailboxForms, MessageRequest
from mailgate.wire.mime.compose import Draft

Place = tuple[str, Mailbox]


def check(
    request: MessageRequest, faults: Faults, *, now: float, repeatable: bool, max_recipients: int
) -> tuple[Draft, Envelope] | None:
    """
    Note every fault of a request that its shape doesn't show; return its draft and envelope if there is none.

    `faults` may hold the faults of its shape; then nothing is returned either. A `repeatable` request without
    other faults may be the repeat of one that came in time, so that whoever knows those looks at the clock.
    """
    checker = _Checker(faults, max_recipients)
    author = checker.mailbox(request.from_, "/from")
    to = checker.recipients(request.to, "/to")
    cc = checker.recipients(request.cc, "/cc")
    bcc = checker.recipients(request.bcc, "/bcc")
    reply_to = checker.mailboxes(request.reply_to, "/reply_to")
    if request.subject is not None:
        check_subject(request.subject, faults)
    _check_bodies(request.text, request.html, faults)
    headers = request.headers or {}
    for name, (code, detail) in check_headers(headers, has_subject=request.subject is not None):
        faults.add(f"/headers/{escape_pointer(name)}", code, detail)
    attachments = check_attachments(request.attachments or (), faults)
    check_labels(request.metadata or {}, faults)
    sender, sender_source = None if author is None else author.address, "/from"
    rcpt_to = None
    if request.envelope is not None:
        if request.envelope.mail_from is not None:
            sender_source = "/envelope/mail_from"
            sender = check_address(request.envelope.mail_from, sender_source, faults)
        rcpt_to = checker.rcpt_to(request.envelope.rcpt_to)
    recipients = each_once((place, mailbox.address) for place, mailbox in (*to, *cc, *bcc))
    if rcpt_to is not None:
        recipients = rcpt_to
    elif not checker.recipients_given:
        faults.add("/to", FaultCode.REQUIRED, "name at least one recipient in to, cc or bcc")
    clock = -inf if repeatable and not faults else now
    check_times(seconds(request.scheduled_at), seconds(request.expires_at), clock, faults)
    if faults or author is None or sender is None:
        return None
    draft = Draft(
        author=author,
        to=[mailbox for _, mailbox in to],
        cc=[mailbox for _, mailbox in cc],
        reply_to=[mailbox for _, mailbox in reply_to],
        subject=request.subject,
        headers=list(headers.items()),
        text=request.text,
        html=request.html,
        attachments=attachments,
    )
    return draft, Envelope(sender, recipients, sender_source)


def seconds(moment: datetime | None) -> float | None:
    """Return a time as seconds since the epoch."""
    return None if moment is None else moment.timestamp()


def _check_bodies(text: str | None, html: str | None, faults: Faults) -> None:
    if text is None and html is None:
        faults.add("/text", FaultCode.REQUIRED, "give at least one of text and html")
    for pointer, body in (("/text", text), ("/html", html)):
        if body is not None and "\0" in body:
            faults.add(pointer, FaultCode.CONTROL_CHARACTER, "mail can't carry a NUL")


class _Checker:
    """Turns parts of one request into values, or into faults."""

    def __init__(self, faults: Faults, max_recipients: int) -> None:
        self._faults = faults
        self._max_recipients = max_recipients
        self.recipients_given = 0

    def recipients(self, forms: MailboxForms | None, pointer: str) -> list[Place]:
        """Return the mailboxes of a recipient field, all of which count against the limit."""
        before = self.recipients_given
        self.recipients_given += len(forms) if isinstance(forms, list) else forms is not None
        if before <= self._max_recipients < self.recipients_given:
            too_many_recipients(self._max_recipients, pointer, self._faults)
        return self._places(forms, pointer) if self.recipients_given <= self._max_recipients else []

    def mailboxes(self, forms: MailboxForms | None, pointer: str) -> list[Place]:
        """Return the mailboxes of any other address field."""
        if isinstance(forms, list) and len(forms) > self._max_recipients:
            self._faults.add(pointer, FaultCode.TOO_MANY, f"at most {self._max_recipients} addresses here")
            return []
        return self._places(forms, pointer)

    def mailbox(self, form: MailboxForm, pointer: str) -> Mailbox | None:
        """Return one mailbox, or None where it is faulty."""
        if isinstance(form, str):
            return check_mailbox(form, pointer, self._faults)
        address = check_address(form.email, f"{pointer}/email", self._faults)
        name = check_name(form.name or "", f"{pointer}/name", self._faults)
        return None if address is None or name is None else Mailbox(address, name)

    def rcpt_to(self, texts: Sequence[str] | None) -> tuple[Recipient, ...] | None:
        """Return the envelope's own recipients with their places; None if it has none."""
        if texts is None:
            return None
        pointer = "/envelope/rcpt_to"
        if not texts:
            self._faults.add(pointer, FaultCode.REQUIRED, "name at least one recipient, or leave the field out")
        if len(texts) > self._max_recipients:
            too_many_recipients(self._max_recipients, pointer, self._faults)
            return ()
        return check_recipients(((f"{pointer}/{at}", text) for at, text in enumerate(texts)), self._faults)

    def _places(self, forms: MailboxForms | None, pointer: str) -> list[Place]:
        if forms is None:
            return []
        if not isinstance(forms, list):
            mailbox = self.mailbox(forms, pointer)
            return [(pointer, mailbox)] if mailbox else []
        named = [(f"{pointer}/{at}", self.mailbox(form, f"{pointer}/{at}")) for at, form in enumerate(forms)]
        return [(place, mailbox) for place, mailbox in named if mailbox is not None]

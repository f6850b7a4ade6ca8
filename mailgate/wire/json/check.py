"""Check what a well-shaped request says, and make of it the parts of a submission."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from mailgate.model.address import Address, Mailbox
from mailgate.model.refusal import FaultCode
from mailgate.model.submission import Envelope, Recipient
from mailgate.wire.address import MAX_TEXT, parse_address, parse_mailbox, parse_name
from mailgate.wire.faults import Faults, escape_pointer
from mailgate.wire.headers import check_headers
from mailgate.wire.json.attachments import check_attachments
from mailgate.wire.json.schema import MailboxForm, MailboxForms, MessageRequest
from mailgate.wire.mime.compose import Draft

MAX_SUBJECT = 2000
MAX_LABELS = 50
MAX_LABEL_NAME = 64
MAX_LABEL_VALUE = 1024

Place = tuple[str, Mailbox]


def check(
    request: MessageRequest, faults: Faults, *, now: float, max_recipients: int
) -> tuple[Draft, Envelope] | None:
    """
    Note every fault of a request that its shape doesn't show; return its draft and envelope if there is none.

    `faults` may hold the faults of its shape; then nothing is returned either.
    """
    checker = _Checker(faults, max_recipients)
    author = checker.mailbox(request.from_, "/from")
    to = checker.recipients(request.to, "/to")
    cc = checker.recipients(request.cc, "/cc")
    bcc = checker.recipients(request.bcc, "/bcc")
    reply_to = checker.mailboxes(request.reply_to, "/reply_to")
    _check_subject(request.subject, faults)
    _check_bodies(request.text, request.html, faults)
    headers = request.headers or {}
    for name, (code, detail) in check_headers(headers, has_subject=request.subject is not None):
        faults.add(f"/headers/{escape_pointer(name)}", code, detail)
    attachments = check_attachments(request.attachments or (), faults)
    _check_labels(request.metadata or {}, faults)
    _check_times(request.scheduled_at, request.expires_at, now, faults)
    sender, sender_source = None if author is None else author.address, "/from"
    rcpt_to = None
    if request.envelope is not None:
        if request.envelope.mail_from is not None:
            sender_source = "/envelope/mail_from"
            sender = checker.address(request.envelope.mail_from, sender_source)
        rcpt_to = checker.rcpt_to(request.envelope.rcpt_to)
    recipients = _once((place, mailbox.address) for place, mailbox in (*to, *cc, *bcc))
    if rcpt_to is not None:
        recipients = _once(rcpt_to)
    elif not checker.recipients_given:
        faults.add("/to", FaultCode.REQUIRED, "name at least one recipient in to, cc or bcc")
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


def _once(named: Iterable[tuple[str, Address]]) -> tuple[Recipient, ...]:
    first: dict[Address, str] = {}
    for place, address in named:
        first.setdefault(address, place)
    return tuple(Recipient(address, place) for address, place in first.items())


def _check_subject(subject: str | None, faults: Faults) -> None:
    if subject is None:
        return
    if len(subject) > MAX_SUBJECT:
        faults.add("/subject", FaultCode.TOO_LONG, f"the subject has at most {MAX_SUBJECT} characters")
    else:
        faults.control(subject, "/subject", "the subject")


def _check_bodies(text: str | None, html: str | None, faults: Faults) -> None:
    if text is None and html is None:
        faults.add("/text", FaultCode.REQUIRED, "give at least one of text and html")
    for pointer, body in (("/text", text), ("/html", html)):
        if body is not None and "\0" in body:
            faults.add(pointer, FaultCode.CONTROL_CHARACTER, "mail can't carry a NUL")


def _check_labels(metadata: Mapping[str, str], faults: Faults) -> None:
    if len(metadata) > MAX_LABELS:
        faults.add("/metadata", FaultCode.TOO_MANY, f"a message has at most {MAX_LABELS} labels")
        return
    for name, value in metadata.items():
        pointer = f"/metadata/{escape_pointer(name)}"
        if len(name) > MAX_LABEL_NAME:
            faults.add(pointer, FaultCode.TOO_LONG, f"a label's name has at most {MAX_LABEL_NAME} characters")
        elif len(value) > MAX_LABEL_VALUE:
            faults.add(pointer, FaultCode.TOO_LONG, f"a label has at most {MAX_LABEL_VALUE} characters")
        elif not name:
            faults.add(pointer, FaultCode.REQUIRED, "a label has a name")
        else:
            faults.control(name + value, pointer, "a label")


def _check_times(scheduled_at: datetime | None, expires_at: datetime | None, now: float, faults: Faults) -> None:
    start = now
    if scheduled_at is not None:
        start = max(now, scheduled_at.timestamp())
        if scheduled_at.timestamp() < now:
            faults.add("/scheduled_at", FaultCode.IN_THE_PAST, "this time has passed")
    if expires_at is not None and expires_at.timestamp() <= start:
        detail = "this time has passed" if start == now else "this is not after scheduled_at"
        faults.add("/expires_at", FaultCode.IN_THE_PAST, detail)


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
            self._too_many_recipients(pointer)
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
            if self._control(form, pointer, "an address"):
                return None
            try:
                return parse_mailbox(form)
            except ValueError as error:
                self._faults.add(pointer, FaultCode.INVALID_ADDRESS, str(error))
                return None
        address = self.address(form.email, f"{pointer}/email")
        name = self._name(form.name or "", f"{pointer}/name")
        return None if address is None or name is None else Mailbox(address, name)

    def address(self, text: str, pointer: str) -> Address | None:
        """Return an address without a name, or None where it is faulty."""
        if self._control(text, pointer, "an address"):
            return None
        try:
            return parse_address(text)
        except ValueError as error:
            self._faults.add(pointer, FaultCode.INVALID_ADDRESS, str(error))
            return None

    def rcpt_to(self, texts: Sequence[str] | None) -> list[tuple[str, Address]] | None:
        """Return the envelope's own recipients with their places; None if it has none."""
        if texts is None:
            return None
        pointer = "/envelope/rcpt_to"
        if not texts:
            self._faults.add(pointer, FaultCode.REQUIRED, "name at least one recipient, or leave the field out")
        if len(texts) > self._max_recipients:
            self._too_many_recipients(pointer)
            return []
        named = [(f"{pointer}/{at}", self.address(text, f"{pointer}/{at}")) for at, text in enumerate(texts)]
        return [(place, address) for place, address in named if address is not None]

    def _places(self, forms: MailboxForms | None, pointer: str) -> list[Place]:
        if forms is None:
            return []
        if not isinstance(forms, list):
            mailbox = self.mailbox(forms, pointer)
            return [(pointer, mailbox)] if mailbox else []
        named = [(f"{pointer}/{at}", self.mailbox(form, f"{pointer}/{at}")) for at, form in enumerate(forms)]
        return [(place, mailbox) for place, mailbox in named if mailbox is not None]

    def _name(self, text: str, pointer: str) -> str | None:
        if self._control(text, pointer, "a name"):
            return None
        try:
            return parse_name(text)
        except ValueError as error:
            self._faults.add(pointer, FaultCode.TOO_LONG, str(error))
            return None

    def _control(self, text: str, pointer: str, what: str) -> bool:
        # What is too long is refused for that, and is not worth the time of a closer look.
        return len(text) <= MAX_TEXT and self._faults.control(text, pointer, what)

    def _too_many_recipients(self, pointer: str) -> None:
        detail = f"a message has at most {self._max_recipients} recipients"
        self._faults.add(pointer, FaultCode.TOO_MANY, detail)

"""The short fields of a message that is written line by line."""

from collections.abc import Iterator

import msgspec

from mailgate.model.address import Mailbox
from mailgate.model.refusal import FaultCode
from mailgate.model.submission import Parties
from mailgate.wire.checks import (
    MAX_LABELS,
    check_labels,
    check_mailbox,
    check_subject,
    each_once,
    too_many_addresses,
    too_many_recipients,
)
from mailgate.wire.faults import Faults, escape_pointer
from mailgate.wire.files import check_content_id, check_content_type, check_filename
from mailgate.wire.headers import Finding, HeaderCheck
from mailgate.wire.json.schema import Moment
from mailgate.wire.lines.replies import Reply, bad_argument, bad_content, refused
from mailgate.wire.mime.compose import Attachment

_RECIPIENTS = {"TO": "/to", "CC": "/cc", "BCC": "/bcc"}


class Fields:
    """
    What a message says beside its texts and files; every value that is kept is checked.

    Attributes:
        author: the mailbox of FROM, or None.
        recipients: mailboxes by the verbs TO, CC and BCC.
        reply_to, subject, headers, metadata, dry_run: as a submission has them.
        scheduled_at: seconds since the epoch, or None.
        octets: of all values that were kept.

    """

    def __init__(self, max_recipients: int) -> None:
        self.author: Mailbox | None = None
        self.recipients: dict[str, list[Mailbox]] = {verb: [] for verb in _RECIPIENTS}
        self.reply_to: list[Mailbox] = []
        self.subject: str | None = None
        self.headers: list[tuple[str, str]] = []
        self.metadata: dict[str, str] = {}
        self.scheduled_at: float | None = None
        self.dry_run = False
        self.octets = 0
        self._max_recipients = max_recipients
        self._header_check = HeaderCheck()

    def take(self, verb: str, text: str) -> Reply | None:
        """Take a field, or return why it can't be taken."""
        faults = Faults()
        self.octets += len(text)
        reply = self._take(verb, text, faults)
        return refused(faults.refusal()) if faults else reply

    def parties(self) -> Parties:
        """Return whom the message is from and for, as far as it says."""
        author = () if self.author is None else (("/from", self.author.address),)
        return Parties(author, each_once((place, mailbox.address) for place, mailbox in self._places()))

    def author_of_all(self, faults: Faults) -> Mailbox | None:
        """Return the author, once all that a message must have is there; note what is missing."""
        if self.author is None:
            faults.add("/from", FaultCode.REQUIRED, "this field is missing")
        if not any(self.recipients.values()):
            faults.add("/to", FaultCode.REQUIRED, "name at least one recipient by TO, CC or BCC")
        return self.author

    def attachment(self, verb: str, argument: bytes) -> Attachment | Reply:
        """Return the file, without its content, that FILE or EMBED begins, or why there can be none."""
        try:
            content_type, _, name = argument.decode().partition(" ")
        except UnicodeDecodeError:
            return bad_content(f"{verb} is not UTF-8")
        name = name.strip(" ")
        if not content_type or not name:
            return bad_argument(f"write {verb}#count type {'name' if verb == 'FILE' else 'cid'}")
        faults = Faults()
        check_content_type(content_type, "", faults)
        if verb == "EMBED":
            name = name.removeprefix("<").removesuffix(">")
            check_content_id(name, "", faults)
        else:
            check_filename(name, "", faults)
        for fault in faults.found():
            unfit = fault.code is FaultCode.CONTROL_CHARACTER
            return bad_content(fault.detail) if unfit else bad_argument(fault.detail)
        return Attachment(
            filename=name,
            content=b"",
            content_type=content_type,
            content_id=name if verb == "EMBED" else None,
            inline=verb == "EMBED",
        )

    def _take(self, verb: str, text: str, faults: Faults) -> Reply | None:
        match verb:
            case "FROM":
                self.author = check_mailbox(text, "/from", faults)
            case "TO" | "CC" | "BCC":
                self._take_recipient(verb, text, faults)
            case "REPLY":
                self._take_reply_to(text, faults)
            case "SUBJ":
                self.subject = text
                check_subject(text, faults)
                _note("Subject", self._header_check.repeated("Subject"), faults)
            case "HDR":
                return self._take_header(text, faults)
            case "META":
                return self._take_label(text, faults)
            case "AT":
                return self._take_time(text)
            case _:  # DRYRUN
                self.dry_run = True
        return None

    def _take_recipient(self, verb: str, text: str, faults: Faults) -> None:
        if sum(map(len, self.recipients.values())) == self._max_recipients:
            too_many_recipients(self._max_recipients, _RECIPIENTS[verb], faults)
            return
        mailbox = check_mailbox(text, f"{_RECIPIENTS[verb]}/{len(self.recipients[verb])}", faults)
        if mailbox is not None:
            self.recipients[verb].append(mailbox)

    def _take_reply_to(self, text: str, faults: Faults) -> None:
        if len(self.reply_to) == self._max_recipients:
            too_many_addresses(self._max_recipients, "/reply_to", faults)
            return
        mailbox = check_mailbox(text, f"/reply_to/{len(self.reply_to)}", faults)
        if mailbox is not None:
            self.reply_to.append(mailbox)

    def _take_header(self, text: str, faults: Faults) -> Reply | None:
        name, colon, value = text.partition(":")
        if not colon:
            return bad_argument("write HDR Name: value")
        value = value.strip(" \t")
        _note(name, self._header_check.finding(name, value), faults)
        self.headers.append((name, value))
        return None

    def _take_label(self, text: str, faults: Faults) -> Reply | None:
        name, equals, value = text.partition("=")
        if not equals:
            return bad_argument("write META name=value")
        if name in self.metadata:
            return bad_argument("this META is there twice")
        self.metadata[name] = value
        check_labels(self.metadata if len(self.metadata) > MAX_LABELS else {name: value}, faults)
        return None

    def _take_time(self, text: str) -> Reply | None:
        try:
            self.scheduled_at = msgspec.convert(text.strip(" "), Moment).timestamp()
        except msgspec.ValidationError:
            return bad_argument("write a time with its offset, like AT 2026-12-01T09:00:00+09:00")
        return None

    def _places(self) -> Iterator[tuple[str, Mailbox]]:
        for verb, place in _RECIPIENTS.items():
            for mailbox in self.recipients[verb]:
                yield place, mailbox


def _note(name: str, finding: Finding | None, faults: Faults) -> None:
    if finding is not None:
        faults.add(f"/headers/{escape_pointer(name)}", *finding)

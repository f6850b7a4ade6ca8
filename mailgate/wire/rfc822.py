"""A finished mail (``message/rfc822``) as a submission, delivered as it came once it is known to be fit."""

import re
from collections.abc import Sequence

from mailgate.model.address import Address
from mailgate.model.refusal import FaultCode, Refusal
from mailgate.model.submission import MAX_LINE_OCTETS, Envelope, Recipient, Submission, has_long_line
from mailgate.wire.address import parse_author_list
from mailgate.wire.checks import check_address, check_recipients, too_many_recipients
from mailgate.wire.faults import Faults, escape_pointer

_FIELD = re.compile(rb"([!-9;-~]+):[^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+\r\n")
_BLANK_FOLD = re.compile(rb"\r\n[ \t]+\r\n")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_MESSAGE_ID = re.compile(r"[ -~]{1,998}")
_DROPPED = frozenset({b"bcc", b"resent-bcc"})
_FROM = "/headers/From"

MAX_HEADER_OCTETS = 256 * 1024
"""Of the whole header: as much as the large mail systems take."""

Field = tuple[bytes, bytes]
"""A field's name in lower case, and the whole field with its line end."""


def decode_rfc822(
    octets: bytes,
    *,
    mail_from: Sequence[str],
    rcpt_to: Sequence[str],
    idempotency_key: str | None,
    max_recipients: int,
) -> Submission | Refusal:
    """
    Return the submission of a mail whose envelope stands in the request's query, or its refusal with every fault.

    `mail_from` holds every ``from`` of the query, of which there must be one, and `rcpt_to` every ``to``. Line
    ends become CRLF and the fields Bcc and Resent-Bcc go; nothing else changes. The header's syntax is RFC 5322
    section 3.6 with RFC 6532, without the obsolete forms that readers take for different things.
    """
    faults = Faults()
    sender = _sender(mail_from, faults)
    recipients = _recipients(rcpt_to, max_recipients, faults)
    content = _canonical(octets, faults)
    end = 0 if content.startswith(b"\r\n") else content.find(b"\r\n\r\n") + 2
    header, body = (content, b"") if end == 1 else (content[:end], content[end:])
    fields = _fields(header, faults)
    authors = _authors(fields, faults)
    message_id = _message_id(fields, faults)
    if faults or sender is None:
        return faults.refusal()
    kept = [field for name, field in fields if name not in _DROPPED]
    fit = b"".join((*kept, body))
    return Submission(
        envelope=Envelope(sender, recipients),
        authors=authors,
        author_source=_FROM,
        content=fit,
        message_id=message_id,
        has_date=any(name == b"date" for name, _ in fields),
        eight_bit=not fit.isascii(),
        idempotency_key=idempotency_key,
    )


def _sender(mail_from: Sequence[str], faults: Faults) -> Address | None:
    if not mail_from:
        faults.add("/from", FaultCode.REQUIRED, "give the envelope's sender as ?from= in the query")
        return None
    if len(mail_from) > 1:
        faults.add("/from", FaultCode.TOO_MANY, "an envelope has one sender")
        return None
    return check_address(mail_from[0], "/from", faults)


def _recipients(rcpt_to: Sequence[str], max_recipients: int, faults: Faults) -> tuple[Recipient, ...]:
    if not rcpt_to:
        faults.add("/to", FaultCode.REQUIRED, "give the envelope's recipients as ?to= in the query")
    if len(rcpt_to) > max_recipients:
        too_many_recipients(max_recipients, "/to", faults)
        return ()
    if len(rcpt_to) == 1:
        return check_recipients([("/to", rcpt_to[0])], faults)
    return check_recipients(((f"/to/{at}", text) for at, text in enumerate(rcpt_to)), faults)


def _canonical(octets: bytes, faults: Faults) -> bytes:
    """Return the mail with CRLF at every line's end, noting why it can't travel."""
    ends = octets.count(b"\r\n")
    content = octets
    if octets.count(b"\r") != ends:
        faults.add("", FaultCode.CONTROL_CHARACTER, "the mail holds a CR without an LF")
        # Only to look for what else is wrong: readers don't agree that a CR ends a line.
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if content.count(b"\n") != ends or content is not octets:
        content = content.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    if not content.endswith(b"\r\n"):
        content += b"\r\n"
    if b"\0" in content:
        faults.add("", FaultCode.CONTROL_CHARACTER, "the mail holds a NUL")
    if has_long_line(content):
        faults.add("", FaultCode.TOO_LONG, f"a line of the mail is longer than {MAX_LINE_OCTETS} octets")
    return content


def _fields(header: bytes, faults: Faults) -> list[Field]:
    """Return the fields of a header, noting what is none."""
    fields: list[Field] = []
    if len(header) > MAX_HEADER_OCTETS:
        detail = f"the mail's header is longer than {MAX_HEADER_OCTETS} octets"
        faults.add("/headers", FaultCode.TOO_LONG, detail)
        return fields
    at = 0
    while match := _FIELD.match(header, at):
        fields.append((match[1].lower(), match[0]))
        at = match.end()
        _check_field(match[1].decode(), match[0], faults)
    if not fields:
        faults.add("/headers", FaultCode.REQUIRED, "the mail has no header")
    elif at < len(header):
        line = header.count(b"\r\n", 0, at) + 1
        faults.add("/headers", FaultCode.INVALID_HEADER, f"line {line} of the mail is no header field")
    return fields


def _check_field(name: str, field: bytes, faults: Faults) -> None:
    pointer = f"/headers/{escape_pointer(name)}"
    if _BLANK_FOLD.search(field):
        faults.add(
            pointer, FaultCode.INVALID_HEADER, "a line of spaces alone could end the header for some readers"
        )
    try:
        field.decode()
    except UnicodeDecodeError:
        faults.add(pointer, FaultCode.INVALID_HEADER, "the field holds octets above 127 that are not UTF-8")


def _values(fields: Sequence[Field], wanted: bytes) -> list[str]:
    return [
        _FOLD.sub("", field[len(name) + 1 :].decode(errors="replace")).strip()
        for name, field in fields
        if name == wanted
    ]


def _authors(fields: Sequence[Field], faults: Faults) -> tuple[Address, ...]:
    values = _values(fields, b"from")
    if len(values) != 1:
        code = FaultCode.TOO_MANY if values else FaultCode.REQUIRED
        faults.add(_FROM, code, "a mail has exactly one From field")
        return ()
    try:
        return parse_author_list(values[0])
    except ValueError as error:
        faults.add(_FROM, FaultCode.INVALID_ADDRESS, str(error))
        return ()


def _message_id(fields: Sequence[Field], faults: Faults) -> str | None:
    values = _values(fields, b"message-id")
    if not values:
        return None
    if len(values) > 1 or not _MESSAGE_ID.fullmatch(values[0]):
        faults.add(
            "/headers/Message-ID", FaultCode.INVALID_HEADER, "a mail has one Message-ID, in printable ASCII"
        )
    return values[0]

"""
Compose an Internet message (RFC 5322, RFC 2045 to 2047, RFC 2231) in canonical form.

Equal drafts compose to equal octets: boundaries come from the content, and nothing of the clock is in it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from mailgate.model.address import Mailbox
from mailgate.wire.mime.bodies import Part, text_part
from mailgate.wire.mime.fields import fold, mailbox_list, parameter, unstructured, verbatim
from mailgate.wire.mime.multipart import Boundaries

OCTET_STREAM = "application/octet-stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachment:
    """
    A file that goes with a message.

    Attributes:
        filename: as its reader will see it; no control characters.
        content: the file in base64, in lines of 76 characters with CRLF between them (`Base64Lines` makes them).
        content_type: ``type/subtype``, with parameters if need be. ``message/*`` goes as application/octet-stream,
            because RFC 2046 section 5.2.1 allows it no base64.
        content_id: what ``cid:`` links of the HTML name, without angle brackets; or None.
        inline: whether it is shown within the message.

    """

    filename: str
    content: bytes
    content_type: str = OCTET_STREAM
    content_id: str | None = None
    inline: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """What a client wants to say; every value is checked and free of control characters, but for the bodies."""

    author: Mailbox
    to: Sequence[Mailbox] = ()
    cc: Sequence[Mailbox] = ()
    reply_to: Sequence[Mailbox] = ()
    subject: str | None = None
    headers: Sequence[tuple[str, str]] = ()
    text: str | None = None
    html: str | None = None
    attachments: Sequence[Attachment] = ()


def compose(draft: Draft) -> bytes:
    """
    Return the message without Date and Message-ID, in ASCII but for local parts beyond it.

    A draft with neither text nor HTML gets an empty text.
    """
    part = _body(draft)
    content = b"".join(((_header(draft) + part.fields + "\r\n").encode(), *part.body))
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def _header(draft: Draft) -> str:
    fields = [mailbox_list("From", [draft.author])]
    if draft.to:
        fields.append(mailbox_list("To", draft.to))
    if draft.cc:
        fields.append(mailbox_list("Cc", draft.cc))
    if not draft.to and not draft.cc:
        fields.append("To: undisclosed-recipients:;\r\n")
    if draft.reply_to:
        fields.append(mailbox_list("Reply-To", draft.reply_to))
    if draft.subject is not None:
        fields.append(unstructured("Subject", draft.subject))
    fields.extend(verbatim(name, value) for name, value in draft.headers)
    fields.append("MIME-Version: 1.0\r\n")
    return "".join(fields)


def _body(draft: Draft) -> Part:
    html = None if draft.html is None else text_part("html", draft.html)
    text = text_part("plain", draft.text or "") if draft.text is not None or html is None else None
    if not draft.attachments:
        if html is None:
            return text or text_part("plain", "")
        if text is None:
            return html
    boundaries = Boundaries([part for part in (text, html) if part])
    related = [each for each in draft.attachments if html and each.inline and each.content_id]
    if html and related:
        html = boundaries.multipart('related; type="text/html"', [html, *map(_file_part, related)])
    alternatives = [part for part in (text, html) if part]
    body = alternatives[0] if len(alternatives) == 1 else boundaries.multipart("alternative", alternatives)
    others = [each for each in draft.attachments if each not in related]
    return boundaries.multipart("mixed", [body, *map(_file_part, others)]) if others else body


def _file_part(attachment: Attachment) -> Part:
    content_type = attachment.content_type
    if content_type.lower().startswith("message/"):
        content_type = OCTET_STREAM
    disposition = ["inline" if attachment.inline else "attachment", *parameter("filename", attachment.filename)]
    fields = [
        verbatim("Content-Type", content_type),
        "Content-Transfer-Encoding: base64\r\n",
        fold("Content-Disposition", [f"{token};" for token in disposition[:-1]] + disposition[-1:]),
    ]
    if attachment.content_id:
        fields.append(f"Content-ID: <{attachment.content_id}>\r\n")
    return Part("".join(fields), (attachment.content,))

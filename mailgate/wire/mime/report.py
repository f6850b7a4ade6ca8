"""
Notices of non-delivery: multipart/report (RFC 6522) with a delivery status notification (RFC 3464).

What servers said and what stood in the original's header is other people's text: it is quoted, never obeyed.
"""

import re
from binascii import b2a_qp
from dataclasses import dataclass

from mailgate.model.address import Address, Mailbox
from mailgate.model.outcome import Status
from mailgate.model.submission import has_long_line
from mailgate.wire.address import display
from mailgate.wire.headers import decoded
from mailgate.wire.mime.bodies import Part, text_part
from mailgate.wire.mime.fields import fold, header_fields, mailbox_list, unstructured
from mailgate.wire.mime.multipart import Boundaries
from mailgate.wire.mime.status import MAX_TEXT, UndeliveredRecipient, codes, delivery_status, shown
from mailgate.wire.mime.trace import date_time

MAX_HEADER_OCTETS = 64 * 1024
"""Of the original's header, that much is returned at most: whole fields."""

MAX_SUBJECT = 200

_LOST_KO = (
    "다음 메일이 아래 받는 사람에게 전달되지 않았으며, 다시 시도하지 않습니다.",
    "아직 필요한 메일이면 원인을 해결한 뒤 새로 보내 주십시오.",
)
_LOST = (
    "The following message did not reach the recipients below, and is not tried again.",
    "If it is still needed, resolve the cause and send it again.",
)
_UNCERTAIN_KO = (
    "다음 메일은 아래 받는 사람에게 전달되었을 수도 있습니다. 보내는 도중 연결이 끊겨 결과를 알 수 없었습니다.",
    "다시 시도하지 않습니다. 새로 보내기 전에 받았는지 확인해 주십시오.",
)
_UNCERTAIN = (
    "The following message may have reached the recipients below: the connection was lost before the answer came.",
    "It is not tried again. Make sure whether it arrived before you send it again.",
)

_NAME = "Mail Delivery System"
_LOCAL_PART = "MAILER-DAEMON"
_MESSAGE_ID = re.compile(r"<[!-;=?-~]{1,900}>")


@dataclass(frozen=True, slots=True, kw_only=True)
class Undelivered:
    """
    A message that will not reach some of its recipients; times in seconds since the epoch.

    Attributes:
        id, message_id: as the client was told.
        client: who handed it over.
        sender: the envelope's sender as an addr-spec.
        accepted_at: when it was taken.
        ended_at: when these recipients' outcome became final.
        attempts: deliveries that were tried and settled.
        uncertain: whether it was on hold, since one of them may have delivered it.
        recipients: those that it will not reach, at least one.
        content: the message in canonical form.

    """

    id: str
    message_id: str
    client: str
    sender: str
    accepted_at: float
    ended_at: float
    attempts: int
    uncertain: bool
    recipients: tuple[UndeliveredRecipient, ...]
    content: bytes


def compose_report(undelivered: Undelivered, *, to: Address, hostname: str, message_id: str) -> bytes:
    """
    Return the notice in canonical form, from the gateway `hostname` to the address `to`, dated when it ended.

    It is in ASCII, so that any server takes it, whatever it quotes: addresses beyond ASCII are written as
    ``utf-8-addr-xtext`` (RFC 6533 section 3). Only where `to` itself needs SMTPUTF8 is it in the 8-bit media types
    of RFC 6533.
    """
    raw = to.needs_smtputf8
    status = delivery_status(
        undelivered.recipients,
        envelope_id=undelivered.id,
        hostname=hostname,
        accepted_at=undelivered.accepted_at,
        ended_at=undelivered.ended_at,
        raw=raw,
    )
    header = _header_part(undelivered.content, raw=raw)
    text = text_part("plain", _text(undelivered, hostname))
    parts = [text, status, header]
    report = Boundaries(parts).multipart("report; report-type=delivery-status", parts)
    title = "전달 여부 불명 / Perhaps undelivered" if undelivered.uncertain else "전달 실패 / Undelivered"
    subject = _subject(undelivered.content)
    fields = [
        mailbox_list("From", [Mailbox(Address(_LOCAL_PART, hostname), _NAME)]),
        mailbox_list("To", [Mailbox(to)]),
        unstructured("Subject", f"{title}: {subject}" if subject else title),
        f"Date: {date_time(undelivered.ended_at)}\r\n",
        f"Message-ID: {message_id}\r\n",
        *_references(undelivered.message_id),
        "Auto-Submitted: auto-replied\r\n",
        "MIME-Version: 1.0\r\n",
        report.fields,
        "\r\n",
    ]
    return b"".join(("".join(fields).encode(), *report.body))


def _references(message_id: str) -> list[str]:
    if not _MESSAGE_ID.fullmatch(message_id):
        return []
    return [fold(name, [message_id]) for name in ("In-Reply-To", "References")]


def _text(undelivered: Undelivered, hostname: str) -> str:
    facts = (
        ("제목 / Subject", _subject(undelivered.content)),
        ("보낸 사람 / Sender", display(undelivered.sender)),
        ("클라이언트 / Client", shown(undelivered.client, MAX_TEXT)),
        ("접수 / Accepted", date_time(undelivered.accepted_at)),
        ("종료 / Given up", date_time(undelivered.ended_at)),
        ("시도 / Attempts", str(undelivered.attempts)),
        ("메일 번호 / Id", undelivered.id),
    )
    lines = [
        f"메일 게이트웨이({hostname})가 자동으로 보내는 알림입니다.",
        *(_UNCERTAIN_KO if undelivered.uncertain else _LOST_KO),
        "",
        f"This is an automatic notice of the mail gateway {hostname}.",
        *(_UNCERTAIN if undelivered.uncertain else _LOST),
        "",
        *(f"{name}: {value}" for name, value in facts if value),
    ]
    for recipient in undelivered.recipients:
        lines += ["", f"받는 사람 / Recipient: {display(recipient.address)}", f"    {_reason(recipient)}"]
    return "\n".join(lines) + "\n"


def _reason(recipient: UndeliveredRecipient) -> str:
    given_up = recipient.status is Status.EXPIRED
    verdict = "기한 초과 / not delivered in time" if given_up else "거절됨 / refused"
    reply = recipient.reply
    if reply is None:
        return verdict
    who = f"{shown(reply.host, MAX_TEXT)}: " if reply.host else ""
    return f"{verdict}: {who}{' '.join((*codes(reply), shown(reply.text, MAX_TEXT)))}".rstrip()


def _header_part(content: bytes, *, raw: bool) -> Part:
    header = _returned_header(content)
    if header.isascii() and not has_long_line(header):
        return Part("Content-Type: text/rfc822-headers\r\n", (header,), literal=True)
    if raw and not has_long_line(header):
        head = "Content-Type: message/global-headers\r\nContent-Transfer-Encoding: 8bit\r\n"
        return Part(head, (header,), literal=True)
    head = "Content-Type: text/rfc822-headers; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n"
    return Part(head, (b2a_qp(header),))


def _returned_header(content: bytes) -> bytes:
    end = content.find(b"\r\n\r\n")
    header = content if end < 0 else content[: end + 2]
    end = len(header)
    while end > MAX_HEADER_OCTETS or header[end : end + 1] in (b" ", b"\t"):
        end = header.rfind(b"\r\n", 0, min(end - 2, MAX_HEADER_OCTETS)) + 2
        if end < 2:  # noqa: PLR2004 - no line ends within the bound
            return b""
    return header[:end]


def _subject(content: bytes) -> str:
    for name, value in header_fields(_returned_header(content)):
        if name.lower() == "subject":
            # Room for so many characters, however they are encoded, and a bound for what was made to be long.
            return shown(decoded(value[: MAX_SUBJECT * 20]), MAX_SUBJECT)
    return ""

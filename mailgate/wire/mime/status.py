"""The part of a notice that programs read: a delivery status (RFC 3464, RFC 6533)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address

from mailgate.model.outcome import Reply, Status
from mailgate.wire.mime.bodies import Part
from mailgate.wire.mime.fields import fold, typed
from mailgate.wire.mime.trace import date_time
from mailgate.wire.smtp.replies import printable

MAX_TEXT = 500
"""Characters of a server's reply."""

_EXPIRED = "4.4.7"
"""Delivery time expired (RFC 3463 section 3.5), persistent and transient: sent anew, it may well arrive."""

_FAILED = "5.0.0"
_QCHAR = re.compile(r"[!-*,-<>-\[\]-~]")
_HOST = re.compile(r"[A-Za-z0-9_.:-]{1,255}")


@dataclass(frozen=True, slots=True)
class UndeliveredRecipient:
    """A recipient that the message will not reach: `failed` or `expired`, and what decided it, where known."""

    address: str
    status: Status
    reply: Reply | None


def delivery_status(
    recipients: Sequence[UndeliveredRecipient],
    *,
    envelope_id: str,
    hostname: str,
    accepted_at: float,
    ended_at: float,
    raw: bool,
) -> Part:
    """
    Return the part that tells, from the gateway `hostname`, of one message's recipients; times since the epoch.

    In ASCII, with ``utf-8-addr-xtext`` where need be (RFC 6533 section 3), unless `raw` lets it be 8-bit.
    """
    fields = [
        fold("Original-Envelope-Id", [envelope_id]),
        fold("Reporting-MTA", ["dns;", hostname]),
        f"Arrival-Date: {date_time(accepted_at)}\r\n",
    ]
    for recipient in recipients:
        fields += ["\r\n", *_recipient_fields(recipient, ended_at, raw=raw)]
    octets = "".join(fields).encode()
    if octets.isascii():
        return Part("Content-Type: message/delivery-status\r\n", (octets,), literal=True)
    head = "Content-Type: message/global-delivery-status\r\nContent-Transfer-Encoding: 8bit\r\n"
    return Part(head, (octets,), literal=True)


def _recipient_fields(recipient: UndeliveredRecipient, ended_at: float, *, raw: bool) -> list[str]:
    fields = [
        _final_recipient(recipient.address, raw=raw),
        "Action: failed\r\n",
        f"Status: {_status(recipient)}\r\n",
    ]
    reply = recipient.reply
    if reply is None:
        return fields
    host = _mta_name(reply.host)
    if host is not None:
        fields.append(fold("Remote-MTA", ["dns;", host]))
    # Without a Remote-MTA the code is the gateway's own (RFC 3464 section 2.3.6).
    kind = "smtp" if reply.host else "X-mailgate"
    fields.append(typed("Diagnostic-Code", kind, codes(reply), shown(reply.text, MAX_TEXT), raw=raw))
    if reply.host:
        fields.append(f"Last-Attempt-Date: {date_time(ended_at)}\r\n")
    return fields


def _final_recipient(address: str, *, raw: bool) -> str:
    if address.isascii():
        return fold("Final-Recipient", ["rfc822;", address])
    return fold("Final-Recipient", ["utf-8;", address if raw else _xtext(address)])


def _xtext(address: str) -> str:
    """Return the utf-8-addr-xtext of RFC 6533 section 3."""
    return "".join(c if _QCHAR.fullmatch(c) else f"\\x{{{ord(c):02X}}}" for c in address)


def _status(recipient: UndeliveredRecipient) -> str:
    """Return the Status (RFC 3464 section 2.3.4): what the server gave, where its class is the outcome's."""
    enhanced = "" if recipient.reply is None else recipient.reply.enhanced
    default = _EXPIRED if recipient.status is Status.EXPIRED else _FAILED
    if enhanced[:2] != default[:2]:
        return default
    return ".".join(str(int(number)) for number in enhanced.split("."))


def codes(reply: Reply) -> list[str]:
    """Return the words that a reply's line begins with."""
    return [str(reply.code), reply.enhanced] if reply.enhanced else [str(reply.code)]


def _mta_name(host: str) -> str | None:
    """Return the name of a server as the type ``dns`` has it, None for what is no name."""
    if not _HOST.fullmatch(host):
        return None
    try:
        return f"[{ip_address(host)}]"
    except ValueError:
        return host


def shown(text: str, length: int) -> str:
    """Return other people's text as one printable line of so many characters at most."""
    line = printable(text.encode(errors="replace")).strip()
    return line if len(line) <= length else line[: length - 1] + "…"

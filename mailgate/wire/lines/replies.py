"""Replies of the line protocol, and which one tells of what refusal."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from urllib.parse import quote

from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode

VERSION = "mailgate/1"
MAX_REPLY = 255
"""Octets of a reply's line with its end."""

_RETRY_AFTER = 10.0
_LONGEST_HOST = 128
_LONGEST_NAME = 64
_NAME_CHARACTERS = "!$&'()*+,/:;@"

_VERBS = {
    "from": "FROM",
    "to": "TO",
    "cc": "CC",
    "bcc": "BCC",
    "reply_to": "REPLY",
    "subject": "SUBJ",
    "headers": "HDR",
    "text": "TEXT",
    "html": "HTML",
    "scheduled_at": "AT",
    "metadata": "META",
}
_NAMING = frozenset({"HDR", "META"})
_RECIPIENTS = frozenset({"to", "cc", "bcc", "envelope"})
_OF_ARGUMENTS = frozenset(
    {FaultCode.INVALID_ADDRESS, FaultCode.REQUIRED, FaultCode.IN_THE_PAST, FaultCode.TOO_LONG}
)


@dataclass(frozen=True, slots=True)
class Reply:
    """
    One final reply.

    Attributes:
        code: three digits; the first one tells a device what to do.
        enhanced: an enhanced status code (RFC 3463).
        text: for people, behind ``name=value`` words for devices.
        key: the idempotency key of the message it is about; empty where there is none.
        details: lines that go before it, and that a device skips.
        reason: what the journal calls a refusal; empty for any other reply.

    """

    code: int
    enhanced: str
    text: str
    key: str = ""
    details: tuple[str, ...] = ()
    reason: str = ""

    def of(self, key: str) -> "Reply":
        """Return the reply as one about the message of that key."""
        return replace(self, key=key)

    @property
    def temporary(self) -> bool:
        """Whether the same may be taken later."""
        return 400 <= self.code < 500  # noqa: PLR2004 - the digit is the meaning

    @property
    def closes(self) -> bool:
        """Whether nothing can come after a reply of this code."""
        return self.code in {221, 421, 535}

    def encode(self) -> bytes:
        """Return the lines as they go on the wire: ASCII, each of 255 octets at most with its LF."""
        lines = [f"{self.code}-{self.enhanced} {detail}" for detail in self.details]
        lines.append(f"{self.code} {self.enhanced} {self.key or '-'} {self.text}")
        return b"".join(map(_line, lines))


def greeting(host: str, client: str, *, size: int, time: float, days: int) -> bytes:
    """
    Return the line that tells a client its certificate was accepted.

    `client` is written in the characters of a URI's path, others percent-encoded, and cut where the line would
    become too long; `time` is in seconds since the epoch, `days` what is left of the certificate.
    """
    start = f"220 {VERSION} {host[:_LONGEST_HOST]} id="
    end = f" size={size} time={int(time)} expires={days}"
    name = quote(client, safe=_NAME_CHARACTERS)[: MAX_REPLY - 1 - len(start) - len(end)]
    # What was cut may not end within an encoded octet.
    percent = name.rfind("%", -2)
    return _line(start + (name if percent < 0 else name[:percent]) + end)


def bad_request(code: int, enhanced: str, text: str) -> Reply:
    """Return the reply to what isn't well-formed or isn't in order."""
    return Reply(code, enhanced, text, reason=RefusalCode.BAD_REQUEST.value)


def bad_argument(text: str) -> Reply:
    """Return the reply to an argument that can't be taken."""
    return Reply(501, "5.5.4", text, reason=RefusalCode.VALIDATION_FAILED.value)


def bad_content(text: str) -> Reply:
    """Return the reply to octets that can't go into a message."""
    return Reply(554, "5.6.0", text, reason=RefusalCode.VALIDATION_FAILED.value)


def too_large(actual: int, limit: int, what: str = "octets") -> Reply:
    """Return the reply to more than may be taken."""
    text = f"too large: {actual} {what}, limit {limit}"
    return Reply(552, "5.3.4", text, reason=RefusalCode.MESSAGE_TOO_LARGE.value)


def refused(refusal: Refusal) -> Reply:
    """Return the reply that tells of a refusal, with a line for each of its faults where it has several."""
    code, enhanced, text = _of(refusal)
    return Reply(
        code,
        enhanced,
        text,
        details=tuple(_details(refusal)),
        reason=refusal.code.value,
    )


_TEMPORARY = {
    RefusalCode.RATE_LIMITED: (450, "4.7.0"),
    RefusalCode.QUOTA_EXCEEDED: (450, "4.7.0"),
    RefusalCode.IDEMPOTENCY_IN_PROGRESS: (450, "4.2.0"),
    RefusalCode.STORAGE_UNAVAILABLE: (451, "4.3.0"),
    RefusalCode.QUEUE_FULL: (452, "4.3.1"),
    RefusalCode.DISK_LOW: (452, "4.3.1"),
    RefusalCode.DRAINING: (421, "4.3.2"),
}
_PERMANENT = {
    RefusalCode.CLIENT_UNKNOWN: (535, "5.7.8", "unknown client"),
    RefusalCode.CERTIFICATE_REVOKED: (535, "5.7.8", "certificate revoked"),
    RefusalCode.CLIENT_DISABLED: (535, "5.7.8", "client disabled"),
    RefusalCode.DOOR_NOT_ALLOWED: (535, "5.7.8", "this client may not use this door"),
    RefusalCode.SENDER_NOT_ALLOWED: (550, "5.7.1", "sender not allowed for this client"),
    RefusalCode.RECIPIENT_NOT_ALLOWED: (550, "5.7.1", "recipient not allowed for this client"),
    RefusalCode.IDEMPOTENCY_KEY_REUSED: (555, "5.5.6", "key already used for other content; nothing sent"),
}


def _of(refusal: Refusal) -> tuple[int, str, str]:
    """Return code, enhanced code and text."""
    if refusal.code in _TEMPORARY:
        seconds = _RETRY_AFTER if refusal.retry_after is None else refusal.retry_after
        return *_TEMPORARY[refusal.code], f"retry={max(1, ceil(seconds))} {refusal.detail}"
    if refusal.code in _PERMANENT:
        return _PERMANENT[refusal.code]
    if refusal.code is RefusalCode.MESSAGE_TOO_LARGE and refusal.limit is not None:
        return 552, "5.3.4", f"too large: {refusal.actual} octets, limit {refusal.limit}"
    if refusal.code is RefusalCode.VALIDATION_FAILED and refusal.faults:
        fault = refusal.faults[0]
        alone = len(refusal.faults) == 1
        return *_of_fault(fault), _placed(fault) if alone else refusal.detail
    return 554, "5.6.0", refusal.detail


def _of_fault(fault: Fault) -> tuple[int, str]:
    place = _top(fault.pointer)
    if fault.code is FaultCode.TOO_MANY and place in _RECIPIENTS:
        return 550, "5.5.3"
    if fault.code is FaultCode.REQUIRED and place in {"from", "to"}:
        return 503, "5.5.1"
    # What stands in the octets of a whole mail is no argument of a verb.
    argument = fault.code in _OF_ARGUMENTS and place not in {"", "headers"}
    return (501, "5.5.4") if argument else (554, "5.6.0")


def _details(refusal: Refusal) -> Iterator[str]:
    policy = refusal.code in {RefusalCode.SENDER_NOT_ALLOWED, RefusalCode.RECIPIENT_NOT_ALLOWED}
    if not policy and len(refusal.faults) < 2:  # noqa: PLR2004 - a single one is the reply itself
        return
    for fault in refusal.faults:
        yield f"{_verb(fault.pointer)} {fault.address} not allowed" if fault.address else _placed(fault)


def _placed(fault: Fault) -> str:
    """Return what is wrong, and where unless that is plain."""
    if not fault.pointer:
        return fault.detail
    verb, (_, _, *path) = _verb(fault.pointer), fault.pointer.split("/")
    match path:
        case [index] if index.isdecimal():
            return f"{verb} {int(index) + 1}: {fault.detail}"
        case [name] if verb in _NAMING and len(name) <= _LONGEST_NAME:
            return f"{verb} {name}: {fault.detail}"
    return f"{verb}: {fault.detail}"


def _verb(pointer: str) -> str:
    """Return which verb gives what a JSON pointer names, or the pointer itself where no verb is so plain."""
    if pointer == "/headers/From":
        return "FROM"
    return _VERBS.get(_top(pointer), f"#{pointer}")


def _top(pointer: str) -> str:
    return pointer.split("/")[1] if pointer else ""


def _line(text: str) -> bytes:
    return _ascii(text).encode()[: MAX_REPLY - 1] + b"\n"


def _ascii(text: str) -> str:
    """Return the text in printable ASCII: other characters as RFC 6533 section 3 writes those of addresses."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        character if character.isascii() and character.isprintable() else f"\\x{{{ord(character):X}}}"
        for character in text
    )

"""What the gateway writes on top of a message: Received, Date and Message-ID."""

import re
from dataclasses import dataclass
from functools import lru_cache
from time import gmtime

from mailgate.wire.mime.fields import encoded_words, fold

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_PLAIN_COMMENT = re.compile(r"[A-Za-z0-9!#$%&'*+,./:;<>=@^_`{|}~ -]{1,60}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """
    How a message came to the gateway (RFC 5321 section 4.4).

    Attributes:
        hostname: the gateway's own name.
        client: the client that its certificate proved; any text.
        protocol: the door's protocol, an atom like ``HTTPS``.
        address: the peer's IP address; any other text where there is none.
        id: the gateway's identifier of the message.
        time: seconds since the epoch.

    """

    hostname: str
    client: str
    protocol: str
    address: str
    id: str
    time: float


def stamp(content: bytes, *, trace: Trace, message_id: str | None, date: float | None) -> bytes:
    """
    Return the message with a Received field on top, and with Message-ID and Date unless they are None.

    `message_id` has its angle brackets; `date` is in seconds since the epoch.
    """
    head = _received(trace)
    if message_id is not None:
        head += f"Message-ID: {message_id}\r\n"
    if date is not None:
        head += f"Date: {date_time(date)}\r\n"
    return head.encode() + content


def date_time(seconds: float) -> str:
    """Return the date-time of RFC 5322 section 3.3, in UTC."""
    return _date_time(int(seconds))


@lru_cache(maxsize=16)
def _date_time(seconds: int) -> str:
    year, month, day, hour, minute, second, weekday, _, _ = gmtime(seconds)
    return f"{_DAYS[weekday]}, {day:02} {_MONTHS[month - 1]} {year:04} {hour:02}:{minute:02}:{second:02} +0000"


def _received(trace: Trace) -> str:
    address = trace.address
    literal = f"IPv6:{address}" if ":" in address else address
    return fold(
        "Received",
        [
            f"from [{literal}]",
            *_comment(trace.client),
            f"by {trace.hostname}",
            f"with {trace.protocol}",
            f"id {trace.id};",
            date_time(trace.time),
        ],
    )


def _comment(text: str) -> list[str]:
    """Return the text as a comment (RFC 5322 section 3.2.2) that can't end before its parenthesis."""
    if _PLAIN_COMMENT.fullmatch(text) and text == text.strip():
        return [f"({text})"]
    if not text:
        return []
    words = encoded_words(text, 2)
    words[0] = f"({words[0]}"
    words[-1] = f"{words[-1]})"
    return words

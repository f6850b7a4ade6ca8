"""What a client may put into the header of its message, and what would break or forge it."""

import binascii
import re
from binascii import a2b_base64, a2b_qp
from collections.abc import Iterator, Mapping
from encodings import normalize_encoding
from encodings.aliases import aliases

from mailgate.model.refusal import FaultCode

MAX_HEADERS = 100
MAX_HEADER_OCTETS = 64 * 1024
MAX_NAME = 76
MAX_WORD = 900

Finding = tuple[FaultCode, str]

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NAME = re.compile(r"[!-9;-~]+")
_ENCODED_WORD = re.compile(r"=\?([^?*\s]+)(?:\*[^?\s]*)?\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_CODECS = frozenset(aliases) | frozenset(aliases.values())
_RESERVED = frozenset(
    {
        "from",
        "sender",
        "to",
        "cc",
        "bcc",
        "reply-to",
        "date",
        "message-id",
        "received",
        "return-path",
        "mime-version",
    }
)
_RESERVED_PREFIXES = ("content-", "dkim-", "arc-")


def holds_control(text: str) -> bool:
    """
    Tell whether a text holds a control character, as it is or once its encoded words (RFC 2047) are decoded.

    Line separators beyond ASCII count, since some readers end a line at them.
    """
    if _CONTROL.search(text):
        return True
    return "=?" in text and any(_CONTROL.search(word) for word in _decoded_words(text))


def check_headers(headers: Mapping[str, str], *, has_subject: bool) -> Iterator[tuple[str, Finding]]:
    """Yield for each header that can't be taken its name and what is wrong with it."""
    seen = {"subject"} if has_subject else set()
    octets = 0
    for position, (name, value) in enumerate(headers.items()):
        octets += len(name) + len(value.encode()) + 4
        lower = name.lower()
        finding = _check_header(name, value)
        if position >= MAX_HEADERS:
            yield name, (FaultCode.TOO_MANY, f"a message has at most {MAX_HEADERS} headers of its own")
            return
        if finding:
            yield name, finding
        elif lower in seen:
            yield name, (FaultCode.INVALID_HEADER, "this header is there twice")
        elif octets > MAX_HEADER_OCTETS:
            yield name, (FaultCode.TOO_LONG, f"all headers together are longer than {MAX_HEADER_OCTETS} octets")
            return
        seen.add(lower)


def _check_header(name: str, value: str) -> Finding | None:
    lower = name.lower()
    if not _NAME.fullmatch(name):
        return FaultCode.INVALID_HEADER, "a header's name is printable ASCII without a colon or a space"
    if len(name) > MAX_NAME:
        return FaultCode.TOO_LONG, f"a header's name has at most {MAX_NAME} characters"
    if lower in _RESERVED or lower.startswith(_RESERVED_PREFIXES):
        return FaultCode.INVALID_HEADER, "this header is the gateway's, or has a field of its own"
    if holds_control(value):
        return FaultCode.CONTROL_CHARACTER, "a header's value holds no control characters, encoded ones included"
    if value.isascii() and any(len(word) > MAX_WORD for word in value.split(" ")):
        return FaultCode.TOO_LONG, f"a word of this header is longer than {MAX_WORD} characters"
    return None


def _decoded_words(text: str) -> Iterator[str]:
    for charset, encoding, payload in _ENCODED_WORD.findall(text):
        octets = payload.encode()
        try:
            decoded = a2b_base64(octets + b"===") if encoding in "bB" else a2b_qp(octets, header=True)
        except binascii.Error:
            continue
        # Not every reader knows the charset, and most charsets hold ASCII.
        yield decoded.decode("utf-8", "replace")
        # A look-up of an unknown one would stay in Python's own cache for good.
        codec = normalize_encoding(charset).lower()
        if codec in _CODECS:
            try:
                yield decoded.decode(codec, "replace")
            except (LookupError, ValueError):
                continue

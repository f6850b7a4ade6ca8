"""Bodies of parts: canonical text and base64, in lines that every SMTP server takes (RFC 2045 section 6)."""

from binascii import b2a_base64, b2a_qp
from dataclasses import dataclass
from itertools import chain
from struct import Struct

from mailgate.model.submission import has_long_line

BASE64_LINE = 76
BASE64_LINE_OCTETS = BASE64_LINE // 4 * 3
"""Octets that fill a line of base64."""

_BASE64_LINE = Struct(f"{BASE64_LINE}s")
_PLAIN_OCTETS = b"\t\r\n" + bytes(range(0x20, 0x7F))


@dataclass(frozen=True, slots=True)
class Part:
    """
    One MIME part.

    Attributes:
        fields: its header fields, each line ended.
        body: its octets, in pieces.
        literal: whether the body goes unencoded, so that it may hold any printable octets, a boundary included.

    """

    fields: str
    body: tuple[bytes, ...]
    literal: bool = False


def text_part(subtype: str, text: str) -> Part:
    """
    Return a text part: 7bit where it can be, else quoted-printable or base64, whichever is shorter.

    Every line end (CRLF, LF or a bare CR) becomes CRLF, and the last line is ended.
    """
    octets = canonical(text)
    special = len(octets.translate(None, _PLAIN_OCTETS))
    if not special and not has_long_line(octets):
        encoding, body = "7bit", octets
    elif special * 6 > len(octets):
        # Quoted-printable adds 2 octets for each of these, base64 1 for every 3.
        encoding, body = "base64", base64_lines(b2a_base64(octets, newline=False))
    else:
        encoding, body = "quoted-printable", b2a_qp(octets)
    fields = f"Content-Type: text/{subtype}; charset=utf-8\r\nContent-Transfer-Encoding: {encoding}\r\n"
    return Part(fields, (body,), literal=encoding == "7bit")


def canonical(text: str) -> bytes:
    """Return the text as UTF-8 with CRLF at every line's end, the last one's too."""
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    if text and not text.endswith("\n"):
        text += "\n"
    return text.encode().replace(b"\n", b"\r\n")


def base64_lines(encoded: bytes) -> bytes:
    """Return base64 without line ends in the lines of RFC 2045 section 6.8, the last one not ended."""
    whole = len(encoded) - len(encoded) % BASE64_LINE
    # Half the time of slicing line by line, which is most of what an attachment costs.
    lines = list(chain.from_iterable(_BASE64_LINE.iter_unpack(memoryview(encoded)[:whole])))
    if whole < len(encoded):
        lines.append(encoded[whole:])
    return b"\r\n".join(lines)


def base64_length(octets: int) -> int:
    """Return how long so many octets are in the lines that `base64_lines` makes."""
    encoded = (octets + 2) // 3 * 4
    return encoded + 2 * max(0, (encoded - 1) // BASE64_LINE)


class Base64Lines:
    """
    Encodes octets that come in pieces into what `base64_lines` makes of the whole, and keeps next to nothing.

    The results of `encode`, in order, and of `finish` are to be put one behind the other.
    """

    __slots__ = ("_begun", "_rest")

    def __init__(self) -> None:
        self._begun = False
        self._rest = b""

    def encode(self, octets: bytes) -> bytes:
        """Return the lines that the octets fill, after what was left of those before."""
        waiting = self._rest + octets
        whole = len(waiting) - len(waiting) % BASE64_LINE_OCTETS
        self._rest = waiting[whole:]
        return self._lines(waiting[:whole])

    def finish(self) -> bytes:
        """Return the last line, if there is one that wasn't full."""
        rest, self._rest = self._rest, b""
        return self._lines(rest)

    def _lines(self, octets: bytes) -> bytes:
        if not octets:
            return b""
        lines = base64_lines(b2a_base64(octets, newline=False))
        if self._begun:
            return b"\r\n" + lines
        self._begun = True
        return lines

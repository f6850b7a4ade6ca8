"""Bodies of parts: canonical text and base64, in lines that every SMTP server takes (RFC 2045 section 6)."""

from binascii import b2a_base64, b2a_qp
from dataclasses import dataclass
from itertools import chain
from struct import Struct

from mailgate.model.submission import has_long_line

BASE64_LINE = 76

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

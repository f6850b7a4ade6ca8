"""Header fields (RFC 5322 section 2.2) with encoded words (RFC 2047) and parameters (RFC 2231), folded."""

import re
from binascii import b2a_base64
from collections.abc import Iterator, Sequence
from urllib.parse import quote

from mailgate.model.address import Mailbox
from mailgate.wire.headers import longest_piece

LINE = 76
"""Where a field is folded; RFC 2047 section 2 allows no more in a line with an encoded word."""

_PREFIX, _SUFFIX = "=?utf-8?b?", "?="
_WORD_FRAME = len(_PREFIX) + len(_SUFFIX)
_LONGEST_PLAIN_WORD = 56
_PLAIN = re.compile(r"[\x20-\x7e]*")
_ATOMS = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?: [A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_NEEDS_ESCAPE = re.compile(r'(["\\])')
_FIELD = re.compile(rb"([^:\r\n]+):[ \t]*+([^\r\n]*+(?:\r\n[ \t][^\r\n]*+)*+)\r\n")
_FOLD = re.compile(r"\r\n(?=[ \t])")
_ATTRIBUTE_CHARACTERS = "!#$&+-.^_`{|}~"
_UNFIT_FOR_FALLBACK = re.compile(r'[^\x20-\x7e]+|["\\]|=(?=\?)')
_PARAMETER_PIECE = 48


def unstructured(name: str, text: str) -> str:
    """Return a field whose reader sees exactly `text`, however it looks; `text` has no control characters."""
    if _is_plain(text):
        return fold(name, _words(text))
    return fold(name, encoded_words(text, len(name) + 2))


def verbatim(name: str, value: str) -> str:
    """
    Return a field that carries `value` as it is, folded at its spaces, so that structured values stay valid.

    Only a value beyond ASCII goes as encoded words. No word with the spaces before it may be over 900 characters.
    """
    if value.isascii():
        return fold(name, _words(value.strip(" ")))
    return fold(name, encoded_words(value.strip(" "), len(name) + 2))


def typed(name: str, kind: str, plain: Sequence[str], text: str, *, raw: bool) -> str:
    """
    Return a field of a delivery status (RFC 3464 section 2.1.2): its kind, plain words, and any printable text.

    What can't go as it is becomes encoded words; what is beyond ASCII goes as it is where `raw` says so.
    """
    if not text:
        words: Sequence[str] = ()
    elif _is_plain(text, raw=raw):
        words = _words(text)
    else:
        words = encoded_words(text, len(name) + 2)
    return fold(name, [f"{kind};", *plain, *words])


def mailbox_list(name: str, mailboxes: Sequence[Mailbox]) -> str:
    """Return an address field; a local part beyond ASCII stays raw (RFC 6532), all else is ASCII."""
    first = mailboxes[0]
    if len(mailboxes) == 1 and not first.name:
        return f"{name}: {first.address}\r\n"
    return fold(name, list(_mailbox_tokens(mailboxes, len(name) + 2)))


def fold(name: str, tokens: Sequence[str]) -> str:
    """Return the field with its tokens one space apart, folded before those that would pass the line's length."""
    whole = f"{name}: {' '.join(tokens)}"
    if len(whole) <= LINE:
        return whole + "\r\n"
    lines: list[str] = []
    line = f"{name}:"
    for token in tokens:
        # A line of spaces alone could be taken for the end of the header (RFC 5322 section 3.2.2).
        if len(line) + 1 + len(token) > LINE and not line.isspace():
            lines.append(line)
            line = ""
        line = f"{line} {token}"
    lines.append(line)
    return "\r\n".join(lines) + "\r\n"


def encoded_words(text: str, column: int) -> list[str]:
    """
    Return the encoded words that decode to `text`; the first one starts at `column` of its line.

    Each holds whole characters (RFC 2047 section 5), and what is between two of them vanishes when decoded.
    """
    octets = text.encode()
    words = []
    start, room = 0, _octets_that_fit(column)
    while start < len(octets):
        end = min(start + room, len(octets))
        while end < len(octets) and octets[end] & 0xC0 == 0x80:  # noqa: PLR2004  UTF-8's continuation octets
            end -= 1
        words.append(_PREFIX + b2a_base64(octets[start:end], newline=False).decode() + _SUFFIX)
        start, room = end, _octets_that_fit(1)
    return words


def parameter(name: str, value: str) -> list[str]:
    """
    Return the parameters that give `name` this value in a Content-Disposition.

    Beyond plain ASCII that is RFC 2231's form, continued where it is long, and a plain fallback for old readers.
    """
    # Some readers decode encoded words even here, where RFC 2047 section 5 has none.
    if _PLAIN.fullmatch(value) and len(value) <= LINE and "=?" not in value:
        return [f'{name}="{_escape(value)}"']
    fallback = f'{name}="{_UNFIT_FOR_FALLBACK.sub("_", value)[-LINE:]}"'
    pieces = list(_parameter_pieces(value))
    if len(pieces) == 1:
        return [f"{name}*=UTF-8''{pieces[0]}", fallback]
    continued = [f"{name}*{number}*={piece}" for number, piece in enumerate(pieces)]
    continued[0] = f"{name}*0*=UTF-8''{pieces[0]}"
    return [*continued, fallback]


def header_fields(content: bytes) -> tuple[tuple[str, str], ...]:
    """Return the fields of a message's header in order, unfolded, as they stand (encoded words included)."""
    header = content.partition(b"\r\n\r\n")[0] + b"\r\n"
    return tuple(
        (field[1].decode("utf-8", "replace"), _FOLD.sub("", field[2].decode("utf-8", "replace")).strip(" \t"))
        for field in _FIELD.finditer(header)
    )


def _is_plain(text: str, *, raw: bool = False) -> bool:
    return (
        (raw or _PLAIN.fullmatch(text) is not None)
        and "=?" not in text
        and text == text.strip(" ")
        and (len(text) <= _LONGEST_PLAIN_WORD or longest_piece(text) <= _LONGEST_PLAIN_WORD)
    )


def _words(text: str) -> Sequence[str]:
    return text.split(" ")


def _octets_that_fit(column: int) -> int:
    room = (LINE - column - _WORD_FRAME) // 4 * 3
    return room if room >= len("가".encode()) * 3 else _octets_that_fit(1)


def _mailbox_tokens(mailboxes: Sequence[Mailbox], column: int) -> Iterator[str]:
    last = len(mailboxes) - 1
    for position, mailbox in enumerate(mailboxes):
        comma = "" if position == last else ","
        if not mailbox.name:
            yield f"{mailbox.address}{comma}"
        else:
            yield from _phrase(mailbox.name, column if position == 0 else 1)
            yield f"<{mailbox.address}>{comma}"


def _phrase(name: str, column: int) -> Sequence[str]:
    if _is_plain(name):
        if _ATOMS.fullmatch(name):
            return name.split(" ")
        if len(name) <= _LONGEST_PLAIN_WORD:
            return [f'"{_escape(name)}"']
    return encoded_words(name, column)


def _escape(text: str) -> str:
    return _NEEDS_ESCAPE.sub(r"\\\1", text)


def _parameter_pieces(value: str) -> Iterator[str]:
    piece = ""
    for character in value:
        octets = quote(character, safe=_ATTRIBUTE_CHARACTERS)
        if len(piece) + len(octets) > _PARAMETER_PIECE:
            yield piece
            piece = ""
        piece += octets
    yield piece

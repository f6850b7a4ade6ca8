"""What a client may put into the header of its message, and what would break or forge it."""

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
_ENCODED_WORD = re.compile(r"=\?([^?]*)\?([bq])\?([^?]*)\?=", re.IGNORECASE)
_ENCODED_WORD_BEGINS = re.compile(r"=\?([^?]*)\?([bq])\?", re.IGNORECASE)
_BASE64 = re.compile(rb"[A-Za-z0-9+/]+")
_WORD_AND_SPACES = re.compile(r" *[^ ]+")
# A look-up of any other name would stay in Python's own cache for good.
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


def longest_piece(text: str) -> int:
    """Return the length of the longest word with the spaces before it: a line can't be folded within those."""
    return max(map(len, _WORD_AND_SPACES.findall(text)), default=0)


class HeaderCheck:
    """Looks at the headers of one message one after the other; `has_subject` tells of a subject beside them."""

    def __init__(self, *, has_subject: bool = False) -> None:
        self._seen = {"subject"} if has_subject else set()
        self._count = 0
        self._octets = 0

    @property
    def full(self) -> bool:
        """Whether there are too many of them, whatever else comes."""
        return self._count > MAX_HEADERS or self._octets > MAX_HEADER_OCTETS

    def finding(self, name: str, value: str) -> Finding | None:
        """Return why the next header can't be taken, or None."""
        self._count += 1
        self._octets += len(name) + len(value.encode()) + 4
        if self._count > MAX_HEADERS:
            return FaultCode.TOO_MANY, f"a message has at most {MAX_HEADERS} headers of its own"
        if self._octets > MAX_HEADER_OCTETS:
            return FaultCode.TOO_LONG, f"all headers together are longer than {MAX_HEADER_OCTETS} octets"
        finding = _check_header(name, value)
        repeated = self.repeated(name)
        return finding or repeated

    def repeated(self, name: str) -> Finding | None:
        """Return what is wrong with a header of this name where there was one before."""
        lower = name.lower()
        if lower in self._seen:
            return FaultCode.INVALID_HEADER, "this header is there twice"
        self._seen.add(lower)
        return None


def check_headers(headers: Mapping[str, str], *, has_subject: bool) -> Iterator[tuple[str, Finding]]:
    """Yield for each header that can't be taken its name and what is wrong with it."""
    check = HeaderCheck(has_subject=has_subject)
    for name, value in headers.items():
        finding = check.finding(name, value)
        if finding:
            yield name, finding
        if check.full:
            return


def decoded(value: str) -> str:
    """
    Return an unstructured value as its reader sees it: encoded words (RFC 2047) decoded, as far as they can be.

    A character that is cut in two by a word's end, as some mailers do it, comes out whole.
    """
    runs: list[tuple[str, bytes]] = []
    end = 0
    for word in _ENCODED_WORD.finditer(value):
        between, end = value[end : word.start()], word.end()
        # RFC 2047 section 6.2: white space between two encoded words is not shown.
        if not runs or between.strip(" \t"):
            runs.append(("", between.encode(errors="replace")))
        codec, octets = _decoded_word(word)
        if runs[-1][0] == codec:
            octets = runs.pop()[1] + octets
        runs.append((codec, octets))
    runs.append(("", value[end:].encode(errors="replace")))
    return "".join(_text(octets, codec or "utf-8") for codec, octets in runs)


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
    if value.isascii() and longest_piece(value.strip(" ")) > MAX_WORD:
        detail = f"a word of this header is longer than {MAX_WORD} characters, with the spaces before it"
        return FaultCode.TOO_LONG, detail
    return None


def _decoded_words(text: str) -> Iterator[str]:
    """Yield what readers make of each encoded word: strict ones, and those that let it hold a question mark."""
    for charset, encoding, payload in (*_ENCODED_WORD.findall(text), *_lenient_words(text)):
        octets = payload.encode()
        codec = _codec(charset)
        for word in _base64(octets) if encoding in "bB" else [a2b_qp(octets, header=True)]:
            # Not every reader knows the charset, and most charsets hold ASCII.
            yield word.decode("utf-8", "replace")
            if codec in _CODECS:
                yield _text(word, codec)


def _decoded_word(word: re.Match[str]) -> tuple[str, bytes]:
    """Return the codec and the octets of an encoded word; no codec, and the word itself, where it is unknown."""
    charset, encoding, payload = word.groups()
    codec, octets = _codec(charset), payload.encode(errors="replace")
    if codec not in _CODECS:
        return "", word[0].encode(errors="replace")
    return codec, next(_base64(octets)) if encoding in "bB" else a2b_qp(octets, header=True)


def _codec(charset: str) -> str:
    return normalize_encoding(charset.partition("*")[0].strip()).lower()


def _lenient_words(text: str) -> Iterator[tuple[str, str, str]]:
    # By hand, since a pattern that looks for an end over and over takes time by the square of the length.
    begin = _ENCODED_WORD_BEGINS.search(text)
    while begin and (end := text.find("?=", begin.end())) >= 0:
        yield begin[1], begin[2], text[begin.end() : end]
        begin = _ENCODED_WORD_BEGINS.search(text, end)


def _base64(payload: bytes) -> Iterator[bytes]:
    for run in [b"".join(_BASE64.findall(payload)), *_BASE64.findall(payload)]:
        # A last character that stands for less than an octet is what lenient readers pass over.
        whole = run[:-1] if len(run) % 4 == 1 else run
        yield a2b_base64(whole + b"===")


def _text(octets: bytes, codec: str) -> str:
    try:
        return octets.decode(codec, "replace")
    except (LookupError, ValueError):
        return ""

"""Replies of a server (RFC 5321 section 4.2) with enhanced status codes (RFC 2034, RFC 3463)."""

import re
from dataclasses import dataclass

from mailgate.model.outcome import Reply

MAX_LINE_OCTETS = 2048
"""Four times what RFC 5321 section 4.5.3.1.5 allows, for servers with long explanations."""

MAX_LINES = 128
MAX_REPLY_OCTETS = 32 * 1024
MAX_TEXT_LENGTH = 1000

_LINE = re.compile(rb"([2-5][0-9][0-9])(?:([ -])(.*))?", re.DOTALL)
_ENHANCED = re.compile(rb"([245]\.[0-9]{1,3}\.[0-9]{1,3})(?: +|$)")


class ReplyError(Exception):
    """The server sent what is not a reply; the text is a sentence that quotes nothing of it."""


def printable(octets: bytes) -> str:
    """
    Return text that is safe on one line of a log or in JSON, at most MAX_TEXT_LENGTH characters.

    What is not UTF-8 and every control or format character become U+FFFD, white space becomes a space.
    """
    text = octets.decode("utf-8", "replace")
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " if c.isspace() else "\ufffd" for c in text)
    return text if len(text) <= MAX_TEXT_LENGTH else text[: MAX_TEXT_LENGTH - 1] + "…"


@dataclass(frozen=True, slots=True)
class ServerReply:
    """
    One reply as it came.

    Attributes:
        code: three digits, 200 to 599.
        lines: the text of each line after the code, at least one.

    """

    code: int
    lines: tuple[bytes, ...]

    @property
    def positive(self) -> bool:
        """Whether the server did what it was asked (2yz)."""
        return self.code < 300  # noqa: PLR2004 - the number is the definition

    def readable(self, host: str) -> Reply:
        """
        Return what people and logs are shown, said by `host`.

        An enhanced status code that starts a line is taken off the text; the first one counts, and only if
        its class is that of the reply (RFC 2034 section 4).
        """
        enhanced = b""
        texts = []
        for line in self.lines:
            found = _ENHANCED.match(line)
            if found and found[1][0] == ord("0") + self.code // 100:
                enhanced = enhanced or found[1]
                texts.append(line[found.end() :])
            else:
                texts.append(line)
        return Reply(self.code, enhanced.decode(), printable(b" ".join(texts)).strip(), host)


class ReplyReader:
    """
    Turns the octets of a connection into replies, however they are cut.

    Octets go in by `feed`; `next_reply` gives one reply at a time, so that a caller who changes the
    connection between two replies (STARTTLS) can look at `pending` first. Once it raised ReplyError the
    reader gives no more replies.
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._code = b""
        self._lines: list[bytes] = []
        self._octets = 0

    @property
    def pending(self) -> bool:
        """Whether octets are left that no reply has used up."""
        return bool(self._buffer or self._lines)

    def feed(self, octets: bytes) -> None:
        """Take what came from the connection."""
        self._buffer += octets

    def next_reply(self) -> ServerReply | None:
        """Return the next whole reply, or None until more octets are fed; raise ReplyError for anything else."""
        while True:
            end = self._buffer.find(b"\n", 0, MAX_LINE_OCTETS + 2)
            if end < 0:
                if len(self._buffer) >= MAX_LINE_OCTETS + 2:
                    raise ReplyError("a reply line is too long")
                return None
            if self._buffer[end - 1 : end] != b"\r":
                raise ReplyError("a reply line ends without CRLF")
            line, self._buffer = self._buffer[: end - 1], self._buffer[end + 1 :]
            if self._take(line):
                reply = ServerReply(int(self._code), tuple(self._lines))
                self._code, self._lines, self._octets = b"", [], 0
                return reply

    def _take(self, line: bytes) -> bool:
        """Add one line to the reply under way; tell whether it was the last."""
        found = _LINE.fullmatch(line)
        if not found:
            raise ReplyError("a line is not an SMTP reply")
        code, mark, text = found.groups()
        if self._lines and code != self._code:
            raise ReplyError("the lines of one reply differ in their code")
        self._octets += len(line)
        if len(self._lines) >= MAX_LINES or self._octets > MAX_REPLY_OCTETS:
            raise ReplyError("a reply has too many lines")
        self._code = code
        self._lines.append(text or b"")
        return mark != b"-"

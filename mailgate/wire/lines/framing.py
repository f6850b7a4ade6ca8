"""Octets of a line session as lines and counted octets; nothing here knows what a verb means."""

import re
from dataclasses import dataclass

MAX_LINE = 1024
"""Octets of a line with its end."""

_BLANK = re.compile(rb"(?:\r?\n)+")
_HEAD = re.compile(rb"([A-Za-z]{1,16})(?:#(0|[1-9][0-9]{0,8}))?")


@dataclass(frozen=True, slots=True)
class Line:
    """
    One line.

    Attributes:
        verb: in upper case; empty where what stands in its place is none.
        count: how many octets follow, or None where it has no count.
        argument: what stands behind the first space.

    """

    verb: str
    count: int | None
    argument: bytes


@dataclass(frozen=True, slots=True)
class Octets:
    """Some of the octets that a count announced, at least one."""

    data: bytes


@dataclass(frozen=True, slots=True)
class End:
    """All octets that a count announced have come, and their end of line."""


@dataclass(frozen=True, slots=True)
class Broken:
    """Nothing that follows can be told apart any more; `reason` is a sentence."""

    reason: str


Piece = Line | Octets | End | Broken

_END = End()


class Framing:
    """
    Cuts what is fed into pieces: a Line, and where it has a count, Octets and an End.

    Any split of the same octets gives the same pieces, but for where Octets are cut. Nothing comes after Broken.
    What is kept between calls is a line at most, and whatever was fed and not yet asked for.
    """

    __slots__ = ("_broken", "_buffer", "_ending", "_left")

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._left = 0
        self._ending = False
        self._broken = False

    @property
    def empty(self) -> bool:
        """Whether all that was fed has come out in whole lines."""
        return not (self._buffer or self._left or self._ending)

    def feed(self, octets: bytes) -> None:
        """Take octets as they came from the network."""
        if not self._broken:
            self._buffer += octets

    def next_piece(self) -> Piece | None:
        """Return the next piece, or None until more is fed."""
        if self._broken:
            return None
        if self._left:
            return self._next_octets()
        if self._ending:
            return self._next_end()
        return self._next_line()

    def _next_octets(self) -> Octets | None:
        data = bytes(self._buffer[: self._left])
        if not data:
            return None
        del self._buffer[: len(data)]
        self._left -= len(data)
        return Octets(data)

    def _next_end(self) -> End | Broken | None:
        length = 2 if self._buffer[:1] == b"\r" else 1
        if len(self._buffer) < length:
            return None
        if self._buffer[length - 1] != 0x0A:  # noqa: PLR2004 - a line feed
            return self._break("the counted octets are not followed by the end of the line")
        del self._buffer[:length]
        self._ending = False
        return _END

    def _next_line(self) -> Line | Broken | None:
        blank = _BLANK.match(self._buffer)
        if blank is not None:
            del self._buffer[: blank.end()]
        feed = self._buffer.find(b"\n", 0, MAX_LINE)
        if feed < 0:
            too_long = len(self._buffer) >= MAX_LINE
            return self._break(f"a line is longer than {MAX_LINE} octets") if too_long else None
        line = bytes(self._buffer[:feed])
        del self._buffer[: feed + 1]
        return self._read_line(line.removesuffix(b"\r"))

    def _read_line(self, line: bytes) -> Line | Broken:
        if b"\0" in line:
            return self._break("a line holds a NUL")
        head, _, argument = line.partition(b" ")
        match = _HEAD.fullmatch(head)
        if match is None:
            if b"#" in head:
                return self._break("a count is # and up to nine digits, right behind the verb")
            return Line("", None, argument)
        if match[2] is None:
            return Line(match[1].decode().upper(), None, argument)
        self._left = int(match[2])
        self._ending = True
        return Line(match[1].decode().upper(), self._left, argument)

    def _break(self, reason: str) -> Broken:
        self._broken = True
        self._buffer.clear()
        return Broken(reason)

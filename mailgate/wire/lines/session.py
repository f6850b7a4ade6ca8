"""The line protocol's server side without I/O: octets in, what is to be answered out."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto

from mailgate.model.submission import Outline
from mailgate.wire.lines.framing import End, Framing, Line, Octets, Piece
from mailgate.wire.lines.message import FIELDS, PARTS, LineLimits, LineMessage
from mailgate.wire.lines.replies import Reply, bad_argument, bad_request, too_large
from mailgate.wire.lines.store import Store

MAX_FIELD = 8 * 1024
"""Octets of a counted field."""

SKIPPED_SIZES = 4
"""So many times the largest message may a count announce, lest the connection closes."""

_KEY = re.compile(rb"[A-Za-z0-9._:-]{1,64}")
_ANY_TIME = frozenset({"PING", "STAT", "HELP", "EXIT"})
_END_OF_MESSAGE = frozenset({"CHECK", "SEND", "DROP"})
_KEYED = frozenset({"MAIL", "STAT"})
_VERBS = _ANY_TIME | _END_OF_MESSAGE | {"MAIL"} | FIELDS | PARTS

_HELP = Reply(
    214,
    "2.0.0",
    "MAIL FROM TO CC BCC REPLY SUBJ HDR TEXT HTML FILE EMBED MORE AT META DRYRUN JSON RAW "
    "CHECK SEND DROP PING STAT HELP EXIT",
)
_BYE = Reply(221, "2.0.0", "bye")
_UNKNOWN_VERB = bad_request(502, "5.5.1", "there is no such verb")
_NO_MESSAGE = bad_request(503, "5.5.1", "begin a message with MAIL first")
_SECOND_MAIL = bad_request(503, "5.5.1", "this message has begun already: SEND or DROP it first")
_BAD_KEY = bad_argument("a key is 1 to 64 of the characters A-Z a-z 0-9 . _ : -")


@dataclass(frozen=True, slots=True)
class Answer:
    """A final reply that is known; the connection ends after it where `closes`."""

    reply: Reply
    closes: bool = False


@dataclass(frozen=True, slots=True)
class Send:
    """A message to be composed, committed, and closed by whoever takes it."""

    message: LineMessage


@dataclass(frozen=True, slots=True)
class Check:
    """A question whether the message of a key would be taken as it stands."""

    key: str
    outline: Outline


@dataclass(frozen=True, slots=True)
class Stat:
    """A question what became of the message of a key."""

    key: str


Event = Answer | Send | Check | Stat


class _Into(Enum):
    """Where counted octets go."""

    NOWHERE = auto()
    FIELD = auto()
    PART = auto()


class LineSession:
    """
    One client's session: each event is owed exactly one final reply, in order.

    Any split of the same octets gives the same events. At most one line and one field are kept beside the open
    message, whose parts go to stores of `new_store`, and what was fed and not yet asked for. `clock` tells
    seconds since the epoch. Nothing comes after an Answer that closes.

    Attributes:
        message: the message that is open, or None.
        looked: how many lines and stretches of counted octets were looked at.

    """

    __slots__ = ("_clock", "_field", "_framing", "_into", "_limits", "_line", "_new_store", "looked", "message")

    def __init__(self, limits: LineLimits, new_store: Callable[[], Store], clock: Callable[[], float]) -> None:
        self.message: LineMessage | None = None
        self.looked = 0
        self._limits = limits
        self._new_store = new_store
        self._clock = clock
        self._framing: Framing | None = Framing()
        self._line: Line | None = None
        self._into = _Into.NOWHERE
        self._field = b""

    @property
    def ended(self) -> bool:
        """Whether nothing comes any more, whatever is fed."""
        return self._framing is None

    @property
    def at_rest(self) -> bool:
        """Whether nothing is open: a new session would go on as this one does."""
        return self.message is None and self._framing is not None and self._framing.empty

    def feed(self, octets: bytes) -> None:
        """Take octets as they came from the network."""
        if self._framing is not None:
            self._framing.feed(octets)

    def next_event(self, most: int | None = None) -> Event | None:
        """Return the next event, or None until more is fed; or before `looked` would be more than `most`."""
        while self._framing is not None and (most is None or self.looked < most):
            piece = self._framing.next_piece()
            if piece is None:
                return None
            self.looked += 1
            event = self._handle(piece)
            if event is not None:
                return event
        return None

    def close(self) -> None:
        """Forget the open message and all that follows."""
        self._framing = None
        message, self.message = self.message, None
        if message is not None:
            message.close()

    def _handle(self, piece: Piece) -> Event | None:
        match piece:
            case Octets():
                self._take_octets(piece.data)
                return None
            case End():
                line, self._line = self._line, None
                assert line is not None
                return None if self._into is _Into.PART else self._act(line.verb, self._field)
            case Line(count=None):
                return self._act(piece.verb, piece.argument)
            case Line():
                return self._begin_count(piece)
        return self._end(bad_request(500, "5.5.2", piece.reason).of(self._key))

    def _begin_count(self, line: Line) -> Event | None:
        """Decide where the octets go that follow."""
        octets = line.count or 0
        if octets > SKIPPED_SIZES * self._limits.size:
            return self._end(too_large(octets, self._limits.size).of(self._key))
        if self.message is None and line.verb not in _VERBS:
            return self._end(_UNKNOWN_VERB)
        self._line = line
        self._field = b""
        self._into = _Into.NOWHERE
        if line.verb in PARTS:
            self._into = _Into.PART
            self._begun().begin(line.verb, octets, line.argument)
        elif line.verb in FIELDS | _KEYED:
            self._begin_field(line.verb, octets, line.argument)
        return None

    def _begin_field(self, verb: str, octets: int, argument: bytes) -> None:
        if verb in _KEYED:
            # What is too long for a field can't be a key either: it's refused as what it isn't.
            self._into = _Into.FIELD if octets <= MAX_FIELD and not argument else _Into.NOWHERE
            self._field = b"" if self._into is _Into.FIELD else b"?"
            return
        message = self._begun()
        if octets > MAX_FIELD:
            message.doom_with(too_large(octets, MAX_FIELD))
        elif argument:
            message.doom_with(bad_argument(f"{verb} takes an argument or a count, not both"))
        else:
            self._into = _Into.FIELD

    def _take_octets(self, data: bytes) -> None:
        if self._into is _Into.FIELD:
            self._field += data
        elif self._into is _Into.PART and self.message is not None:
            self.message.add(data)

    def _act(self, verb: str, value: bytes) -> Event | None:
        if verb in _ANY_TIME:
            return self._answer_any_time(verb, value)
        if verb in _END_OF_MESSAGE:
            return Answer(_NO_MESSAGE) if self.message is None else self._finish(verb, self.message)
        if verb == "MAIL":
            self._begin_message(value)
        elif verb in _VERBS:
            self._begun().take(verb, value)
        elif self.message is None:
            return self._end(_UNKNOWN_VERB)
        else:
            self.message.doom_with(_UNKNOWN_VERB)
        return None

    def _answer_any_time(self, verb: str, value: bytes) -> Event:
        match verb:
            case "PING":
                return Answer(Reply(250, "2.0.0", f"time={int(self._clock())} here"))
            case "HELP":
                return Answer(_HELP)
            case "STAT":
                return Stat(value.decode()) if _KEY.fullmatch(value) else Answer(_BAD_KEY)
            case _:
                return self._end(_BYE)

    def _finish(self, verb: str, message: LineMessage) -> Event:
        if verb == "CHECK":
            verdict = message.verdict(self._clock())
            if isinstance(verdict, Reply):
                return Answer(verdict.of(message.key))
            return Check(message.key, verdict)
        self.message = None
        if verb == "SEND" and message.doom is None:
            return Send(message)
        message.close()
        doom = None if verb == "DROP" else message.tell_doom()
        return Answer((doom or Reply(250, "2.0.0", "dropped")).of(message.key))

    def _begin_message(self, value: bytes) -> None:
        if self.message is not None:
            self.message.doom_with(_SECOND_MAIL)
            return
        fit = not value or _KEY.fullmatch(value) is not None
        self.message = self._new_message(value.decode() if fit else "")
        if not fit:
            self.message.doom_with(_BAD_KEY)

    def _begun(self) -> LineMessage:
        """Return the open message; a field without one begins one that can't be sent."""
        if self.message is None:
            self.message = self._new_message("")
            self.message.doom_with(_NO_MESSAGE)
        return self.message

    @property
    def _key(self) -> str:
        return "" if self.message is None else self.message.key

    def _new_message(self, key: str) -> LineMessage:
        return LineMessage(key, self._limits, self._new_store)

    def _end(self, reply: Reply) -> Answer:
        """Return the last answer of the session."""
        self.close()
        return Answer(reply, closes=True)

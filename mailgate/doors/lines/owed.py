"""The final replies that a connection owes, in the order they were asked for."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mailgate.doors.lines.room import Stay
from mailgate.wire.lines import LineMessage, Reply


@dataclass(slots=True, eq=False)
class Owed:
    """
    One reply that is owed.

    Attributes:
        since: when it was asked for, in the clock's seconds.
        request_id: what the journal calls it.
        key: the idempotency key it is about; empty where there is none.
        reply: what will be said, once that is known.
        begin: what finds the reply out, until it is called; it may have to wait for the replies before it.
        message: the message that it is about, until that is composed.
        octets: how large that is.
        stay: the message's room in memory.

    """

    since: float
    request_id: str
    key: str = ""
    reply: Reply | None = None
    begin: Callable[[], None] | None = None
    message: LineMessage | None = None
    octets: int = 0
    stay: Stay | None = None

    def give_up(self) -> None:
        """Begin no more, and let go of a message that is not composed yet; one that is takes its course."""
        self.begin = None
        message, self.message = self.message, None
        if message is not None:
            message.close()
            if self.stay is not None:
                self.stay.end()


class OwedReplies:
    """
    Replies that are found out in any order, and told in the one they were asked for.

    Attributes:
        octets: of all messages that replies are owed about.

    """

    __slots__ = ("_owed", "octets")

    def __init__(self) -> None:
        self.octets = 0
        self._owed: deque[Owed] = deque()

    def __len__(self) -> int:
        return len(self._owed)

    @property
    def since(self) -> float | None:
        """When the first one that is not known yet was asked for, or None."""
        return next((owed.since for owed in self._owed if owed.reply is None), None)

    def add(self, owed: Owed, *, in_turn: bool = False) -> None:
        """Owe one more reply; `in_turn` begins it only when those before it have been told."""
        self._owed.append(owed)
        self.octets += owed.octets
        if not in_turn or len(self._owed) == 1:
            _begin(owed)

    def told(self) -> Iterator[Reply]:
        """Yield, and owe no more, each reply that is known and whose turn it is."""
        while self._owed and (reply := self._owed[0].reply) is not None:
            self.octets -= self._owed.popleft().octets
            yield reply
            if self._owed:
                _begin(self._owed[0])

    def has_key(self, key: str) -> bool:
        """Tell whether a reply about a message of this key is owed and not known yet."""
        return any(owed.key == key and owed.reply is None for owed in self._owed)

    def overdue(self, since: float, reply: Callable[[Owed], Reply]) -> None:
        """Give up what was asked for at `since` or before, and is not known yet, with a reply."""
        for owed in self._owed:
            if owed.reply is None and owed.since <= since:
                owed.reply = reply(owed)
                owed.give_up()

    def clear(self) -> None:
        """Owe nothing any more."""
        owed, self._owed = self._owed, deque()
        for each in owed:
            each.give_up()


def _begin(owed: Owed) -> None:
    begin, owed.begin = owed.begin, None
    if begin is not None:
        begin()

"""A client that talks: its session, and the replies that it is owed."""

from collections.abc import Callable, Iterator
from math import inf

from mailgate.doors.lines.answering import COMMIT_SECONDS, Answering
from mailgate.doors.lines.desk import LineDesk
from mailgate.model.identity import ClientIdentity
from mailgate.wire.lines import LineMessage, Reply

STALL_SECONDS = 60.0
"""How long a client may stay silent within a message."""

MESSAGE_SECONDS = 15 * 60.0


class Conversation:
    """
    What a connection keeps beside its transport, from a client's first octet until it is at rest again.

    `found` is called whenever a reply is known.

    Attributes:
        message: the message that is open.
        message_since: when it began, in the clock's seconds.

    """

    __slots__ = ("_answering", "_session", "message", "message_since")

    def __init__(self, desk: LineDesk, identity: ClientIdentity, address: str, found: Callable[[], None]) -> None:
        self.message: LineMessage | None = None
        self.message_since = 0.0
        self._session = desk.session(identity)
        self._answering = Answering(desk, identity.certificate, address, found)

    @property
    def owes(self) -> bool:
        """Whether a reply is owed."""
        return len(self._answering.owed) > 0

    @property
    def waits(self) -> bool:
        """Whether a reply is not known yet."""
        return self._answering.owed.since is not None

    @property
    def full(self) -> bool:
        """Whether so much is owed that no more should be read for now, or nothing more will be listened to."""
        return self._answering.full or self._session.ended

    @property
    def over(self) -> bool:
        """Whether all is said, and the client may say nothing more."""
        return self._session.ended and not self.owes

    @property
    def at_rest(self) -> bool:
        """Whether nothing is open and nothing owed, so that a new conversation can go on as this one would."""
        return self._session.at_rest and not self.owes

    def feed(self, octets: bytes) -> None:
        """Take what the client sent."""
        self._session.feed(octets)

    def take_lines(self, heard_at: float, most: int) -> int:
        """Look at so many lines, and owe the replies to them as far as may be owed; return at how many."""
        before = self._session.looked
        while not self._answering.full and (event := self._session.next_event(before + most)) is not None:
            self._answering.take(event)
            if self._answering.ended:
                self._session.close()
        if self._session.message is not self.message:
            self.message = self._session.message
            self.message_since = heard_at
        return self._session.looked - before

    def told(self) -> Iterator[Reply]:
        """Yield, and owe no more, each reply that is known and whose turn it is."""
        return self._answering.owed.told()

    def deadline(self, heard_at: float) -> float:
        """Return until when a reply must be known, or the client heard of again within its message."""
        since = self._answering.owed.since
        if since is not None:
            return since + COMMIT_SECONDS
        if self.message is not None:
            return min(heard_at + STALL_SECONDS, self.message_since + MESSAGE_SECONDS)
        return inf

    def time_out(self) -> None:
        """Answer what could not be answered in time."""
        self._answering.time_out()

    def end(self) -> None:
        """Hear nothing more, and forget a message that is not complete."""
        self.message = None
        self._session.close()

    def abandon(self) -> None:
        """Owe nothing any more either; what is on its way to the disk takes its course."""
        self.end()
        self._answering.owed.clear()

"""A line session in memory, and all that comes out of it."""

import pytest

from mailgate.model.submission import Submission
from mailgate.wire.lines import Answer, LineLimits, LineSession, Send, StoreError

NOW = 1796083200.0  # 2026-12-01T00:00:00Z
LIMITS = LineLimits(size=20_000, body=40_000, recipients=3)


class MemoryStore:
    """A store that may be told to be full."""

    def __init__(self, room=None):
        self.octets = b""
        self.room = room
        self.closed = False

    @property
    def size(self):
        return len(self.octets)

    def append(self, octets):
        assert not self.closed
        if self.room is not None and octets:
            raise StoreError(self.room)
        self.octets += octets

    def read(self, start=0, end=None):
        assert not self.closed
        return self.octets[start:end]

    def close(self):
        self.closed = True


class Talk:
    """
    A session, its events so far, and the stores it made.

    `room` is the refusal that stores answer with, or None.
    """

    def __init__(self, limits=LIMITS):
        self.events = []
        self.stores = []
        self.room = None
        self.session = LineSession(limits, self._new_store, lambda: NOW)

    def _new_store(self):
        self.stores.append(MemoryStore(self.room))
        return self.stores[-1]

    def say(self, *octets):
        """Feed the pieces one after the other; return the events they make."""
        before = len(self.events)
        for piece in octets:
            self.session.feed(piece.encode() if isinstance(piece, str) else piece)
            while (event := self.session.next_event()) is not None:
                self.events.append(event)
        return self.events[before:]

    def reply(self, *octets):
        """Feed the pieces, which make one answer, and return its reply."""
        [event] = self.say(*octets)
        assert isinstance(event, Answer), event
        return event.reply

    def send(self, *octets):
        """Feed the pieces, which make one message to send; return its submission or the reply to it."""
        [event] = self.say(*octets)
        assert isinstance(event, Send), event
        made = event.message.compose(NOW)
        event.message.close()
        return made

    def submission(self, *octets):
        made = self.send(*octets)
        assert isinstance(made, Submission), made
        return made


@pytest.fixture
def talk():
    return Talk()


@pytest.fixture(name="Talk", scope="session")
def talk_class():
    return Talk

"""What the supervisor and a worker say to each other, over a socket that both have from the worker's start."""

import socket
from collections.abc import Callable
from struct import Struct as Octets

import msgspec
from twisted.internet.protocol import Protocol, connectionDone
from twisted.protocols.basic import Int32StringReceiver
from twisted.python.failure import Failure

from mailgate.ops.merging import Family

MOST_OCTETS = 64 * 1024 * 1024
_LENGTH = Octets("!I")


class Message(msgspec.Struct, frozen=True, tag=True):
    """What either side says."""


class Ready(Message, frozen=True):
    """A worker serves."""


class Failed(Message, frozen=True):
    """A worker can't start, for the reason of this sentence."""

    sentence: str


class Reload(Message, frozen=True):
    """Read the settings and all they name again."""


class Ask(Message, frozen=True):
    """Tell how you are."""

    question: int


class Report(Message, frozen=True):
    """How a worker is: why its doors would refuse a message, its upstreams, its metrics."""

    question: int
    not_ready: str | None
    upstreams: dict[str, bool]
    metrics: tuple[Family, ...]


class Crowded(Message, frozen=True):
    """
    A client was turned away at the line door, since all that it may hold are at other workers.

    Said to the supervisor, and by it to the others: the one that has been silent for longest there may close.
    """

    client: str


Said = Ready | Failed | Reload | Ask | Report | Crowded

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Said)


class Channel(Int32StringReceiver):
    """One end of the socket in a reactor: `heard` gets what the other side says, `lost` is called at its end."""

    MAX_LENGTH = MOST_OCTETS

    def __init__(self, heard: Callable[[Said], None], lost: Callable[[], None]) -> None:
        self._heard = heard
        self._lost = lost

    def say(self, message: Message) -> None:
        """Say something, to nobody if the other side is gone."""
        if self.connected and self.transport is not None:
            self.sendString(_encoder.encode(message))

    def stringReceived(self, string: bytes) -> None:
        """Hear something."""
        self._heard(_decoder.decode(string))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hear that the other side is gone."""
        Protocol.connectionLost(self, reason)
        self._lost()


def say(end: socket.socket, message: Message) -> None:
    """Say something where no reactor runs yet. Raises OSError."""
    octets = _encoder.encode(message)
    end.sendall(_LENGTH.pack(len(octets)) + octets)


def hear(end: socket.socket) -> Said | None:
    """Return what the other side says next, or None where it is gone; blocks. Raises OSError."""
    head = _receive(end, _LENGTH.size)
    if head is None:
        return None
    octets = _receive(end, _LENGTH.unpack(head)[0])
    return None if octets is None else _decoder.decode(octets)


def _receive(end: socket.socket, count: int) -> bytes | None:
    octets = b""
    while len(octets) < count:
        more = end.recv(count - len(octets))
        if not more:
            return None
        octets += more
    return octets

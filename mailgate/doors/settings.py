"""What the doors are told of the settings."""

from dataclasses import dataclass
from pathlib import Path

MEBIBYTE = 1024 * 1024


def body_limit(max_message: int) -> int:
    """Return the octets an HTTP body may have: room for base64 and JSON around the largest message."""
    return max_message * 14 // 10 + 64 * 1024


@dataclass(frozen=True, slots=True)
class LimitSettings:
    """
    The ``[limits]`` table.

    Attributes:
        max_message: octets of a composed message.
        recipients: envelope recipients of one message.
        request_head: seconds from the first octet of a request to the end of its head.
        connections: open connections in all.
        connections_per_address: open connections of one IP address.
        connections_per_client: open connections of one client to the line door.

    """

    max_message: int = 25 * MEBIBYTE
    recipients: int = 100
    request_head: float = 30.0
    connections: int = 10_000
    connections_per_address: int = 256
    connections_per_client: int = 8

    @property
    def max_body(self) -> int:
        """Octets of the largest HTTP body."""
        return body_limit(self.max_message)


@dataclass(frozen=True, slots=True)
class HttpsSettings:
    """The ``[https]`` table: Twisted server endpoint strings."""

    listen: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EnrolmentSettings:
    """
    The ``[est]`` table.

    Attributes:
        directory: the folder of the CA that signs, as ``mailgate ca`` makes it.
        days: how long a renewed certificate lasts.

    """

    directory: Path
    days: int


@dataclass(frozen=True, slots=True)
class LinesSettings:
    """The ``[lines]`` table: Twisted server endpoint strings."""

    listen: tuple[str, ...]

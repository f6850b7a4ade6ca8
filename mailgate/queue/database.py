"""What the queue needs from a database beyond Core: one class for each kind that is supported."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from sqlalchemy import Connection

from mailgate.queue.interface import QueueError


class Database(Protocol):
    """A database that is this gateway's to use from `open` to `close`."""

    @property
    def directory(self) -> Path | None:
        """Where it lies: the file system that must have room for what is accepted; None for another machine's."""

    @property
    def spare(self) -> int:
        """Octets that can be stored beyond what that file system has free, or less than it if negative."""

    @property
    def ahead(self) -> float:
        """
        Seconds that the queue's time is ahead of this gateway's, as of when the last transaction began to write.

        Leases and due times are in the queue's time, so that gateways whose clocks differ agree on them, and that
        they mean the same to the next process.
        """

    def check(self) -> None:
        """Raise QueueError where it is plain that `open` would, and change nothing."""

    def open(self) -> None:
        """
        Make sure of the present schema, and release what is known to be leased by dead gateways.

        Raises QueueError where it can't be used, and leaves it as it was.
        """

    def join(self, turn: int) -> None:
        """
        Use what another process of this gateway has opened, and keeps open for longer than this one.

        `turn` is a descriptor of something that all processes of the gateway have opened, each by itself, to take
        turns by. Raises QueueError where the database can't be used.
        """

    def turn(self) -> AbstractContextManager[None]:
        """Wait for this process's turn to write, where only one can at a time."""

    @property
    def lock(self) -> int | None:
        """A descriptor that keeps other gateways out while any process has it open; None where none is needed."""

    def upgrade(self) -> None:
        """Bring it to the present schema, from none at all if need be; raises QueueError, and changes nothing."""

    def beside(self) -> AbstractContextManager[Connection]:
        """
        Lend a connection in a transaction that may write, while gateways have the database open.

        Raises QueueError.
        """

    def writer(self) -> Connection:
        """Open a connection whose transactions may write."""

    def reader(self) -> Connection:
        """Open a connection that only reads, and doesn't wait for writers."""

    def explain(self, error: Exception) -> QueueError:
        """Return what went wrong as a sentence that names the database and holds nothing of a message."""

    def concerns_all(self, error: Exception) -> bool:
        """Tell whether the error would hit any transaction now, whatever it stores."""

    def conflicts(self, error: Exception) -> bool:
        """Tell whether another gateway's transaction came in between, so that the same again may succeed."""

    def is_damage(self, error: Exception) -> bool:
        """Tell whether the database itself is damaged, so that nothing more should go into it."""

    def make_room(self, error: Exception) -> bool:
        """Make room where the error says that there is none; tell whether the same again may succeed."""

    def is_lost(self, error: Exception) -> bool:
        """Tell whether the connection was lost, so that nobody knows whether the transaction was committed."""

    def close(self) -> None:
        """Leave the database tidy and free for the next; every connection has been closed before."""

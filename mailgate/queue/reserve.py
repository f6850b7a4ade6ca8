"""Room on the disk that is kept for the day it is full."""

import os
from contextlib import suppress
from pathlib import Path

MAX_OCTETS = 8 * 1024 * 1024
"""Enough for SQLite's log until it is written back, and for its index."""

_SHARE = 32
"""The part of a small file system that it takes at most: one of so many."""


class Reserve:
    """
    A file ``….reserve`` beside the queue, full of zeros, that is deleted where the queue lacks room.

    What is delivered can so be written down on a disk that something else has filled, and a gateway can start on
    one. It is made anew as soon as there is room for it and as much again.
    """

    def __init__(self, queue: Path) -> None:
        self._path = queue.with_name(queue.name + ".reserve")
        self._taken = False

    def take(self) -> None:
        """Make the file unless it is there, or there is too little room for it."""
        if self._taken:
            return
        with suppress(OSError):
            status = os.statvfs(self._path.parent)
            size = min(MAX_OCTETS, status.f_blocks * status.f_frsize // _SHARE)
            if self._path.exists():
                self._taken = True
            elif status.f_bavail * status.f_frsize >= 2 * size:
                self._fill(size)
                self._taken = True

    def give_up(self) -> bool:
        """Delete the file; tell whether that made room."""
        self._taken = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _fill(self, size: int) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
        except OSError:
            # Somebody else was faster.
            self._path.unlink()
            raise
        finally:
            os.close(file)

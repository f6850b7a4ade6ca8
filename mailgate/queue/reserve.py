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

    @property
    def size(self) -> int:
        """Octets that it takes: as much as the disk lets it, if there is room; at most MAX_OCTETS."""
        try:
            status = os.statvfs(self._path.parent)
        except OSError:
            return MAX_OCTETS
        return min(MAX_OCTETS, status.f_blocks * status.f_frsize // _SHARE)

    def take(self, *, whatever_is_left: bool = False) -> None:
        """
        Make the file as large as it should be where there is room for it and as much again.

        Or use `whatever_is_left`: what a gateway frees when it stops is what it needs to start again.
        """
        if self._taken and not whatever_is_left:
            # As far as this process knows: another one of the gateway may have given it up, and takes it again.
            return
        with suppress(OSError):
            size = self.size
            missing = size - self._octets()
            status = os.statvfs(self._path.parent)
            free = status.f_bavail * status.f_frsize
            if missing <= 0 or free >= missing + size:
                self._fill(size)
                self._taken = True
            elif whatever_is_left:
                self._fill(size - missing + min(missing, free))

    def give_up(self) -> bool:
        """Delete the file; tell whether that made room."""
        self._taken = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _octets(self) -> int:
        return self._path.stat().st_size if self._path.exists() else 0

    def _fill(self, size: int) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(file, 0, size)
        finally:
            os.close(file)

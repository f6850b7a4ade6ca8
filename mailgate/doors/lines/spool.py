"""Octets of a message that is still coming: in memory while they are few, then in a file without a name."""

import errno
import os
import resource
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.wire.lines import StoreError

IN_MEMORY = 16 * 1024
"""Octets that one spool keeps in memory; a message has three spools at most."""

SHARE_OF_DESCRIPTORS = 4
"""One descriptor of so many that the process may have can be a spool's: connections need the others."""

_RETRY_AFTER = 60.0
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})
_FULL = Refusal(RefusalCode.DISK_LOW, "the gateway's disk is full", retry_after=_RETRY_AFTER)
_BROKEN = Refusal(
    RefusalCode.STORAGE_UNAVAILABLE, "the gateway's disk can't be used right now", retry_after=_RETRY_AFTER
)
_BUSY = Refusal(RefusalCode.QUEUE_FULL, "too many uploads at this moment", retry_after=_RETRY_AFTER)

Admission = Callable[[], Refusal | None]


class Spools:
    """
    Makes spools whose files lie in `directory`, and counts those files.

    `admission` is asked before each is made.
    """

    def __init__(self, directory: Path, admission: Admission) -> None:
        self.files = 0
        self._directory = directory
        self._admission = admission
        self._most_files = max(1, resource.getrlimit(resource.RLIMIT_NOFILE)[0] // SHARE_OF_DESCRIPTORS)

    def new(self) -> "Spool":
        """Return an empty spool."""
        return Spool(self)

    def open(self) -> IO[bytes]:
        """Return a file without a name. Raises StoreError, OSError."""
        if self.files >= self._most_files:
            raise StoreError(_BUSY)
        refusal = self._admission()
        if refusal is not None:
            raise StoreError(refusal)
        file = tempfile.TemporaryFile(buffering=0, dir=self._directory)  # noqa: SIM115 - `close` ends it
        self.files += 1
        return file

    def close(self, file: IO[bytes]) -> None:
        """Give a file back."""
        self.files -= 1
        file.close()


class Spool:
    """
    A store of the line protocol that holds no more than IN_MEMORY octets in memory.

    Its file belongs to nobody else and has no name, so nothing is left of it after a crash.
    """

    __slots__ = ("_file", "_spools", "_tail", "_written")

    def __init__(self, spools: Spools) -> None:
        self._spools = spools
        self._file: IO[bytes] | None = None
        self._written = 0
        self._tail = bytearray()

    @property
    def size(self) -> int:
        """Octets that were appended."""
        return self._written + len(self._tail)

    def append(self, octets: bytes) -> None:
        """Keep some more. Raises StoreError where the disk has no room, or can't be written."""
        self._tail += octets
        if len(self._tail) > IN_MEMORY:
            self._spill()

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return the octets from `start` to before `end`. Raises StoreError."""
        stop = self.size if end is None else end
        kept = bytes(self._tail[max(0, start - self._written) : max(0, stop - self._written)])
        if self._file is None or start >= self._written:
            return kept
        return self._read_file(self._file, start, min(stop, self._written)) + kept

    def close(self) -> None:
        """Give the file back."""
        self._tail = bytearray()
        file, self._file = self._file, None
        if file is not None:
            self._spools.close(file)

    def _spill(self) -> None:
        try:
            if self._file is None:
                self._file = self._spools.open()
            octets = bytes(self._tail)
            while octets:
                octets = octets[os.write(self._file.fileno(), octets) :]
        except OSError as error:
            raise StoreError(_reason(error)) from error
        self._written += len(self._tail)
        self._tail = bytearray()

    @staticmethod
    def _read_file(file: IO[bytes], start: int, stop: int) -> bytes:
        pieces = []
        try:
            while start < stop:
                piece = os.pread(file.fileno(), stop - start, start)
                if not piece:
                    raise StoreError(_BROKEN)
                pieces.append(piece)
                start += len(piece)
        except OSError as error:
            raise StoreError(_BROKEN) from error
        return b"".join(pieces)


def _reason(error: OSError) -> Refusal:
    if error.errno in _NO_DESCRIPTOR:
        return _BUSY
    return _FULL if error.errno in _NO_ROOM else _BROKEN

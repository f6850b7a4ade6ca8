"""SQLite's write-ahead log (its file format, section 4), looked at before anything of it is used up."""

import os
import struct
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, Self

# Section 4.1: magic, version, page size, checkpoints, two salts, two checksums.
_HEADER = struct.Struct(">8I")
_MAGIC_NUMBERS = {0x377F0682: "<", 0x377F0683: ">"}
# Section 4.1 again: page, pages of the file where a transaction ends here, two salts, two checksums.
_FRAME = struct.Struct(">6I")
# Of the log's index ("WAL-index format", section 2.1): the frames that count, in the machine's own order.
_LAST_FRAME = struct.Struct("=16xI")
_SUMMED = 24


class DamagedLogError(Exception):
    """The log has lost what was committed to it."""


class LogCheck:
    """
    Holds the log beside a file against what SQLite makes of it.

    SQLite reads a log up to the first frame that is wrong, and drops the rest as a transaction that nobody was
    told of. A commit returns when its frames are on the disk, so that at most one can lie behind; with more, the
    midst of the log is damaged. Make one before SQLite has seen the log, `finish` while a connection reads, and
    leave the context when that is closed: before, leaving would take away the locks that it has. Raises
    DamagedLogError, OSError.
    """

    def __init__(self, path: Path) -> None:
        self._log = path.with_name(path.name + "-wal")
        self._index = path.with_name(path.name + "-shm")
        self._header = _header(self._log)
        self._kept = ExitStack()
        if self.exists and not path.stat().st_size:
            # SQLite would take it for the log of a file that is gone.
            raise DamagedLogError

    @property
    def exists(self) -> bool:
        """Whether there is a log with anything in it."""
        return self._header is not None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._kept.close()

    def finish(self) -> None:
        """Look at what lies behind the frames that the connection reads."""
        if self._header is None:
            return
        index = self._kept.enter_context(self._index.open("rb"))
        (last,) = _LAST_FRAME.unpack(index.read(_LAST_FRAME.size))
        if _commits_behind(self._log, self._header, last) > 1:
            raise DamagedLogError


def _header(log: Path) -> Sequence[int] | None:
    """Return the fields of the log's header, or None where there is no log."""
    try:
        with log.open("rb") as file:
            head = file.read(_HEADER.size)
            if len(head) < _HEADER.size or (not any(head) and _is_zeros(file)):
                return None
    except FileNotFoundError:
        return None
    fields = _HEADER.unpack(head)
    order = _MAGIC_NUMBERS.get(fields[0])
    if order is None or _checksum(order, head[:_SUMMED]) != fields[6:]:
        raise DamagedLogError
    return fields


def _is_zeros(file: BinaryIO) -> bool:
    return not any(any(piece) for piece in iter(lambda: file.read(1 << 16), b""))


def _checksum(order: str, octets: bytes) -> tuple[int, int]:
    """Return the two sums of section 4.2."""
    first = second = 0
    words = struct.unpack(f"{order}{len(octets) // 4}I", octets)
    for even, odd in zip(words[::2], words[1::2], strict=True):
        first = (first + even + second) & 0xFFFFFFFF
        second = (second + odd + first) & 0xFFFFFFFF
    return first, second


def _commits_behind(log: Path, header: Sequence[int], last: int) -> int:
    """Count the transactions of the present log that end behind frame `last`."""
    page = header[2]
    commits = 0
    with log.open("rb") as file:
        file.seek(_HEADER.size + last * (_FRAME.size + page))
        while len(head := file.read(_FRAME.size)) == _FRAME.size:
            fields = _FRAME.unpack(head)
            commits += fields[1] != 0 and fields[2:4] == header[4:6]
            file.seek(page, os.SEEK_CUR)
    return commits

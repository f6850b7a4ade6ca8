"""Rows by name in memory that several processes have in common."""

import fcntl
import mmap
import os
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import blake2b
from struct import Struct
from typing import Any

_KEY_OCTETS = 16
_WAYS = 16
"""Rows that a name may be in: with four times as many rows as names, all are taken for five names in a million."""

Values = tuple[Any, ...]


def make_memory(name: str) -> int:
    """Return the descriptor of memory that other processes can be given; it goes with its last descriptor."""
    return os.memfd_create(name)


def own_description(descriptor: int) -> int:
    """
    Return a descriptor of the same memory that no other process has: flock(2) tells apart whoever has opened.

    fcntl(2)'s own locks won't do. They belong to a process, so that two threads of one which wait for different
    locks look like a deadlock to the kernel. Raises OSError.
    """
    return os.open(f"/proc/self/fd/{descriptor}", os.O_RDWR | os.O_CLOEXEC)


class SharedRows:
    """
    A table of fixed size: each row has a name and the values of a `struct` format, which are 0 at first.

    `descriptor` is that of `make_memory`, and every process gives the same format and number of `rows`. A row is
    looked for by a hash of its name in a few places. Each access is under a lock that ends with its process.
    """

    def __init__(self, descriptor: int, values: str, rows: int) -> None:
        self._values = Struct(f"<{values}")
        self._row = _KEY_OCTETS + self._values.size
        self._sets = max(1, rows // _WAYS)
        size = self._sets * _WAYS * self._row
        os.ftruncate(descriptor, size)
        self._lock = own_description(descriptor)
        self._memory = mmap.mmap(descriptor, size)

    def close(self) -> None:
        """Let go of the memory; the descriptor stays open."""
        self._memory.close()
        os.close(self._lock)

    @contextmanager
    def locked(self, name: str) -> "Iterator[Places]":
        """Keep other processes out, and return the places of a name; nothing may wait within."""
        key = blake2b(name.encode(errors="surrogateescape"), digest_size=_KEY_OCTETS).digest()
        number = int.from_bytes(key[:8], "little") % self._sets
        with self._alone():
            yield Places(self, key, number * _WAYS)

    def each(self) -> "Iterator[Place]":
        """Yield every row that has a name, each with other processes kept out."""
        for number in range(self._sets):
            with self._alone():
                for position in range(number * _WAYS, (number + 1) * _WAYS):
                    place = Place(self, position)
                    if any(place.key):
                        yield place

    @contextmanager
    def _alone(self) -> Iterator[None]:
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def key(self, position: int) -> bytes:
        """Return the key of a row, zeros where it has none."""
        start = position * self._row
        return self._memory[start : start + _KEY_OCTETS]

    def read(self, position: int) -> Values:
        """Return the values of a row."""
        start = position * self._row
        return self._values.unpack_from(self._memory, start + _KEY_OCTETS)

    def write(self, position: int, key: bytes, values: Values) -> None:
        """Write a row."""
        start = position * self._row
        self._memory[start : start + self._row] = key + self._values.pack(*values)


class Place:
    """One row, while it is locked."""

    def __init__(self, rows: SharedRows, position: int) -> None:
        self._rows = rows
        self._position = position

    @property
    def key(self) -> bytes:
        """The hash of its name, zeros where it has none."""
        return self._rows.key(self._position)

    @property
    def values(self) -> Values:
        """What it holds."""
        return self._rows.read(self._position)

    def write(self, values: Values) -> None:
        """Write other values."""
        self._rows.write(self._position, self.key, values)

    def take(self, key: bytes, values: Values) -> None:
        """Write the values for another name."""
        self._rows.write(self._position, key, values)


class Places:
    """The rows that may be a name's, while they are locked."""

    def __init__(self, rows: SharedRows, key: bytes, first: int) -> None:
        self.key = key
        self.all = [Place(rows, position) for position in range(first, first + _WAYS)]

    @property
    def own(self) -> Place | None:
        """The name's row, or None where it has none yet."""
        return next((place for place in self.all if place.key == self.key), None)

"""A waiting line in which everyone's turn comes, however many one of them has waiting."""

from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class FairLine(Generic[T]):
    """Items that wait under keys: the keys take turns, and under a key the first come is served first."""

    def __init__(self) -> None:
        self._lines: dict[str, deque[T]] = {}
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def append(self, key: str, item: T) -> None:
        """Let an item wait; the first under a key gets that key's turn after all others'."""
        self._lines.setdefault(key, deque()).append(item)
        self._length += 1

    def popleft(self) -> T:
        """Return whose turn it is; raises IndexError where nothing waits."""
        if not self._lines:
            raise IndexError("nothing waits")
        key = next(iter(self._lines))
        line = self._lines.pop(key)
        item = line.popleft()
        if line:
            self._lines[key] = line
        self._length -= 1
        return item

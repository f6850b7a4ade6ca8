"""Counting what is open at a time, by name."""

from collections import Counter
from typing import Protocol


class Counts(Protocol):
    """Numbers by name; all are 0 at first."""

    def of(self, name: str) -> int:
        """Return the number of this name."""

    def add(self, name: str) -> None:
        """Count one more."""

    def remove(self, name: str) -> None:
        """Count one less; one that was added before."""


class OwnCounts:
    """Counts of this process alone."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def of(self, name: str) -> int:
        """Return the number of this name."""
        return self._counts.get(name, 0)

    def add(self, name: str) -> None:
        """Count one more."""
        self._counts[name] += 1

    def remove(self, name: str) -> None:
        """Count one less."""
        self._counts[name] -= 1
        if not self._counts[name]:
            del self._counts[name]

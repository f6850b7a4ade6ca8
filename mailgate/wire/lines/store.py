"""Where the octets of a message wait until it is complete."""

from typing import Protocol

from mailgate.model.refusal import Refusal


class StoreError(Exception):
    """There is no room for more; `refusal` is what the client is told."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class Store(Protocol):
    """Octets in the order they came; a door may keep them elsewhere than in memory."""

    @property
    def size(self) -> int:
        """How many there are."""

    def append(self, octets: bytes) -> None:
        """Keep some more. Raises StoreError."""

    def read(self, start: int = 0, end: int | None = None) -> bytes:
        """Return what was kept from `start` to before `end`. Raises StoreError."""

    def close(self) -> None:
        """Forget it all; nothing else may be called afterwards."""

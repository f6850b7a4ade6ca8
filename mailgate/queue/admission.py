"""Whether there is room on disk for more mail, and a queue that takes it."""

import os
from collections.abc import Callable
from pathlib import Path

from mailgate.model.refusal import Refusal, RefusalCode

_RETRY_AFTER = 60.0


class HangAdmission:
    """Refuses while the queue doesn't answer (`hang` says so): more would only wait, in memory."""

    def __init__(self, hang: Callable[[], str | None]) -> None:
        self._hang = hang

    def __call__(self) -> Refusal | None:
        """Return `storage_unavailable`, or None."""
        detail = self._hang()
        return (
            None if detail is None else Refusal(RefusalCode.STORAGE_UNAVAILABLE, detail, retry_after=_RETRY_AFTER)
        )


class DiskAdmission:
    """
    Refuses while the file system that holds the queue has less than its minimum free.

    `spare` tells how many octets the queue can store beyond that: what was delivered leaves room inside its file,
    and none on the disk. Without it a disk that the queue filled once would stay full for ever.
    """

    def __init__(self, directory: Path, minimum_free: float, spare: Callable[[], int]) -> None:
        self._directory = directory
        self._minimum_free = minimum_free
        self._spare = spare

    def __call__(self) -> Refusal | None:
        """Return `disk_low`, or `storage_unavailable` where the directory is gone, or None."""
        try:
            status = os.statvfs(self._directory)
        except OSError as error:
            detail = f"the queue's directory can't be looked at: {error.strerror}"
            return Refusal(RefusalCode.STORAGE_UNAVAILABLE, detail, retry_after=_RETRY_AFTER)
        free = status.f_bavail * status.f_frsize + self._spare()
        if free < status.f_blocks * status.f_frsize * self._minimum_free:
            return Refusal(RefusalCode.DISK_LOW, "the gateway's disk is nearly full", retry_after=_RETRY_AFTER)
        return None

"""Whether there is room on disk for more mail."""

import os
from pathlib import Path

from mailgate.model.refusal import Refusal, RefusalCode

_RETRY_AFTER = 60.0


class DiskAdmission:
    """Refuses while the file system that holds the queue has less than its minimum free."""

    def __init__(self, directory: Path, minimum_free: float) -> None:
        self._directory = directory
        self._minimum_free = minimum_free

    def __call__(self) -> Refusal | None:
        """Return `disk_low`, or `storage_unavailable` where the directory is gone, or None."""
        try:
            status = os.statvfs(self._directory)
        except OSError as error:
            detail = f"the queue's directory can't be looked at: {error.strerror}"
            return Refusal(RefusalCode.STORAGE_UNAVAILABLE, detail, retry_after=_RETRY_AFTER)
        if status.f_bavail < status.f_blocks * self._minimum_free:
            return Refusal(RefusalCode.DISK_LOW, "the gateway's disk is nearly full", retry_after=_RETRY_AFTER)
        return None

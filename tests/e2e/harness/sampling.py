"""What a process takes of the machine, looked up in /proc."""

import os
import threading
from pathlib import Path
from typing import Self

_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(process: int) -> float:
    """Return how long the process has computed so far."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


class Sampler:
    """Looks at a process twice a second and keeps the highest figures: MiB of memory, open descriptors."""

    def __init__(self, process: int) -> None:
        self.memory = 0
        self.descriptors = 0
        self._process = process
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        place = Path(f"/proc/{self._process}")
        while not self._over.wait(0.5):
            resident = int((place / "statm").read_text().split()[1]) * _PAGE
            self.memory = max(self.memory, resident // 2**20)
            self.descriptors = max(self.descriptors, sum(1 for _ in (place / "fd").iterdir()))

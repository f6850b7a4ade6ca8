"""Files that somebody else may change while the gateway runs."""

from collections.abc import Callable, Iterable
from pathlib import Path

from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

LOOK_SECONDS = 2.0
"""A change is acted on after two looks that saw the same, so that a file is not read while it is being written."""

Signature = dict[Path, tuple[int, ...]]


class FileWatch:
    """
    Calls `changed` once after files have changed, been renamed over, or gone.

    A link counts as what it leads to, which is how mounted secrets change.
    """

    def __init__(self, changed: Callable[[], object], clock: IReactorTime) -> None:
        self._changed = changed
        self._paths: tuple[Path, ...] = ()
        self._used: Signature = {}
        self._seen: Signature = {}
        self._looking = LoopingCall(self._look)
        self._looking.clock = clock

    def reading(self) -> None:
        """Note that the files are about to be read: only what changes after this counts."""
        self._used = self._seen = _signature(self._paths)

    def watch(self, paths: Iterable[Path]) -> None:
        """Watch these files from now on, those that were watched before since they were read."""
        self._paths = tuple(dict.fromkeys(paths))
        self._used = self._seen = _signature(self._paths) | {
            path: signature for path, signature in self._used.items() if path in self._paths
        }

    def start(self) -> None:
        """Begin to look."""
        self._looking.start(LOOK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        if self._looking.running:
            self._looking.stop()

    def _look(self) -> None:
        now = _signature(self._paths)
        settled, self._seen = now == self._seen, now
        if settled and now != self._used:
            self._used = now
            self._changed()


def _signature(paths: Iterable[Path]) -> Signature:
    return {path: _signature_of(path) for path in paths}


def _signature_of(path: Path) -> tuple[int, ...]:
    try:
        status = path.stat()
    except OSError as error:
        return (error.errno or 0,)
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns

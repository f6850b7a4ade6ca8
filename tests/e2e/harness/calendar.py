"""A calendar that a test sets while programs run, by libfaketime; their steady clocks go on undisturbed."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_LIBRARIES = "/usr/lib/*/faketime/libfaketimeMT.so.1"


class Calendar:
    """The calendar of the programs that were started within `shown`."""

    def __init__(self, folder: Path) -> None:
        libraries = sorted(Path("/").glob(_LIBRARIES.lstrip("/")))
        if not libraries:
            pytest.skip("libfaketime is not installed")
        self._library = libraries[0]
        self._offset = folder / "calendar"
        self.set_by(0)

    def set_by(self, hours: float) -> None:
        """Let the calendar differ from the true one by so many hours."""
        fresh = self._offset.with_suffix(".new")
        fresh.write_text(f"{hours * 3600:+.0f}\n")
        fresh.chmod(0o644)
        fresh.replace(self._offset)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the calendar to the programs that are started meanwhile."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LD_PRELOAD", str(self._library))
            patch.setenv("FAKETIME_TIMESTAMP_FILE", str(self._offset))
            patch.setenv("FAKETIME_NO_CACHE", "1")
            patch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
            patch.setenv("DONT_FAKE_MONOTONIC", "1")
            yield

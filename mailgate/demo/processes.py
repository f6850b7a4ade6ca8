"""Other programs, started and stopped by the one that needs them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Self

POLL_SECONDS = 0.02
STOP_SECONDS = 20.0


class ProgramError(Exception):
    """A program didn't start or ended before its time; the text is one sentence."""


class Program:
    """
    One program in the background; what it prints goes to a file.

    It gets a session of its own, so that Ctrl-C on the terminal reaches only us, who know the order to stop
    in. Use it as a context manager: it is stopped on the way out, whatever happened.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str | Path],
        output: Path,
        *,
        cwd: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start it; raises ProgramError where there is no such program."""
        self.name = name
        self.output = output
        try:
            with output.open("wb") as sink:
                self._process = subprocess.Popen(  # noqa: S603 - the command is built by the caller, not by a shell
                    [str(part) for part in command],
                    stdin=subprocess.DEVNULL,
                    stdout=sink,
                    stderr=subprocess.STDOUT,
                    cwd=cwd,
                    env={**os.environ, **(environment or {})},
                    start_new_session=True,
                )
        except OSError as error:
            raise ProgramError(f"{name} can't be started: {error.filename}: {error.strerror}") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.poll() is None

    @property
    def printed(self) -> str:
        """What it has printed so far."""
        return self.output.read_text(errors="replace")

    def wait_until(self, ready: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
        """Return once `ready` says so; raises ProgramError where the program ends before, or time runs out."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running:
                raise ProgramError(f"{self.name} ended before it {what}: {self._last_words()}")
            if time.monotonic() > deadline:
                raise ProgramError(f"{self.name} has not {what} within {seconds:.0f} s: {self._last_words()}")
            time.sleep(POLL_SECONDS)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would."""
        self._process.kill()
        self._process.wait()

    def stop(self, seconds: float = STOP_SECONDS) -> int:
        """Ask it with SIGTERM to end, and return its exit status; after `seconds`, kill it."""
        if self.running:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
        return self._process.wait()

    def _last_words(self) -> str:
        lines = self.printed.strip().splitlines()
        return lines[-1] if lines else "it printed nothing"

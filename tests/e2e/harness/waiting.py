"""Waiting for what other processes do."""

import time
from collections.abc import Callable


def until(seen: Callable[[], bool], what: str, seconds: float = 30.0) -> None:
    """Return once `seen` says so; fail the test after `seconds`."""
    deadline = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < deadline, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.02)

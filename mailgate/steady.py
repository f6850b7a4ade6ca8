"""A clock that goes on whatever is done to the calendar's, for everything that waits."""

import time
from collections.abc import Callable

_CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


def uptime() -> float:
    """Return the seconds since a moment that is the same for all processes."""
    return time.clock_gettime(_CLOCK)


def steady_clock(uptime_zero: float | None = None) -> Callable[[], float]:
    """
    Return what tells seconds: the epoch's when it was made, and from then on those that have gone by.

    The time that the machine was suspended counts, where the system tells it.

    With `uptime_zero`, what the clock of another process told when `uptime` was zero, it tells what that one does.
    """
    zero = time.time() - uptime() if uptime_zero is None else uptime_zero
    return lambda: zero + uptime()

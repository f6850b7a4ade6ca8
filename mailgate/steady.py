"""A clock that goes on whatever is done to the calendar's, for everything that waits."""

import time
from collections.abc import Callable


def steady_clock() -> Callable[[], float]:
    """
    Return what tells seconds: the epoch's when it was made, and from then on those that have gone by.

    The time that the machine was suspended counts, where the system tells it.
    """
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    begun_at = time.time() - time.clock_gettime(clock)
    return lambda: begun_at + time.clock_gettime(clock)

"""When a deferred message is tried again."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RetrySchedule:
    """
    Exponential back-off with jitter; all times in seconds.

    Attributes:
        first: the wait after the first failed attempt.
        longest: no wait is longer than this, jitter included.
        give_up_after: age at which a message that is still deferred expires.

    """

    first: float = 30.0
    longest: float = 3600.0
    give_up_after: float = 5 * 86400.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.longest:
            raise ValueError("the first retry must lie above zero and not above the longest one")
        if self.give_up_after <= 0:
            raise ValueError("the time to give up must lie above zero")

    def wait(self, attempts: int, jitter: float) -> float:
        """
        Return how long to wait after the given number of attempts (1 or more).

        `jitter` is a random number in [0, 1); it takes up to a quarter off the wait, so that messages which
        were deferred together do not come back together.
        """
        doublings = min(attempts - 1, 64)
        return min(self.first * 2.0**doublings, self.longest) * (1 - jitter / 4)

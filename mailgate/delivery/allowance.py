"""How many connections an upstream is good for at the moment."""

STEP = 1.0
"""Seconds between two doublings after a quiet time, and at least between two times that it is halved."""

PROBE = 10.0
"""Seconds between two tries with one connection more than was last too many."""


class Allowance:
    """
    A number of connections between 1 and `limit` that follows what the upstream can take.

    It is halved when the upstream is overloaded, and grows while there is success: doubled each STEP up to where
    it was last cut, then by one each PROBE (additive increase, multiplicative decrease). Times are in a clock's
    seconds.

    Attributes:
        connections: the number.

    """

    def __init__(self, limit: int) -> None:
        self.connections = limit
        self._limit = limit
        self._proven = limit
        self._grown_at = 0.0
        self._halved_at = -STEP

    def succeeded(self, now: float) -> None:
        """Note that the upstream did its work."""
        ramping = self.connections < self._proven
        if now - self._grown_at >= (STEP if ramping else PROBE):
            grown = min(self.connections * 2, self._proven) if ramping else self.connections + 1
            self.connections = min(grown, self._limit)
            self._grown_at = now

    def overloaded(self, now: float) -> None:
        """Note that it said it has too much to do; what says so together counts once."""
        if now - self._halved_at >= STEP:
            self._halved_at = now
            self._cut(self.connections // 2, now)

    def refused(self, opened: int, now: float) -> None:
        """Note that it took no further connection beside `opened` others."""
        self._cut(min(opened, self.connections), now)

    def restart(self, now: float) -> None:
        """Begin with two connections: the upstream has just come back, and everybody waits for it."""
        self._proven = self._limit
        # With a single one, a message that takes long would hold up all others.
        self.connections = min(2, self._limit)
        self._grown_at = now

    def _cut(self, connections: int, now: float) -> None:
        self.connections = self._proven = max(1, connections)
        self._grown_at = now

"""How many connections an upstream is good for at the moment."""

STEP = 1.0
"""Seconds between two doublings after a quiet time, between two times that it is halved, and at first between two
tries with one connection more; a try has gone well once it has lasted as long."""

LONGEST_PROBE = 60.0
"""The most seconds between two tries with one connection more than was last too many."""

TOLERATED = 10
"""Messages without a word of overload that make up for one with it."""

STRAIN = 3 * TOLERATED
"""What isn't made up for, beyond which it is more than chance."""

FEW = 2
"""With a single connection, a message that takes long would hold up all others."""


class Allowance:
    """
    A number of connections between 1 and `limit` that follows what the upstream can take.

    It is halved when the upstream says of some messages in a hundred that it is overloaded, and grows while there
    is success: doubled each STEP up to where it was last cut, then by one (additive increase, multiplicative
    decrease). That one is tried until it was in use with success. How long it waits before it tries one more
    follows what came of the last: twice as long after each cut, and STEP where it went well. Times are in the
    seconds of a clock.

    Attributes:
        connections: the number.
        trying: whether the last of them is being tried.

    """

    def __init__(self, limit: int) -> None:
        self.connections = limit
        self.trying = False
        self._limit = limit
        self._proven = limit
        self._probe_wait = STEP
        self._strain = 0
        self._misses = 0
        self._changed_at = 0.0
        self._cut_at = -STEP

    def succeeded(self, used: int, now: float) -> None:
        """Note that the upstream did its work over one of so many connections that were in use."""
        self._strain = max(0, self._strain - 1)
        since = now - self._changed_at
        if since < STEP or (self.trying and used < self.connections):
            return
        if self.trying:
            self.trying = False
            self._probe_wait = STEP
        if self.connections < self._proven:
            self._use(min(self.connections * 2, self._proven), now)
        elif since >= self._probe_wait and self.connections < self._limit:
            self._use(self.connections + 1, now)
            self.trying = True

    def overloaded(self, now: float) -> None:
        """Note that it said it has too much to do; what says so together counts once."""
        self._strain = min(self._strain, STRAIN) + TOLERATED
        if self._strain > STRAIN and now - self._cut_at >= STEP:
            self._cut(max(self.connections // 2, min(FEW, self.connections)), now)

    def refused(self, opened: int, now: float) -> None:
        """Note that it took no further connection beside `opened` others."""
        self._cut(max(1, min(opened, self.connections)), now)

    def missed(self, in_a_row: int) -> int:
        """
        Note that a connection could not be had, as so many in a row; return how many speak against the number.

        While one more is tried, all since then do: whatever succeeds between may be the others'.
        """
        self._misses += 1
        return self._misses if self.trying else in_a_row

    def restart(self, now: float) -> None:
        """Begin with few connections: the upstream has just come back, and everybody waits for it."""
        self._proven = self._limit
        self._probe_wait = STEP
        self._use(min(FEW, self._limit), now)

    def _use(self, connections: int, now: float) -> None:
        self.connections = connections
        self._changed_at = now
        self.trying = False
        self._misses = 0

    def _cut(self, connections: int, now: float) -> None:
        if now - self._cut_at >= STEP:
            self._probe_wait = min(LONGEST_PROBE, self._probe_wait * 2)
        self._use(connections, now)
        self._proven = connections
        self._cut_at = now

"""Telling the journal of refused peers, without letting a scanner fill the disk."""

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from mailgate.model.journal import Journal

PERIOD = 60.0
"""Seconds over which the lines of one address are counted."""

LINES_PER_ADDRESS = 10
MAX_ADDRESSES = 1000
"""Addresses that are told apart within a period; further ones share one count, without a line of their own."""

_EVERYONE_ELSE = "others"


class RefusalLog:
    """
    Records refusals: ten lines a minute for each address, then one line with the count of those left out.

    Memory and lines a minute are bounded however many addresses take part.
    """

    def __init__(self, journal: Journal, clock: IReactorTime) -> None:
        self._journal = journal
        self._clock = clock
        self._counts: dict[str, int] = {}
        self._period_ends = 0.0
        self._flush: IDelayedCall | None = None

    def record(self, event: str, /, *, address: str, **fields: object) -> None:
        """Note that a peer at `address` was refused."""
        now = self._clock.seconds()
        if now >= self._period_ends:
            self.close()
            self._period_ends = now + PERIOD
        who = address
        if address not in self._counts and len(self._counts) >= MAX_ADDRESSES:
            who = _EVERYONE_ELSE
        count = self._counts[who] = self._counts.get(who, 0) + 1
        if count <= LINES_PER_ADDRESS and who == address:
            self._journal.record(event, address=address, **fields)
        elif self._flush is None:
            self._flush = self._clock.callLater(max(0.0, self._period_ends - now), self.close)

    def close(self) -> None:
        """Tell what was left out of this period, and begin anew."""
        if self._flush is not None and self._flush.active():
            self._flush.cancel()
        self._flush = None
        counts, self._counts = self._counts, {}
        for address, count in counts.items():
            told = 0 if address == _EVERYONE_ELSE else LINES_PER_ADDRESS
            if count > told:
                self._journal.record("refusals.omitted", address=address, count=count - told)

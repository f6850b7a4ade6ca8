"""Rates and connections, counted by all workers together."""

from mailgate.policy.rate import Bucket
from mailgate.policy.rules import Rate
from mailgate.workers.memory import Places, SharedRows

_MOST_CLIENTS = 16_384
_ROWS_A_NAME = 4


def rate_rows(descriptor: int) -> SharedRows:
    """Return the rows of clients' rates: tokens, the moment they hold for, and when the bucket will be full."""
    return SharedRows(descriptor, "ddd", _MOST_CLIENTS * _ROWS_A_NAME)


def count_rows(descriptor: int, workers: int, names: int) -> SharedRows:
    """Return the rows of counts, a number for each worker, for up to so many addresses and as many clients."""
    return SharedRows(descriptor, f"{workers}I", 2 * names * _ROWS_A_NAME)


class SharedRates:
    """
    A RateKeeper that several processes have in common; `kind` tells apart what lies in the same rows.

    Where more clients send than there is room for, the one whose bucket is full soonest is forgotten.
    """

    def __init__(self, rows: SharedRows, kind: str) -> None:
        self._rows = rows
        self._kind = kind

    def take(self, client: str, rate: Rate, now: float) -> float:
        """Take one message from the client's rate; return 0, or the seconds to wait where none is left."""
        with self._rows.locked(f"{self._kind} {client}") as places:
            bucket, wait = _bucket(places, rate, now).take(rate, now)
            _keep(places, bucket, rate)
        return wait

    def give_back(self, client: str, rate: Rate, now: float) -> None:
        """Undo that one message was taken."""
        with self._rows.locked(f"{self._kind} {client}") as places:
            _keep(places, _bucket(places, rate, now).give_back(rate, now), rate)

    def left(self, client: str, rate: Rate, now: float) -> int:
        """Return how many messages the client may send at once."""
        with self._rows.locked(f"{self._kind} {client}") as places:
            return int(_bucket(places, rate, now).at(rate, now).tokens)

    def wait(self, client: str, rate: Rate, now: float) -> float:
        """Return what `take` would, and take nothing."""
        with self._rows.locked(f"{self._kind} {client}") as places:
            return _bucket(places, rate, now).take(rate, now)[1]


def _bucket(places: Places, rate: Rate, now: float) -> Bucket:
    own = places.own
    return Bucket.full(rate, now) if own is None else Bucket(own.values[0], own.values[1])


def _keep(places: Places, bucket: Bucket, rate: Rate) -> None:
    full_at = bucket.updated_at + (rate.count - bucket.tokens) * rate.period / rate.count
    place = places.own or min(places.all, key=lambda each: each.values[2])
    place.take(places.key, (bucket.tokens, bucket.updated_at, full_at))


class SharedCounts:
    """
    Counts of which each process has its own column, from 0 on: what one has counted goes with it.

    `kind` tells apart what lies in the same rows.
    """

    def __init__(self, rows: SharedRows, kind: str, column: int) -> None:
        self._rows = rows
        self._kind = kind
        self._column = column

    def of(self, name: str) -> int:
        """Return the number of this name at all processes."""
        with self._rows.locked(f"{self._kind} {name}") as places:
            own = places.own
            return 0 if own is None else sum(own.values)

    def add(self, name: str) -> None:
        """Count one more."""
        with self._rows.locked(f"{self._kind} {name}") as places:
            place = places.own
            if place is None:
                place = next((each for each in places.all if not any(each.values)), None)
                if place is None:
                    # More names than the gateway may have connections: they can't all be counted.
                    return
                values = [0] * len(place.values)
            else:
                values = list(place.values)
            values[self._column] += 1
            place.take(places.key, tuple(values))

    def remove(self, name: str) -> None:
        """Count one less."""
        with self._rows.locked(f"{self._kind} {name}") as places:
            place = places.own
            if place is not None and place.values[self._column]:
                values = list(place.values)
                values[self._column] -= 1
                place.write(tuple(values))


def forget_column(rows: SharedRows, column: int) -> None:
    """Set to 0 what a process has counted that is dead."""
    for place in rows.each():
        if place.values[column]:
            place.write((*place.values[:column], 0, *place.values[column + 1 :]))

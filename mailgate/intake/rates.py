"""What is left of each client's rate, in memory."""

from typing import Protocol

from mailgate.policy.rate import Bucket
from mailgate.policy.rules import Rate

_MANY = 10_000


class RateKeeper(Protocol):
    """What is left of each client's rate; times are in seconds of a steady clock."""

    def take(self, client: str, rate: Rate, now: float) -> float:
        """Take one message from the client's rate; return 0, or the seconds to wait where none is left."""

    def give_back(self, client: str, rate: Rate, now: float) -> None:
        """Undo that one message was taken."""

    def left(self, client: str, rate: Rate, now: float) -> int:
        """Return how many messages the client may send at once."""

    def wait(self, client: str, rate: Rate, now: float) -> float:
        """Return what `take` would, and take nothing."""


class Rates:
    """One bucket a client; the clients of the wildcard entry can't make it grow without bound."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}

    def take(self, client: str, rate: Rate, now: float) -> float:
        """Take one message from the client's rate; return 0, or the seconds to wait where none is left."""
        bucket, wait = self._bucket(client, rate, now).take(rate, now)
        self._keep(client, bucket)
        return wait

    def give_back(self, client: str, rate: Rate, now: float) -> None:
        """Undo that one message was taken."""
        self._keep(client, self._bucket(client, rate, now).give_back(rate, now))

    def left(self, client: str, rate: Rate, now: float) -> int:
        """Return how many messages the client may send at once."""
        return int(self._bucket(client, rate, now).at(rate, now).tokens)

    def wait(self, client: str, rate: Rate, now: float) -> float:
        """Return what `take` would, and take nothing."""
        return self._bucket(client, rate, now).take(rate, now)[1]

    def _keep(self, client: str, bucket: Bucket) -> None:
        self._buckets.pop(client, None)
        self._buckets[client] = bucket
        if len(self._buckets) > _MANY:
            del self._buckets[next(iter(self._buckets))]

    def _bucket(self, client: str, rate: Rate, now: float) -> Bucket:
        return self._buckets.get(client) or Bucket.full(rate, now)

"""A token bucket as a value: taking from it returns the next one."""

from dataclasses import dataclass

from mailgate.policy.rules import Rate


@dataclass(frozen=True, slots=True)
class Bucket:
    """
    What is left of a rate.

    Attributes:
        tokens: messages that may be sent now; between 0 and the rate's count.
        updated_at: the moment that `tokens` holds for, in seconds of any clock.

    """

    tokens: float
    updated_at: float

    @classmethod
    def full(cls, rate: Rate, now: float) -> "Bucket":
        """Return the bucket of a client that sent nothing for a while."""
        return cls(float(rate.count), now)

    def at(self, rate: Rate, now: float) -> "Bucket":
        """Return the bucket as it stands at `now`; a clock that went back adds nothing and takes nothing."""
        gained = max(0.0, now - self.updated_at) * rate.count / rate.period
        return Bucket(min(float(rate.count), self.tokens + gained), now)

    def take(self, rate: Rate, now: float) -> "tuple[Bucket, float]":
        """
        Take one token at `now`.

        Returns the next bucket and 0, or the bucket untouched and the seconds until a token is there.
        """
        current = self.at(rate, now)
        if current.tokens >= 1:
            return Bucket(current.tokens - 1, now), 0.0
        return current, (1 - current.tokens) * rate.period / rate.count

    def give_back(self, rate: Rate, now: float) -> "Bucket":
        """Return the bucket with one token more, as far as the rate allows."""
        current = self.at(rate, now)
        return Bucket(min(float(rate.count), current.tokens + 1), now)

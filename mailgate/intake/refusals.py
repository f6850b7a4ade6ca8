"""What intake refuses with."""

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.policy.rules import Rate
from mailgate.wire.checks import check_times
from mailgate.wire.faults import Faults

_STORAGE_RETRY = 30.0

DRAINING = Refusal(RefusalCode.DRAINING, "the gateway is shutting down", retry_after=10)
NOT_FOUND = Refusal(RefusalCode.NOT_FOUND, "there is no such message")
UNKNOWN = Refusal(RefusalCode.CLIENT_UNKNOWN, "no client entry names this certificate")
IN_PROGRESS = Refusal(
    RefusalCode.IDEMPOTENCY_IN_PROGRESS,
    "the first request with this idempotency key is still in progress",
    retry_after=1,
)
KEY_REUSED = Refusal(RefusalCode.IDEMPOTENCY_KEY_REUSED, "the idempotency key was used before for other content")
STORAGE_UNAVAILABLE = Refusal(
    RefusalCode.STORAGE_UNAVAILABLE, "the queue can't be used right now", retry_after=_STORAGE_RETRY
)


def too_late(scheduled_at: float | None, expires_at: float | None, now: float) -> Refusal | None:
    """Return the refusal of a message whose time has passed, seconds since the epoch all, or None."""
    faults = Faults()
    check_times(scheduled_at, expires_at, now, faults)
    return faults.refusal() if faults else None


def rate_limited(rate: Rate, wait: float) -> Refusal:
    """Return the refusal of a client whose rate has nothing left for so many seconds."""
    return Refusal(RefusalCode.RATE_LIMITED, f"more than {rate} messages", retry_after=max(1.0, wait))


def quota_exceeded(wait: float) -> Refusal:
    """Return the refusal of a client whose quota's next window begins in so many seconds."""
    detail = "the client's quota is used up"
    return Refusal(RefusalCode.QUOTA_EXCEEDED, detail, retry_after=max(1.0, wait))

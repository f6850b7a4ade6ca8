"""Messages on hold: an operator decides whether they are tried again."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection

from mailgate.model.outcome import Status
from mailgate.queue.schema import MESSAGES, RECIPIENTS, WAITING

_ON_HOLD = sa.and_(WAITING, MESSAGES.c.on_hold.is_(True), MESSAGES.c.lease.is_(None))
_HELD = (
    sa.select(
        MESSAGES.c.id,
        MESSAGES.c.message_id,
        MESSAGES.c.client,
        MESSAGES.c.sender,
        RECIPIENTS.c.address,
        MESSAGES.c.waiting_since,
        MESSAGES.c.expires_at,
    )
    .join(RECIPIENTS, RECIPIENTS.c.message == MESSAGES.c.id)
    .where(_ON_HOLD, RECIPIENTS.c.status == Status.DEFERRED.value)
    .order_by(MESSAGES.c.waiting_since, MESSAGES.c.id, RECIPIENTS.c.position)
)
_RETRY = (
    sa.update(MESSAGES)
    .where(_ON_HOLD, MESSAGES.c.id == sa.bindparam("of"))
    .values(on_hold=False, due_at=sa.bindparam("now"), waiting_since=sa.bindparam("now"))
)


@dataclass(frozen=True, slots=True)
class Held:
    """A message on hold for one of its recipients, since when, and when it expires (seconds since the epoch)."""

    id: str
    message_id: str
    client: str
    sender: str
    recipient: str
    since: float
    expires_at: float


def held(connection: Connection) -> Sequence[Held]:
    """Return every message on hold, the longest held first, once for each recipient that is open."""
    return [Held(*row) for row in connection.execute(_HELD)]


def retry(connection: Connection, ids: Iterable[str], now: float) -> Sequence[str]:
    """Let messages on hold be due at `now`; return the ids of those that were not on hold."""
    return [each for each in ids if connection.execute(_RETRY, {"of": each, "now": now}).rowcount == 0]

"""Leases: who delivers a message now, and until when that holds."""

from collections.abc import Iterable, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import LEASE_SECONDS, Claim, PendingRecipient, Settlement
from mailgate.queue.schema import CONTENTS, MESSAGES, RECIPIENTS
from mailgate.queue.settling import OPEN, settle

CLAIM_LIMIT = 500
"""The messages that one claim takes at most."""

CLAIM_OCTETS = 32 * 1024 * 1024
"""The contents that one claim brings into memory at most, unless the first message alone is larger."""

_LOST = Reply(554, "5.3.0", "the gateway's queue was damaged and holds only a part of the message")

_DUE = (
    sa.select(MESSAGES.c.id, MESSAGES.c.size)
    .where(MESSAGES.c.due_at <= sa.bindparam("now"))
    .order_by(MESSAGES.c.due_at, MESSAGES.c.id)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.id == sa.bindparam("of"))
    .values(lease=sa.bindparam("to"), due_at=sa.bindparam("until"))
)
_CLAIMED = (
    sa.select(
        MESSAGES.c.id,
        MESSAGES.c.message_id,
        MESSAGES.c.client,
        MESSAGES.c.sender,
        MESSAGES.c.eight_bit,
        MESSAGES.c.smtputf8,
        MESSAGES.c.attempts,
        MESSAGES.c.created_at,
        MESSAGES.c.expires_at,
        CONTENTS.c.content,
    )
    .join(CONTENTS, CONTENTS.c.message == MESSAGES.c.id)
    .where(MESSAGES.c.id.in_(sa.bindparam("ids", expanding=True)))
)
_PENDING = (
    sa.select(RECIPIENTS.c.message, RECIPIENTS.c.position, RECIPIENTS.c.address)
    .where(
        RECIPIENTS.c.message.in_(sa.bindparam("ids", expanding=True)),
        RECIPIENTS.c.status.in_(OPEN),
    )
    .order_by(RECIPIENTS.c.message, RECIPIENTS.c.position)
)
_MOVE = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.id == sa.bindparam("of"), MESSAGES.c.lease == sa.bindparam("held"))
    .values(lease=sa.bindparam("to"), due_at=sa.bindparam("until"))
)
_CLOSE = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.id == sa.bindparam("of"))
    .values(status=Status.FAILED.value, lease=None, due_at=None, finished_at=sa.bindparam("now"))
)
_RELEASE_ALL = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.due_at.is_not(None), MESSAGES.c.lease == sa.bindparam("held"))
    .values(lease=None, due_at=sa.bindparam("now"))
)
_RELEASE_EVERYONES = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.due_at.is_not(None), MESSAGES.c.lease.is_not(None))
    .values(lease=None, due_at=sa.bindparam("now"))
)


def claim(connection: Connection, limit: int, lease: str, now: float) -> Sequence[Claim]:
    """
    Lease up to `limit` messages that are due at `now` to the owner `lease`, the longest due first.

    What a salvaged database holds only in part fails here, for that reason, and keeps nothing else back.
    """
    ids = _within_budget(connection.execute(_DUE, {"now": now, "limit": min(limit, CLAIM_LIMIT)}))
    if not ids:
        return []
    connection.execute(_TAKE, [{"of": each, "to": lease, "until": now + LEASE_SECONDS} for each in ids])
    pending: dict[str, list[PendingRecipient]] = {each: [] for each in ids}
    for message, position, address in connection.execute(_PENDING, {"ids": ids}):
        pending[message].append(PendingRecipient(position, address))
    rows = {row.id: row for row in connection.execute(_CLAIMED, {"ids": ids})}
    whole = {each: None for each in ids if each in rows and pending[each]}
    _fail(connection, {each: pending[each] for each in ids if each not in whole}, lease, now)
    return [
        Claim(
            id=each,
            message_id=rows[each].message_id,
            client=rows[each].client,
            sender=rows[each].sender,
            recipients=tuple(pending[each]),
            content=rows[each].content,
            eight_bit=rows[each].eight_bit,
            smtputf8=rows[each].smtputf8,
            attempts=rows[each].attempts,
            created_at=rows[each].created_at,
            expires_at=rows[each].expires_at,
        )
        for each in whole
    ]


def _fail(connection: Connection, partial: dict[str, list[PendingRecipient]], lease: str, now: float) -> None:
    """Settle what can't be delivered as it isn't all there; what has no recipient to tell it of is only closed."""
    settlements = [
        Settlement(each, tuple(Outcome(who.position, Status.FAILED, _LOST) for who in recipients), now, None)
        for each, recipients in partial.items()
        if recipients
    ]
    if settlements:
        settle(connection, settlements, lease)
    closed = [{"of": each, "now": now} for each, recipients in partial.items() if not recipients]
    if closed:
        connection.execute(_CLOSE, closed)


def _within_budget(due: Iterable[Row[str, int]]) -> list[str]:
    ids: list[str] = []
    octets = 0
    for message, size in due:
        octets += size
        if ids and octets > CLAIM_OCTETS:
            break
        ids.append(message)
    return ids


def renew(connection: Connection, ids: Iterable[str], lease: str, now: float) -> None:
    """Make those of the leases that the owner `lease` holds last a whole lease time from `now`."""
    _move(connection, ids, lease, lease, now + LEASE_SECONDS)


def release(connection: Connection, ids: Iterable[str], lease: str, due_at: float) -> None:
    """Give back those of the leases that the owner `lease` holds; the messages are due at `due_at`."""
    _move(connection, ids, lease, None, due_at)


def _move(connection: Connection, ids: Iterable[str], held: str, to: str | None, until: float) -> None:
    rows = [{"of": each, "held": held, "to": to, "until": until} for each in ids]
    if rows:
        connection.execute(_MOVE, rows)


def release_all(connection: Connection, lease: str, now: float) -> None:
    """Give back every lease that the owner `lease` holds; the messages are due at `now`."""
    connection.execute(_RELEASE_ALL, {"held": lease, "now": now})


def release_everyones(connection: Connection, now: float) -> None:
    """Give back every lease, where it is known that no owner lives; the messages are due at `now`."""
    connection.execute(_RELEASE_EVERYONES, {"now": now})

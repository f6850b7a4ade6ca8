"""Leases: who delivers a message now, and until when that holds."""

from collections.abc import Iterable, Mapping, Sequence

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from mailgate.model.outcome import Status
from mailgate.queue.interface import LEASE_SECONDS, Claim, PendingRecipient
from mailgate.queue.schema import CONTENTS, MESSAGES, RECIPIENTS, WAITING
from mailgate.queue.settling import OPEN
from mailgate.queue.turns import queue_up

CLAIM_LIMIT = 500
"""The messages that one claim takes at most."""

CLAIM_OCTETS = 32 * 1024 * 1024
"""The contents that one claim brings into memory at most, unless the first message alone is larger."""

_NEXT = (
    sa.select(MESSAGES.c.id, MESSAGES.c.size)
    .where(MESSAGES.c.turn.is_not(None))
    .order_by(MESSAGES.c.turn, MESSAGES.c.id)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_LEASED: Mapping[str, object] = {
    "lease": sa.bindparam("to"),
    "due_at": sa.bindparam("until"),
    "waiting_since": sa.bindparam("now"),
    "turn": None,
}
_TAKE = sa.update(MESSAGES).where(MESSAGES.c.id == sa.bindparam("of")).values(_LEASED)
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
        MESSAGES.c.on_hold,
        CONTENTS.c.content,
    )
    .join(CONTENTS, CONTENTS.c.message == MESSAGES.c.id, isouter=True)
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
    .values(_LEASED)
)
_CLOSE = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.id == sa.bindparam("of"))
    .values(status=Status.FAILED.value, lease=None, turn=None, due_at=None, finished_at=sa.bindparam("now"))
)
_RELEASED: Mapping[str, object] = {
    "lease": None,
    "due_at": sa.bindparam("now"),
    "waiting_since": sa.bindparam("now"),
}
# What has a turn waits for no lease any more.
_RELEASE_ALL = sa.update(MESSAGES).where(WAITING, MESSAGES.c.lease == sa.bindparam("held")).values(_RELEASED)
_RELEASE_EVERYONES = sa.update(MESSAGES).where(WAITING, MESSAGES.c.lease.is_not(None)).values(_RELEASED)
_FOLLOW_BACK = (
    sa.update(MESSAGES)
    .where(
        WAITING,
        MESSAGES.c.waiting_since > sa.bindparam("now"),
        # Those are due at a moment of the calendar.
        MESSAGES.c.on_hold.is_(False),
        sa.or_(MESSAGES.c.status != Status.SCHEDULED.value, MESSAGES.c.lease.is_not(None)),
    )
    .values(
        due_at=MESSAGES.c.due_at - MESSAGES.c.waiting_since + sa.bindparam("now"),
        waiting_since=sa.bindparam("now"),
    )
)


def claim(
    connection: Connection, limit: int, lease: str, now: float, *, take_over: bool = True
) -> Sequence[Claim]:
    """
    Lease up to `limit` messages that are due at `now` to the owner `lease`, in the order of their turns.

    Those whose leases have ended are taken over unless `take_over` is False. Where a salvaged database lacks a
    content, the claim is marked so; a message without any recipient is closed.
    """
    queue_up(connection, now, take_over=take_over)
    ids = _within_budget(connection.execute(_NEXT, {"limit": min(limit, CLAIM_LIMIT)}))
    if not ids:
        return []
    connection.execute(
        _TAKE, [{"of": each, "to": lease, "until": now + LEASE_SECONDS, "now": now} for each in ids]
    )
    pending: dict[str, list[PendingRecipient]] = {each: [] for each in ids}
    for message, position, address in connection.execute(_PENDING, {"ids": ids}):
        pending[message].append(PendingRecipient(position, address))
    rows = {row.id: row for row in connection.execute(_CLAIMED, {"ids": ids})}
    closed = [{"of": each, "now": now} for each in ids if not pending[each]]
    if closed:
        connection.execute(_CLOSE, closed)
    return [
        Claim(
            id=each,
            message_id=rows[each].message_id,
            client=rows[each].client,
            sender=rows[each].sender,
            recipients=tuple(pending[each]),
            content=rows[each].content or b"",
            eight_bit=rows[each].eight_bit,
            smtputf8=rows[each].smtputf8,
            attempts=rows[each].attempts,
            created_at=rows[each].created_at,
            expires_at=rows[each].expires_at,
            on_hold=rows[each].on_hold,
            damaged=rows[each].content is None,
        )
        for each in ids
        if pending[each]
    ]


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
    _move(connection, [{"of": each, "to": lease, "until": now + LEASE_SECONDS} for each in ids], lease, now)


def release(connection: Connection, ids: Iterable[str], lease: str, due_at: float, now: float) -> None:
    """Give back, at `now`, those of the leases that the owner `lease` holds; the messages are due at `due_at`."""
    _move(connection, [{"of": each, "to": None, "until": due_at} for each in ids], lease, now)


def _move(connection: Connection, rows: Iterable[Mapping[str, object]], held: str, now: float) -> None:
    complete = [{**row, "held": held, "now": now} for row in rows]
    if complete:
        connection.execute(_MOVE, complete)


def release_all(connection: Connection, lease: str, now: float) -> None:
    """Give back every lease that the owner `lease` holds; the messages are due at `now`."""
    connection.execute(_RELEASE_ALL, {"held": lease, "now": now})


def release_everyones(connection: Connection, now: float) -> None:
    """Give back every lease, where it is known that no owner lives; the messages are due at `now`."""
    connection.execute(_RELEASE_EVERYONES, {"now": now})


def follow_back(connection: Connection, now: float) -> None:
    """
    Follow a clock that was set back to `now`: nothing can have begun to wait later than that.

    What did waits for its whole time again, leases too; it would wait longer by as much as the clock was set.
    """
    connection.execute(_FOLLOW_BACK, {"now": now})

"""What is asked of the stored messages, and forgetting them."""

import json
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Connection, Row

from mailgate.model.outcome import Reply, Status
from mailgate.model.receipt import MessageRecord, RecipientRecord
from mailgate.queue.accepting import window_start
from mailgate.queue.interface import KEY_SECONDS, Survey
from mailgate.queue.schema import KEYS, MESSAGES, RECIPIENTS, USAGE, WAITING

PURGE_LIMIT = 500
"""Messages that one step of a purge forgets at most."""

_MESSAGE = sa.select(
    MESSAGES.c.id,
    MESSAGES.c.message_id,
    MESSAGES.c.client,
    MESSAGES.c.status,
    MESSAGES.c.created_at,
    MESSAGES.c.scheduled_at,
    MESSAGES.c.expires_at,
    MESSAGES.c.attempts,
    MESSAGES.c.lease,
    MESSAGES.c.due_at,
    MESSAGES.c.on_hold,
    MESSAGES.c.metadata.label("labels"),
).where(MESSAGES.c.id == sa.bindparam("message"), MESSAGES.c.client == sa.bindparam("owner"))
_RECIPIENTS = (
    sa.select(RECIPIENTS).where(RECIPIENTS.c.message == sa.bindparam("of")).order_by(RECIPIENTS.c.position)
)
_OF_KEY = sa.select(KEYS.c.message).where(
    KEYS.c.client == sa.bindparam("owner"), KEYS.c.key == sa.bindparam("named")
)
_NEXT_DUE = sa.select(MESSAGES.c.due_at).where(WAITING).order_by(MESSAGES.c.due_at).limit(1)
_NEXT_TURN = (
    sa.select(MESSAGES.c.due_at)
    .where(MESSAGES.c.turn.is_not(None))
    .order_by(MESSAGES.c.turn, MESSAGES.c.id)
    .limit(1)
)
_OPEN = sa.select(
    MESSAGES.c.status,
    sa.func.count(),
    sa.func.min(sa.func.coalesce(MESSAGES.c.scheduled_at, MESSAGES.c.created_at)),
).group_by(MESSAGES.c.status)
_SURVEY = sa.union_all(_OPEN.where(WAITING), _OPEN.where(MESSAGES.c.turn.is_not(None)))
_USED = sa.select(USAGE.c.messages).where(
    USAGE.c.client == sa.bindparam("of"),
    USAGE.c.period == sa.bindparam("lasting"),
    USAGE.c.start == sa.bindparam("since"),
)
_OUTLIVED = (
    sa.select(MESSAGES.c.id)
    .where(MESSAGES.c.keyed == sa.bindparam("keyed"), MESSAGES.c.finished_at <= sa.bindparam("until"))
    .order_by(MESSAGES.c.finished_at)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_FORGET = sa.delete(MESSAGES).where(MESSAGES.c.id.in_(sa.bindparam("ids", expanding=True)))
_FORGET_USAGE = sa.delete(USAGE).where(USAGE.c.start + USAGE.c.period <= sa.bindparam("now"))


def find(connection: Connection, client: str, message: str, now: float) -> MessageRecord | None:
    """Return the client's own message of that id as it stands at `now`, or None."""
    row = connection.execute(_MESSAGE, {"message": message, "owner": client}).one_or_none()
    if row is None:
        return None
    status = _status(row, now)
    return MessageRecord(
        id=row.id,
        message_id=row.message_id,
        client=row.client,
        status=status,
        created_at=row.created_at,
        attempts=row.attempts,
        next_attempt_at=None if row.on_hold or status is Status.SENDING else row.due_at,
        expires_at=row.expires_at,
        recipients=tuple(_recipient(each, status) for each in connection.execute(_RECIPIENTS, {"of": message})),
        metadata=json.loads(row.labels),
    )


def find_by_key(connection: Connection, client: str, key: str, now: float) -> MessageRecord | None:
    """Return the message that the client's idempotency key stands for, as it stands at `now`, or None."""
    message = connection.execute(_OF_KEY, {"owner": client, "named": key}).scalar_one_or_none()
    return None if message is None else find(connection, client, message, now)


def _status(row: Row[*tuple[Any, ...]], now: float) -> Status:
    stored = Status(row.status)
    if stored.final:
        return stored
    if row.lease is not None and row.due_at > now:
        return Status.SENDING
    if stored is Status.SCHEDULED and row.scheduled_at <= now:
        return Status.QUEUED
    return stored


def _recipient(row: Row[*tuple[Any, ...]], message: Status) -> RecipientRecord:
    """Return a recipient; one without an outcome is as its message is, one whose turn it is now is `sending`."""
    status = Status(row.status)
    if status is Status.QUEUED or (not status.final and message is Status.SENDING):
        status = message
    reply = None if row.code is None else Reply(row.code, row.enhanced, row.text, row.host)
    return RecipientRecord(row.address, status, row.updated_at, reply)


def next_due(connection: Connection) -> float | None:
    """Return when the next message is due or the next lease ends, or None; the past for one that has its turn."""
    due_now: float | None = connection.execute(_NEXT_TURN).scalar_one_or_none()
    return connection.execute(_NEXT_DUE).scalar_one_or_none() if due_now is None else due_now


def survey(connection: Connection, now: float) -> Survey:
    """Count the messages without a final outcome at `now`."""
    messages: dict[Status, int] = {}
    begins: list[float] = []
    for name, count, oldest in connection.execute(_SURVEY):
        messages[Status(name)] = messages.get(Status(name), 0) + count
        # What is deferred was tried: it waits for its recipient's sake, not for the gateway's.
        if name != Status.DEFERRED:
            begins.append(oldest)
    return Survey(messages, min((each for each in begins if each <= now), default=None))


def used(connection: Connection, client: str, period: float, now: float) -> int:
    """Return how many messages count in the client's quota window of `period` seconds that holds `now`."""
    since = window_start(period, now)
    found = connection.execute(_USED, {"of": client, "lasting": period, "since": since}).scalar_one_or_none()
    return found or 0


def purge(connection: Connection, retention: float, now: float) -> int:
    """
    Forget up to PURGE_LIMIT messages that finished before the retention, their keys with them.

    A message that a key leads to stays KEY_SECONDS at least, so that a key never outlives its record. Quota
    windows that are over go too. Returns the number of messages; at PURGE_LIMIT there may be more.
    """
    connection.execute(_FORGET_USAGE, {"now": now})
    ids: list[str] = []
    for keyed, kept in ((False, retention), (True, max(retention, KEY_SECONDS))):
        condition = {"keyed": keyed, "until": now - kept, "limit": PURGE_LIMIT - len(ids)}
        ids += connection.execute(_OUTLIVED, condition).scalars()
    if ids:
        connection.execute(_FORGET, {"ids": ids})
    return len(ids)

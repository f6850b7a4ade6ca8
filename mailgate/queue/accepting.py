"""Storing new messages, many in one transaction: idempotency keys, quotas, rows."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from operator import itemgetter

import sqlalchemy as sa
from sqlalchemy import Connection

from mailgate.model.outcome import Status
from mailgate.model.receipt import Receipt
from mailgate.queue.interface import (
    LEASE_SECONDS,
    IdempotencyKeyReusedError,
    NewMessage,
    Quota,
    QuotaExceededError,
)
from mailgate.queue.schema import CONTENTS, KEYS, MESSAGES, RECIPIENTS, USAGE
from mailgate.queue.turns import Turns

_INSERT_MESSAGES = sa.insert(MESSAGES)
_INSERT_RECIPIENTS = sa.insert(RECIPIENTS)
_INSERT_CONTENTS = sa.insert(CONTENTS)
_INSERT_KEYS = sa.insert(KEYS)
_INSERT_USAGE = sa.insert(USAGE)
# SQLite finds pairs in a list only by a scan, so the lists are held against each column, and the few pairs
# too many that this may bring are left aside.
_STORED = sa.select(MESSAGES.c.id).where(MESSAGES.c.id.in_(sa.bindparam("ids", expanding=True)))
_KNOWN_KEYS = (
    sa.select(
        KEYS.c.client,
        KEYS.c.key,
        KEYS.c.fingerprint,
        MESSAGES.c.id,
        MESSAGES.c.message_id,
        MESSAGES.c.created_at,
        MESSAGES.c.scheduled_at,
    )
    .join(MESSAGES, MESSAGES.c.id == KEYS.c.message)
    .where(
        KEYS.c.key.in_(sa.bindparam("keys", expanding=True)),
        KEYS.c.client.in_(sa.bindparam("clients", expanding=True)),
    )
)
_ADDRESSES = (
    sa.select(RECIPIENTS.c.message, RECIPIENTS.c.address)
    .where(RECIPIENTS.c.message.in_(sa.bindparam("ids", expanding=True)))
    .order_by(RECIPIENTS.c.message, RECIPIENTS.c.position)
)
_USED = (
    sa.select(USAGE.c.client, USAGE.c.period, USAGE.c.start, USAGE.c.messages)
    .where(
        USAGE.c.client.in_(sa.bindparam("clients", expanding=True)),
        USAGE.c.start.in_(sa.bindparam("starts", expanding=True)),
    )
    .order_by(USAGE.c.client, USAGE.c.period, USAGE.c.start)
    .with_for_update()
)
_UPDATE_USAGE = (
    sa.update(USAGE)
    .where(
        USAGE.c.client == sa.bindparam("of_client"),
        USAGE.c.period == sa.bindparam("of_period"),
        USAGE.c.start == sa.bindparam("of_start"),
    )
    .values(messages=sa.bindparam("count"))
)

Window = tuple[str, float, float]
"""A client, a period, and a window's start."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What a known idempotency key stands for."""

    fingerprint: str
    receipt: Receipt


def accept(
    connection: Connection,
    messages: Sequence[NewMessage],
    lease: str,
    now: float,
    *,
    ahead: float = 0.0,
    again: bool = False,
) -> list[Receipt | IdempotencyKeyReusedError | QuotaExceededError]:
    """
    Store the messages, and return for each, in order, its receipt or why it was refused.

    Those that ask for it are born leased to the owner `lease` from `now` on. `now` is this gateway's; the queue's
    time is `ahead` of it. `again` where these very messages were given before and nobody knows
    whether they were committed.
    """
    stored_before = already_stored(connection, messages) if again else frozenset()
    known = _known_keys(connection, messages)
    usage = _Usage(connection, messages)
    results: list[Receipt | IdempotencyKeyReusedError | QuotaExceededError] = []
    new: list[NewMessage] = []
    for message in messages:
        if message.id in stored_before:
            results.append(_first_receipt(message))
            continue
        key = message.idempotency_key
        stored = None if key is None else known.get((message.client, key))
        if stored is not None:
            results.append(_repeat(stored, message))
            continue
        if message.quota is not None:
            wait = usage.count(message, message.quota)
            if wait is not None:
                results.append(QuotaExceededError(wait))
                continue
        receipt = _first_receipt(message)
        if key is not None:
            known[message.client, key] = _Stored(message.fingerprint, receipt)
        new.append(message)
        results.append(receipt)
    if new:
        _insert(connection, new, lease, now, ahead)
        usage.write(connection)
    return results


def window_start(period: float, now: float) -> float:
    """Return when the quota window of `period` seconds that holds `now` began."""
    return now // period * period


def already_stored(connection: Connection, messages: Iterable[NewMessage]) -> frozenset[str]:
    """Return the ids of those messages that are stored."""
    ids = [message.id for message in messages]
    return frozenset(connection.execute(_STORED, {"ids": ids}).scalars())


def _first_receipt(message: NewMessage) -> Receipt:
    return _receipt(message.id, message.message_id, message.created_at, message.scheduled_at, message.recipients)


def _receipt(
    message: str, message_id: str, created_at: float, scheduled_at: float | None, recipients: Iterable[str]
) -> Receipt:
    status = Status.QUEUED if scheduled_at is None else Status.SCHEDULED
    return Receipt(message, message_id, status, created_at, tuple(recipients))


def _repeat(stored: _Stored, message: NewMessage) -> Receipt | IdempotencyKeyReusedError:
    if stored.fingerprint != message.fingerprint:
        return IdempotencyKeyReusedError("this idempotency key was used before, for other content")
    return replace(stored.receipt, replayed=True)


def _known_keys(connection: Connection, messages: Iterable[NewMessage]) -> dict[tuple[str, str], _Stored]:
    """Return what the messages' idempotency keys stand for already, by client and key."""
    keys = {
        (message.client, message.idempotency_key) for message in messages if message.idempotency_key is not None
    }
    if not keys:
        return {}
    clients, names = zip(*keys, strict=True)
    rows = connection.execute(_KNOWN_KEYS, {"keys": names, "clients": list(set(clients))}).all()
    if not rows:
        return {}
    addresses: dict[str, list[str]] = {row.id: [] for row in rows}
    for message, address in connection.execute(_ADDRESSES, {"ids": list(addresses)}):
        addresses[message].append(address)
    return {
        (row.client, row.key): _Stored(
            row.fingerprint,
            _receipt(row.id, row.message_id, row.created_at, row.scheduled_at, addresses[row.id]),
        )
        for row in rows
    }


class _Usage:
    """The quota windows that a batch of messages falls in, counted on as it goes through."""

    def __init__(self, connection: Connection, messages: Iterable[NewMessage]) -> None:
        windows = {self._window(message, message.quota) for message in messages if message.quota is not None}
        self._counts: dict[Window, int] = {}
        if windows:
            clients, _, starts = zip(*windows, strict=True)
            rows = connection.execute(_USED, {"clients": list(set(clients)), "starts": list(set(starts))})
            self._counts = {(client, period, start): count for client, period, start, count in rows}
        self._stored = dict(self._counts)

    def count(self, message: NewMessage, quota: Quota) -> float | None:
        """Count the message, or return in how many seconds the next window begins if this one is full."""
        window = self._window(message, quota)
        count = self._counts.get(window, 0)
        if count >= quota.limit:
            return window[2] + quota.period - message.created_at
        self._counts[window] = count + 1
        return None

    def write(self, connection: Connection) -> None:
        """Store what was counted."""
        new = []
        changed = []
        for (client, period, start), count in self._counts.items():
            before = self._stored.get((client, period, start))
            if before is None:
                new.append({"client": client, "period": period, "start": start, "messages": count})
            elif before != count:
                changed.append({"of_client": client, "of_period": period, "of_start": start, "count": count})
        if new:
            connection.execute(_INSERT_USAGE, new)
        if changed:
            connection.execute(_UPDATE_USAGE, changed)

    @staticmethod
    def _window(message: NewMessage, quota: Quota) -> Window:
        return message.client, quota.period, window_start(quota.period, message.created_at)


def _insert(connection: Connection, messages: Sequence[NewMessage], lease: str, now: float, ahead: float) -> None:
    turns = Turns(connection)
    connection.execute(_INSERT_MESSAGES, [_message_row(message, lease, now, ahead, turns) for message in messages])
    connection.execute(
        _INSERT_RECIPIENTS,
        [
            {
                "message": message.id,
                "position": position,
                "address": address,
                "status": "queued",
                "updated_at": message.created_at,
            }
            for message in messages
            for position, address in enumerate(message.recipients)
        ],
    )
    connection.execute(
        _INSERT_CONTENTS, [{"message": message.id, "content": message.content} for message in messages]
    )
    keys = [
        {
            "client": message.client,
            "key": message.idempotency_key,
            "fingerprint": message.fingerprint,
            "message": message.id,
        }
        for message in messages
        if message.idempotency_key is not None
    ]
    if keys:
        # In one order everywhere: gateways that store the same keys wait for each other, never in a circle.
        keys.sort(key=itemgetter("key", "client"))
        connection.execute(_INSERT_KEYS, keys)


def _message_row(message: NewMessage, lease: str, now: float, ahead: float, turns: Turns) -> dict[str, object]:
    scheduled = message.scheduled_at is not None
    due_at = now + LEASE_SECONDS if message.lease else message.due_at if scheduled else now
    return {
        "id": message.id,
        "message_id": message.message_id,
        "client": message.client,
        "door": message.door,
        "sender": message.sender,
        "eight_bit": message.eight_bit,
        "smtputf8": message.smtputf8,
        "size": len(message.content),
        "metadata": json.dumps(dict(message.metadata), ensure_ascii=False) if message.metadata else "{}",
        "keyed": message.idempotency_key is not None,
        "created_at": message.created_at,
        "scheduled_at": message.scheduled_at,
        "expires_at": message.expires_at,
        "status": "scheduled" if scheduled else "queued",
        "attempts": 0,
        "lease": lease if message.lease else None,
        "due_at": due_at + ahead,
        "finished_at": None,
        "turn": None if message.lease or scheduled else turns.take(message.client),
        "waiting_since": now + ahead,
    }

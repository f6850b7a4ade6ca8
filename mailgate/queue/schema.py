"""The queue's tables, the same on every database; times are seconds since the epoch."""

import sqlalchemy as sa

REVISION = "0002"
"""The newest migration; `migrations/versions` leads there."""

VERSION_TABLE = "mailgate_schema"

METADATA = sa.MetaData()

MESSAGES = sa.Table(
    "messages",
    METADATA,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("message_id", sa.Text, nullable=False),
    sa.Column("client", sa.Text, nullable=False),
    sa.Column("door", sa.Text, nullable=False),
    sa.Column("sender", sa.Text, nullable=False),
    sa.Column("eight_bit", sa.Boolean, nullable=False),
    sa.Column("smtputf8", sa.Boolean, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("metadata", sa.Text, nullable=False),
    sa.Column("keyed", sa.Boolean, nullable=False),
    sa.Column("created_at", sa.Double, nullable=False),
    sa.Column("scheduled_at", sa.Double),
    sa.Column("expires_at", sa.Double, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("lease", sa.Text),
    sa.Column("due_at", sa.Double),
    sa.Column("finished_at", sa.Double),
    sa.Column("turn", sa.BigInteger),
    sa.Column("waiting_since", sa.Double),
    sa.Column("on_hold", sa.Boolean, nullable=False, server_default=sa.false()),
    sqlite_with_rowid=False,
)
"""
One row a message, until it is purged.

`lease` names the gateway that delivers it now. `due_at` is when it may be claimed: a lease moves it to the
lease's end, so that nothing else tells what is due; NULL once every outcome is final. What is due takes a `turn`
and is claimed in that order; with one, a message waits for nothing more. `waiting_since` is when `due_at` was
set, both in the queue's time. `on_hold` tells that it isn't tried again by itself: `due_at` is when it expires.
`metadata` is a JSON object. `keyed` tells whether an idempotency key leads here, which makes the record live
longer.
"""

WAITING = sa.and_(MESSAGES.c.due_at.is_not(None), MESSAGES.c.turn.is_(None))
"""Unfinished and not to be claimed yet: deferred, scheduled, or leased."""

DUE = sa.Index("messages_due", MESSAGES.c.due_at, sqlite_where=WAITING, postgresql_where=WAITING)

_QUEUED_UP = MESSAGES.c.turn.is_not(None)

TURNS = sa.Index(
    "messages_turns", MESSAGES.c.turn, MESSAGES.c.id, sqlite_where=_QUEUED_UP, postgresql_where=_QUEUED_UP
)

TURNS_OF_CLIENT = sa.Index(
    "messages_turns_of_client",
    MESSAGES.c.client,
    MESSAGES.c.turn,
    sqlite_where=_QUEUED_UP,
    postgresql_where=_QUEUED_UP,
)

FINISHED = sa.Index(
    "messages_finished",
    MESSAGES.c.keyed,
    MESSAGES.c.finished_at,
    sqlite_where=MESSAGES.c.finished_at.is_not(None),
    postgresql_where=MESSAGES.c.finished_at.is_not(None),
)

RECIPIENTS = sa.Table(
    "recipients",
    METADATA,
    sa.Column("message", sa.Text, sa.ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("position", sa.Integer, primary_key=True),
    sa.Column("address", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("updated_at", sa.Double, nullable=False),
    sa.Column("code", sa.Integer),
    sa.Column("enhanced", sa.Text),
    sa.Column("text", sa.Text),
    sa.Column("host", sa.Text),
    sqlite_with_rowid=False,
)
"""The envelope's recipients; the last four columns are the reply, `code` is NULL where there was none."""

CONTENTS = sa.Table(
    "contents",
    METADATA,
    sa.Column("message", sa.Text, sa.ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("content", sa.LargeBinary, nullable=False),
)
"""What is to be delivered; gone once every outcome is final."""

KEYS = sa.Table(
    "idempotency_keys",
    METADATA,
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("message", sa.Text, sa.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False, index=True),
    sqlite_with_rowid=False,
)
"""Which message a client's key stands for; `key` comes first because many keys are looked up at once."""

USAGE = sa.Table(
    "usage",
    METADATA,
    sa.Column("client", sa.Text, primary_key=True),
    sa.Column("period", sa.Double, primary_key=True),
    sa.Column("start", sa.Double, primary_key=True),
    sa.Column("messages", sa.Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""How many messages count in each quota window: `start` is a multiple of `period`, both in seconds."""

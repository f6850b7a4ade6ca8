"""
Whose message is next: every client's line moves on as fast as any other's.

A message that may be delivered has a turn, and is claimed in the order of turns. It is start-time fair queueing
(Goyal, Vin and Cheng, SIGCOMM 1996) with messages of one size: a client's messages take turns one after the
other, and a client without any begins at the turn that is next of all. So a client's first message comes before
the second one of everybody else, however many wait.
"""

import sqlalchemy as sa
from sqlalchemy import Connection

from mailgate.queue.schema import MESSAGES

QUEUE_UP_LIMIT = 5000
"""Messages that take their turns in one transaction at most; many more than one claim takes away."""

# No min() or max(): a plan made while the tables are small goes through all rows for those, and is kept.
_NEXT = sa.select(MESSAGES.c.turn).where(MESSAGES.c.turn.is_not(None)).order_by(MESSAGES.c.turn).limit(1)
_LAST = (
    sa.select(MESSAGES.c.turn)
    .where(MESSAGES.c.client == sa.bindparam("of_client"), MESSAGES.c.turn.is_not(None))
    .order_by(MESSAGES.c.turn.desc())
    .limit(1)
)
_DUE = (
    sa.select(MESSAGES.c.id, MESSAGES.c.client)
    .where(MESSAGES.c.due_at <= sa.bindparam("now"), MESSAGES.c.turn.is_(None))
    .order_by(MESSAGES.c.due_at, MESSAGES.c.id)
    .limit(sa.bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DUE_UNLEASED = _DUE.where(MESSAGES.c.lease.is_(None))
_QUEUE_UP = sa.update(MESSAGES).where(MESSAGES.c.id == sa.bindparam("of")).values(turn=sa.bindparam("at"))


class Turns:
    """Gives turns within one transaction. Two that run at once may give the same, which leaves both fair."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._next: int | None = None
        self._last: dict[str, int] = {}

    def take(self, client: str) -> int:
        """Return the turn of one more message of the client."""
        if self._next is None:
            self._next = self._connection.execute(_NEXT).scalar_one_or_none() or 0
        last = self._last.get(client)
        if last is None:
            last = self._connection.execute(_LAST, {"of_client": client}).scalar_one_or_none()
        turn = self._next if last is None else max(self._next, last + 1)
        self._last[client] = turn
        return turn


def queue_up(connection: Connection, now: float, *, take_over: bool = True) -> None:
    """
    Let the messages that have become due at `now` take their turns, the longest due first.

    Among them are those whose leases have ended, unless `take_over` is False.
    """
    due = connection.execute(_DUE if take_over else _DUE_UNLEASED, {"now": now, "limit": QUEUE_UP_LIMIT}).all()
    turns = Turns(connection)
    rows = [{"of": message, "at": turns.take(client)} for message, client in due]
    if rows:
        connection.execute(_QUEUE_UP, rows)

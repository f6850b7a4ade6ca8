"""Recording how attempts ended, many in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import sqlalchemy as sa
from sqlalchemy import Connection

from mailgate.model.outcome import Outcome, Status, message_status
from mailgate.queue.accepting import accept, already_stored
from mailgate.queue.interface import NewMessage, QueueError, Settlement
from mailgate.queue.schema import CONTENTS, MESSAGES, RECIPIENTS

OPEN = tuple(status.value for status in Status if not status.final)
"""The statuses of recipients that still wait for a final outcome."""

_HELD = (
    sa.select(MESSAGES.c.id, RECIPIENTS.c.position, RECIPIENTS.c.status, RECIPIENTS.c.updated_at)
    .join(RECIPIENTS, RECIPIENTS.c.message == MESSAGES.c.id)
    .where(
        MESSAGES.c.id.in_(sa.bindparam("ids", expanding=True)),
        MESSAGES.c.lease == sa.bindparam("held"),
    )
    .with_for_update(of=MESSAGES)
)
_UPDATE_MESSAGES = (
    sa.update(MESSAGES)
    .where(MESSAGES.c.id == sa.bindparam("of"))
    .values(
        status=sa.bindparam("became"),
        attempts=MESSAGES.c.attempts + sa.bindparam("made"),
        lease=None,
        turn=None,
        due_at=sa.bindparam("due"),
        waiting_since=sa.bindparam("now"),
        on_hold=sa.bindparam("hold"),
        finished_at=sa.bindparam("finished"),
    )
)
_UPDATE_RECIPIENTS = (
    sa.update(RECIPIENTS)
    .where(RECIPIENTS.c.message == sa.bindparam("of"), RECIPIENTS.c.position == sa.bindparam("at"))
    .values(
        status=sa.bindparam("became"),
        updated_at=sa.bindparam("when"),
        code=sa.bindparam("reply_code"),
        enhanced=sa.bindparam("reply_enhanced"),
        text=sa.bindparam("reply_text"),
        host=sa.bindparam("reply_host"),
    )
)
_DELETE_CONTENTS = sa.delete(CONTENTS).where(CONTENTS.c.message == sa.bindparam("of"))


@dataclass(slots=True)
class _Changes:
    """The rows that a batch of settlements comes to."""

    now: float
    ahead: float
    messages: list[dict[str, object]] = field(default_factory=list)
    recipients: list[dict[str, object]] = field(default_factory=list)
    finished: list[dict[str, object]] = field(default_factory=list)
    notices: list[NewMessage] = field(default_factory=list)

    def add(self, settlement: Settlement, status: Status) -> None:
        final = status.final
        self.messages.append(
            {
                "of": settlement.id,
                "became": status.value,
                "made": int(settlement.tried),
                "due": None if final or settlement.due_at is None else settlement.due_at + self.ahead,
                "now": self.now + self.ahead,
                "hold": settlement.on_hold and not final,
                "finished": settlement.settled_at if final else None,
            }
        )
        if final:
            self.finished.append({"of": settlement.id})
        for outcome in settlement.outcomes:
            self.recipients.append(_recipient_row(settlement, outcome))
        if settlement.notice is not None:
            self.notices.append(settlement.notice)

    def write(self, connection: Connection, lease: str) -> None:
        if self.messages:
            connection.execute(_UPDATE_MESSAGES, self.messages)
        if self.recipients:
            connection.execute(_UPDATE_RECIPIENTS, self.recipients)
        if self.finished:
            connection.execute(_DELETE_CONTENTS, self.finished)
        if self.notices:
            accept(connection, self.notices, lease, self.now, ahead=self.ahead)


def settle(
    connection: Connection, settlements: Sequence[Settlement], lease: str, now: float, *, ahead: float = 0.0
) -> list[bool | QueueError]:
    """
    Record, at `now`, the settlements of messages that the owner `lease` holds.

    Times are this gateway's; the queue's time, which due times are kept in, is `ahead` of it.
    Returns for each, in order, whether the lease was held and the outcome is recorded, or what is wrong with it.
    One whose notice is stored was recorded before: its commit succeeded, and nobody heard of it.
    """
    held: dict[str, dict[int, str]] = {}
    since: dict[str, dict[int, float]] = {}
    ids = list({settlement.id for settlement in settlements})
    for message, position, status, updated_at in connection.execute(_HELD, {"ids": ids, "held": lease}):
        held.setdefault(message, {})[position] = status
        since.setdefault(message, {})[position] = updated_at
    notices = [each.notice for each in settlements if each.notice is not None]
    told_before = already_stored(connection, notices) if notices else frozenset()
    results: list[bool | QueueError] = []
    changes = _Changes(now, ahead)
    for settlement in settlements:
        recipients = held.get(settlement.id)
        recorded = settlement.notice is not None and settlement.notice.id in told_before
        if recorded or recipients is None:
            results.append(recorded)
            continue
        try:
            status = _resulting_status(settlement, recipients)
        except ValueError as error:
            if _is_recorded(settlement, recipients, since[settlement.id]):
                # It was committed when its answer got lost, and the rest of the message is leased once more.
                results.append(True)
                continue
            results.append(QueueError(f"message {settlement.id} can't be settled so: {error}"))
            continue
        del held[settlement.id]
        changes.add(settlement, status)
        results.append(True)
    changes.write(connection, lease)
    return results


def _is_recorded(settlement: Settlement, statuses: dict[int, str], since: dict[int, float]) -> bool:
    return bool(settlement.outcomes) and all(
        statuses.get(outcome.position) == outcome.status.value and since[outcome.position] == settlement.settled_at
        for outcome in settlement.outcomes
    )


def _resulting_status(settlement: Settlement, recipients: dict[int, str]) -> Status:
    after = dict(recipients)
    for outcome in settlement.outcomes:
        if recipients.get(outcome.position) not in OPEN:
            raise ValueError(f"recipient {outcome.position} is not open")
        if not outcome.status.final and outcome.status is not Status.DEFERRED:
            raise ValueError(f"{outcome.status} is no outcome")
        after[outcome.position] = outcome.status.value
    status = message_status([Status(each) for each in after.values()])
    if not status.final and settlement.due_at is None:
        raise ValueError("it leaves recipients open and doesn't say when they are due")
    return status


def _recipient_row(settlement: Settlement, outcome: Outcome) -> dict[str, object]:
    reply = outcome.reply
    return {
        "of": settlement.id,
        "at": outcome.position,
        "became": outcome.status.value,
        "when": settlement.settled_at,
        "reply_code": None if reply is None else reply.code,
        "reply_enhanced": None if reply is None else reply.enhanced,
        "reply_text": None if reply is None else reply.text,
        "reply_host": None if reply is None else reply.host,
    }

"""From what a session asks to the replies it is owed."""

from collections.abc import Callable
from functools import partial

from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgate.doors.lines.desk import LineDesk
from mailgate.doors.lines.owed import Owed, OwedReplies
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.ids import new_id
from mailgate.model.receipt import DryRun, MessageRecord, Receipt
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.wire.lines import Answer, Check, Event, LineMessage, Reply, Send, Stat, refused

COMMIT_SECONDS = 30.0
"""After that a client is told to come back later, whatever becomes of its message."""

MOST_OWED = 128
MOST_OCTETS = 64 * 1024
"""So many replies may be owed at a time, and about messages of so many octets, or one that is larger.

A message that waits for its turn may hold three files, which are few in a process."""

_TOO_LATE = Reply(451, "4.3.0", f"retry=30 not on disk within {COMMIT_SECONDS:.0f} seconds")
_DEFECT = Reply(451, "4.3.0", "retry=30 the gateway failed at this message")
_NEVER = Reply(450, "4.2.0", "never accepted")
_CHECKED = Reply(250, "2.0.0", "acceptable so far")


class Answering:
    """
    Finds out what each event of one connection is answered; `found` is called whenever a reply is known.

    Messages are stored side by side, so that one commit takes many. One whose key is still on its way here, and
    a question about a key, wait for the replies before them.

    Attributes:
        owed: the replies that are owed.
        ended: whether the client may ask nothing more, because it is no client any more.

    """

    __slots__ = ("_address", "_desk", "_found", "_id", "_number", "_peer", "ended", "owed")

    _failures = Logger()

    def __init__(self, desk: LineDesk, peer: PeerCertificate, address: str, found: Callable[[], None]) -> None:
        self.owed = OwedReplies()
        self.ended = False
        self._desk = desk
        self._peer = peer
        self._address = address
        self._found = found
        self._id = new_id(desk.clock.seconds())
        self._number = 0

    @property
    def full(self) -> bool:
        """Whether so much is owed that no more should be asked for now."""
        return len(self.owed) >= MOST_OWED or self.owed.octets >= MOST_OCTETS

    def take(self, event: Event) -> None:
        """Owe the reply to an event."""
        self._number += 1
        owed = Owed(self._desk.clock.seconds(), f"{self._id}/{self._number}")
        if isinstance(event, Answer):
            self._refuse(owed, event.reply) if event.reply.reason else self._know(owed, event.reply)
            self.owed.add(owed)
            return
        identity = self._desk.identify(self._peer)
        if isinstance(identity, Refusal):
            self.ended = True
            if isinstance(event, Send):
                event.message.close()
            self._refuse(owed, refused(identity))
            self.owed.add(owed)
            return
        self._begin(owed, event, identity)

    def time_out(self) -> None:
        """Answer what could not be answered in time."""
        self.owed.overdue(self._desk.clock.seconds() - COMMIT_SECONDS, lambda owed: _TOO_LATE.of(owed.key))

    def _begin(self, owed: Owed, event: Send | Check | Stat, identity: ClientIdentity) -> None:
        match event:
            case Send():
                owed.key, owed.message, owed.octets = event.message.key, event.message, event.message.weight
                owed.stay = self._desk.room.stay(owed.octets, partial(self._store, owed, identity))
                owed.begin = owed.stay.ask
                self.owed.add(owed, in_turn=bool(owed.key) and self.owed.has_key(owed.key))
            case Check():
                owed.key = event.key
                owed.begin = partial(self._check, owed, event, identity)
                self.owed.add(owed)
            case Stat():
                owed.key = event.key
                owed.begin = partial(self._find, owed, identity)
                self.owed.add(owed, in_turn=True)

    def _store(self, owed: Owed, identity: ClientIdentity) -> None:
        message, owed.message = owed.message, None
        assert message is not None
        self._answer(owed, maybeDeferred(self._submit, message, identity, owed.request_id))

    def _submit(self, message: LineMessage, identity: ClientIdentity, request_id: str) -> Deferred[Reply]:
        # No coroutine: its frame would keep the octets that intake has stamped a copy of.
        try:
            made = self._desk.compose(message)
        finally:
            message.close()
        if isinstance(made, Reply):
            self._tell_refusal(made, request_id)
            return succeed(made)
        return self._desk.submit(identity, made, self._address, request_id).addCallback(_stored)

    def _check(self, owed: Owed, check: Check, identity: ClientIdentity) -> None:
        def answer(refusal: Refusal | None) -> Reply:
            if refusal is None:
                return _CHECKED
            reply = refused(refusal)
            self._tell_refusal(reply, owed.request_id, refusal.detail)
            return reply

        self._answer(owed, self._desk.check(identity, check.outline).addCallback(answer))

    def _find(self, owed: Owed, identity: ClientIdentity) -> None:
        self._answer(owed, self._desk.find(identity, owed.key).addCallback(_state))

    def _answer(self, owed: Owed, reply: Deferred[Reply]) -> None:
        reply.addErrback(self._failed).addCallback(partial(self._know, owed)).addCallback(lambda _: self._found())

    def _failed(self, failure: Failure) -> Reply:
        self._failures.failure("A message of connection {connection} failed", failure, connection=self._id)
        return _DEFECT

    def _refuse(self, owed: Owed, reply: Reply) -> None:
        self._tell_refusal(reply, owed.request_id)
        self._know(owed, reply)

    def _know(self, owed: Owed, reply: Reply) -> None:
        if owed.stay is not None:
            owed.stay.end()
        # It may have been given up meanwhile.
        if owed.reply is None:
            owed.reply = reply if reply.key else reply.of(owed.key)

    def _tell_refusal(self, reply: Reply, request_id: str, detail: str = "") -> None:
        identity = self._desk.identify(self._peer)
        self._desk.tell_refusal(
            reply.reason,
            detail or reply.text,
            request_id=request_id,
            address=self._address,
            client=None if isinstance(identity, Refusal) else identity.client,
            peer=self._peer,
        )


def _stored(outcome: Receipt | DryRun | Refusal) -> Reply:
    match outcome:
        case Receipt():
            return Reply(250, "2.0.0", f"id={outcome.id}{' dup' if outcome.replayed else ''}")
        case DryRun():
            details = (f"rule={outcome.rule}", f"size={outcome.size}")
            return Reply(250, "2.0.0", "dry run: nothing is queued", details=details)
    return refused(outcome)


def _state(found: MessageRecord | Refusal) -> Reply:
    if isinstance(found, MessageRecord):
        return Reply(250, "2.0.0", f"id={found.id} state={found.status.value}")
    return _NEVER if found.code is RefusalCode.NOT_FOUND else refused(found)

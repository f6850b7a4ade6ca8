"""One mail transaction (RFC 5321 section 3.3) as a conversation without I/O: replies in, octets to send out."""

from collections.abc import Sequence
from enum import Enum

from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import Claim, PendingRecipient
from mailgate.wire.smtp.commands import UnfitAddressError, bdat_last, mail_from, rcpt_to
from mailgate.wire.smtp.dots import stuff
from mailgate.wire.smtp.ehlo import Extensions
from mailgate.wire.smtp.replies import ReplyError, ServerReply

_CLOSING = 421
_START_INPUT = 354
_TOO_MANY_RECIPIENTS = {452: ("", "4.5.3"), 552: ("", "5.5.3")}
_NO_SUCH_COMMAND = range(500, 505)
_OF_A_SENDER = "2.1.0"
_OF_AN_ADDRESS = "2.1."
"""What begins the enhanced codes of an answer to MAIL or RCPT (RFC 3463 section 3.2)."""


class Stage(Enum):
    """What the next reply answers."""

    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    CONTENT = "the message"
    RSET = "RSET"
    DONE = "nothing"


class Transaction:
    """
    Carries one claim to some of its recipients; `host` is who the replies come from.

    Write what `start` returns and, for each reply, what `answer` returns, until `stage` is DONE; then `outcomes`
    has one for each of the recipients. With PIPELINING (RFC 2920) the envelope goes out at once, and DATA with it;
    with CHUNKING (RFC 3030) the message goes out by BDAT, once a recipient is accepted. `interrupt` ends it
    when no more replies come.

    `again` says that this connection has just taken the same sender and message, for other recipients.

    Attributes:
        outcomes: by the recipients' positions.
        postponed: the recipients that were too many for this transaction; their outcome is ``deferred``.
        obstacle: what the claim's recipients that are in no transaction yet must expect, None where nothing is
            known to stand in their way.
        unknown, trouble: as in Attempt.
        bdat_failed: whether BDAT had better not be used with this server again, though it offers it.

    """

    def __init__(
        self,
        claim: Claim,
        recipients: Sequence[PendingRecipient],
        extensions: Extensions,
        host: str,
        *,
        again: bool = False,
    ) -> None:
        self.stage = Stage.MAIL
        self.outcomes: dict[int, Outcome] = {}
        self.postponed: list[PendingRecipient] = []
        self.obstacle: tuple[Status, Reply] | None = None
        self.unknown = False
        self.trouble = ""
        self.bdat_failed = False
        self._claim = claim
        self._recipients = recipients
        self._extensions = extensions
        self._host = host
        self._again = again
        self._bdat = extensions.chunking
        self._asked: list[tuple[PendingRecipient, bytes]] = []
        self._next = 0
        self._accepted: list[int] = []
        self._refused = False

    def start(self) -> bytes:
        """Return the first octets; none, with `stage` DONE, where this server can't take the message at all."""
        claim, offered = self._claim, self._extensions
        refusal = self._refusal()
        if refusal is None:
            try:
                mail = mail_from(
                    claim.sender,
                    size=None if offered.size is None else len(claim.content),
                    eight_bit=offered.eight_bit and (claim.eight_bit or claim.smtputf8),
                    smtputf8=claim.smtputf8,
                    envelope_id=claim.id if offered.dsn else None,
                )
            except UnfitAddressError as problem:
                refusal = Reply(553, "5.1.7", f"the sender can't be used in SMTP: {problem}")
        if refusal is not None:
            self._obstruct(Status.FAILED, refusal)
            return self._end()
        for recipient in self._recipients:
            try:
                self._asked.append((recipient, rcpt_to(recipient.address, smtputf8=claim.smtputf8)))
            except UnfitAddressError as problem:
                reply = Reply(553, "5.1.3", f"the recipient can't be used in SMTP: {problem}")
                self._decide(recipient.position, Status.FAILED, reply)
        if not self._asked:
            return self._end()
        if offered.pipelining:
            data = b"" if offered.chunking else b"DATA\r\n"
            return b"".join((mail, *(command for _, command in self._asked), data))
        return mail

    def answer(self, reply: ServerReply) -> bytes:
        """Take the next reply and return what to send; raises ReplyError for one that has no place there."""
        if reply.code == _CLOSING:
            shown = reply.readable(self._host)
            self._obstruct(Status.DEFERRED, shown)
            self.trouble = f"421 {shown.text}".strip()
            return self._end()
        match self.stage:
            case Stage.MAIL:
                return self._mail_answered(reply)
            case Stage.RCPT:
                return self._recipient_answered(reply)
            case Stage.DATA:
                return self._data_answered(reply)
            case Stage.CONTENT:
                return self._content_answered(reply)
            case _:
                # Nothing hangs on the reply to RSET: what it undoes is forgotten with the connection otherwise.
                if not reply.positive:
                    raise ReplyError("RSET was refused")
                return self._end()

    def withhold(self) -> None:
        """Take note that the octets which were returned last are not sent; only `interrupt` may follow."""
        if self.stage is Stage.CONTENT:
            self.stage = Stage.DATA

    def interrupt(self, reason: str) -> None:
        """End it because the connection is of no more use; who has no outcome is deferred."""
        if self.stage is Stage.CONTENT and self._accepted:
            self.unknown = True
            text = f"{reason} after the message was sent: it may have been delivered"
            self._decide_rest(Status.DEFERRED, Reply(451, "4.4.2", text))
        self._obstruct(Status.DEFERRED, Reply(451, "4.4.2", f"{reason} before the message was sent"))
        self.trouble = reason
        self.stage = Stage.DONE

    def _refusal(self) -> Reply | None:
        """Return why this server can't take the message, from what it offers, or None."""
        claim, offered = self._claim, self._extensions
        size = len(claim.content)
        if offered.size and size > offered.size:
            text = f"the message has {size} octets, the server takes {offered.size}"
            return Reply(552, "5.3.4", text)
        if claim.smtputf8 and not offered.smtputf8:
            return Reply(553, "5.6.7", "the message needs SMTPUTF8, which the server does not offer")
        if claim.eight_bit and not offered.eight_bit:
            return Reply(554, "5.6.3", "the message has octets above 127 and the server does not offer 8BITMIME")
        return None

    def _mail_answered(self, reply: ServerReply) -> bytes:
        if not reply.positive:
            status = self._negative(reply)
            self._refused = True
            # What the server took a moment ago it refuses for another reason than the sender.
            self._obstruct(Status.DEFERRED if self._again else status, reply.readable(self._host))
            if not self._extensions.pipelining:
                return self._end()
        self.stage = Stage.RCPT
        return b"" if self._extensions.pipelining else self._asked[0][1]

    def _recipient_answered(self, reply: ServerReply) -> bytes:
        recipient = self._asked[self._next][0]
        self._next += 1
        if not self._refused:
            if reply.positive:
                self._accepted.append(recipient.position)
                if self._bdat and reply.readable(self._host).enhanced == _OF_A_SENDER:
                    # Perhaps MAIL was answered twice: with DATA the reply shows it before the message is sent.
                    self._bdat = False
            else:
                self._recipient_refused(recipient, reply)
        if self._next < len(self._asked):
            return b"" if self._extensions.pipelining else self._asked[self._next][1]
        if self._extensions.pipelining and not self._extensions.chunking:
            self.stage = Stage.DATA
            return b""
        if self._refused:
            return self._end()
        if not self._accepted:
            return self._reset()
        if self._bdat:
            self.stage = Stage.CONTENT
            return bdat_last(self._claim.content)
        self.stage = Stage.DATA
        return b"DATA\r\n"

    def _recipient_refused(self, recipient: PendingRecipient, reply: ServerReply) -> None:
        status, shown = self._negative(reply), reply.readable(self._host)
        if self._accepted and shown.enhanced in _TOO_MANY_RECIPIENTS.get(reply.code, ()):
            # RFC 5321 section 4.5.3.1.10: 552 may mean the same as 452 here, which is temporary.
            status = Status.DEFERRED
            self.postponed.append(recipient)
        self._decide(recipient.position, status, shown)

    def _data_answered(self, reply: ServerReply) -> bytes:
        if reply.code == _START_INPUT:
            self.stage = Stage.CONTENT
            # RFC 2920 section 3.1: a server may take DATA although it took no recipient.
            return stuff(self._claim.content) if self._accepted else b".\r\n"
        if reply.positive:
            raise ReplyError("DATA was answered by success instead of a go-ahead")
        self._message_refused(reply)
        return self._end() if self._refused else self._reset()

    def _content_answered(self, reply: ServerReply) -> bytes:
        if not self._accepted:
            return self._end()
        shown = reply.readable(self._host)
        if self._bdat and reply.positive and shown.enhanced.startswith(_OF_AN_ADDRESS):
            # There was a reply too many: after DATA the 354 would have shown it.
            self.bdat_failed = True
            self.interrupt("the server answered an address once more")
        elif reply.positive:
            for position in self._accepted:
                self._decide(position, Status.ACCEPTED, shown)
        elif self._bdat and reply.code in _NO_SUCH_COMMAND:
            self.bdat_failed = True
            self.trouble = f"the server offers CHUNKING and refuses BDAT: {shown.code} {shown.text}".strip()
            self._obstruct(Status.DEFERRED, shown)
        else:
            self._message_refused(reply)
        return self._end()

    def _message_refused(self, reply: ServerReply) -> None:
        status, shown = self._negative(reply), reply.readable(self._host)
        for position in self._accepted:
            self._decide(position, status, shown)
        if self._accepted and status is Status.DEFERRED:
            self.obstacle = (status, shown)

    def _negative(self, reply: ServerReply) -> Status:
        """Return what a reply means that is no success; raises ReplyError where it means nothing."""
        if reply.code < 400:  # noqa: PLR2004 - RFC 5321 section 4.2.1
            raise ReplyError(f"{self.stage.value} was answered by {reply.code}")
        return Status.DEFERRED if reply.code < 500 else Status.FAILED  # noqa: PLR2004

    def _obstruct(self, status: Status, reply: Reply) -> None:
        """Decide for everyone who has no outcome, here and in the transactions that would follow."""
        self.obstacle = (status, reply)
        self._decide_rest(status, reply)

    def _decide_rest(self, status: Status, reply: Reply) -> None:
        for recipient in self._recipients:
            if recipient.position not in self.outcomes:
                self._decide(recipient.position, status, reply)

    def _decide(self, position: int, status: Status, reply: Reply) -> None:
        self.outcomes[position] = Outcome(position, status, reply)

    def _reset(self) -> bytes:
        self.stage = Stage.RSET
        return b"RSET\r\n"

    def _end(self) -> bytes:
        self.stage = Stage.DONE
        return b""

"""One mail transaction (RFC 5321 section 3.3) as a conversation without I/O: replies in, octets to send out."""

from enum import Enum

from mailgate.delivery.attempt import Attempt
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import Claim
from mailgate.wire.smtp.commands import UnfitAddressError, mail_from, rcpt_to
from mailgate.wire.smtp.dots import stuff
from mailgate.wire.smtp.ehlo import Extensions
from mailgate.wire.smtp.replies import ReplyError, ServerReply

_CLOSING = 421
_START_INPUT = 354
_STORAGE_EXCEEDED = 552


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
    Carries one claim over a session with the given extensions; `host` is who its replies come from.

    Write what `start` returns and, for each reply, what `answer` returns, until `stage` is DONE; then `attempt`
    says how it ended. With PIPELINING (RFC 2920) the envelope and DATA go out at once. `interrupt` ends it when
    no more replies come.
    """

    def __init__(self, claim: Claim, extensions: Extensions, host: str) -> None:
        self.stage = Stage.MAIL
        self.answered = False
        self.size = len(claim.content)
        self._claim = claim
        self._extensions = extensions
        self._host = host
        self._outcomes: dict[int, Outcome] = {}
        self._asked: list[tuple[int, bytes]] = []
        self._next = 0
        self._accepted: list[int] = []
        self._refused = False
        self._unknown = False
        self._trouble = ""

    @property
    def attempt(self) -> Attempt:
        """How it ended, once `stage` is DONE."""
        return Attempt(
            outcomes=tuple(self._outcomes[recipient.position] for recipient in self._claim.recipients),
            unknown=self._unknown,
            trouble=self._trouble,
        )

    def start(self) -> bytes:
        """Return the first octets; none, with `stage` DONE, where this server can't take the message at all."""
        claim, offered = self._claim, self._extensions
        refusal = self._refusal()
        if refusal is None:
            try:
                mail = mail_from(
                    claim.sender,
                    size=None if offered.size is None else self.size,
                    eight_bit=offered.eight_bit and (claim.eight_bit or claim.smtputf8),
                    smtputf8=claim.smtputf8,
                )
            except UnfitAddressError as problem:
                refusal = Reply(553, "5.1.7", f"the sender can't be used in SMTP: {problem}")
        if refusal is not None:
            self._decide_rest(Status.FAILED, refusal)
            return self._end()
        for recipient in claim.recipients:
            try:
                self._asked.append((recipient.position, rcpt_to(recipient.address, smtputf8=claim.smtputf8)))
            except UnfitAddressError as problem:
                reply = Reply(553, "5.1.3", f"the recipient can't be used in SMTP: {problem}")
                self._decide(recipient.position, Status.FAILED, reply)
        if not self._asked:
            return self._end()
        if offered.pipelining:
            return b"".join((mail, *(command for _, command in self._asked), b"DATA\r\n"))
        return mail

    def answer(self, reply: ServerReply) -> bytes:
        """Take the next reply and return what to send; raises ReplyError for one that has no place there."""
        self.answered = True
        if reply.code == _CLOSING:
            shown = reply.readable(self._host)
            self._decide_rest(Status.DEFERRED, shown)
            self._trouble = f"421 {shown.text}".strip()
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

    def interrupt(self, reason: str) -> None:
        """End it because the connection is of no more use; who has no outcome is deferred."""
        if self.stage is Stage.CONTENT and self._accepted:
            self._unknown = True
            text = f"{reason} after the message was sent: it may have been delivered"
        else:
            text = f"{reason} before the message was sent"
        self._decide_rest(Status.DEFERRED, Reply(451, "4.4.2", text))
        self._trouble = reason
        self.stage = Stage.DONE

    def _refusal(self) -> Reply | None:
        """Return why this server can't take the message, from what it offers, or None."""
        claim, offered = self._claim, self._extensions
        if offered.size and self.size > offered.size:
            text = f"the message has {self.size} octets, the server takes {offered.size}"
            return Reply(552, "5.3.4", text)
        if claim.smtputf8 and not offered.smtputf8:
            return Reply(553, "5.6.7", "the message needs SMTPUTF8, which the server does not offer")
        if claim.eight_bit and not offered.eight_bit:
            return Reply(554, "5.6.3", "the message has octets above 127 and the server does not offer 8BITMIME")
        return None

    def _mail_answered(self, reply: ServerReply) -> bytes:
        if not reply.positive:
            self._refused = True
            self._decide_by(reply, [position for position, _ in self._asked])
            if not self._extensions.pipelining:
                return self._end()
        self.stage = Stage.RCPT
        return b"" if self._extensions.pipelining else self._asked[0][1]

    def _recipient_answered(self, reply: ServerReply) -> bytes:
        position = self._asked[self._next][0]
        self._next += 1
        if not self._refused:
            if reply.positive:
                self._accepted.append(position)
            else:
                self._decide_by(reply, [position])
        if self._next < len(self._asked):
            return b"" if self._extensions.pipelining else self._asked[self._next][1]
        if self._extensions.pipelining:
            self.stage = Stage.DATA
            return b""
        if not self._accepted:
            return self._reset()
        self.stage = Stage.DATA
        return b"DATA\r\n"

    def _data_answered(self, reply: ServerReply) -> bytes:
        if reply.code == _START_INPUT:
            self.stage = Stage.CONTENT
            # RFC 2920 section 3.1: a server may take DATA although it took no recipient.
            return stuff(self._claim.content) if self._accepted else b".\r\n"
        if reply.positive:
            raise ReplyError("DATA was answered by success instead of a go-ahead")
        self._decide_by(reply, self._accepted)
        return self._end() if self._refused else self._reset()

    def _content_answered(self, reply: ServerReply) -> bytes:
        if self._accepted:
            self._decide_by(reply, self._accepted)
        return self._end()

    def _decide_by(self, reply: ServerReply, positions: list[int]) -> None:
        """Let a reply decide for some recipients."""
        if reply.positive:
            status = Status.ACCEPTED
        elif reply.code == _START_INPUT or reply.code < 400:  # noqa: PLR2004 - RFC 5321 section 4.2.1
            raise ReplyError(f"{self.stage.value} was answered by {reply.code}")
        else:
            status = Status.DEFERRED if reply.code < 500 else Status.FAILED  # noqa: PLR2004
        shown = reply.readable(self._host)
        if (
            self.stage is Stage.RCPT
            and reply.code == _STORAGE_EXCEEDED
            and shown.enhanced in ("", "5.5.3")
            and self._accepted
        ):
            # RFC 5321 section 4.5.3.1.10: 552 may mean too many recipients at once, which is temporary.
            status = Status.DEFERRED
        for position in positions:
            self._decide(position, status, shown)

    def _decide_rest(self, status: Status, reply: Reply) -> None:
        for recipient in self._claim.recipients:
            if recipient.position not in self._outcomes:
                self._decide(recipient.position, status, reply)

    def _decide(self, position: int, status: Status, reply: Reply) -> None:
        self._outcomes[position] = Outcome(position, status, reply)

    def _reset(self) -> bytes:
        self.stage = Stage.RSET
        return b"RSET\r\n"

    def _end(self) -> bytes:
        self.stage = Stage.DONE
        return b""

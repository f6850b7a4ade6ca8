"""Telling somebody that a message has ended undelivered."""

from collections.abc import Callable

from twisted.logger import Logger

from mailgate.model.address import Address
from mailgate.model.ids import new_id
from mailgate.model.journal import Journal
from mailgate.model.outcome import Outcome, Status
from mailgate.queue.interface import Claim, NewMessage
from mailgate.wire.mime import Undelivered, UndeliveredRecipient, compose_report

DOOR = "bounce"
"""What stands in the queue for the door that a notice came by."""

_UNDELIVERED = frozenset({Status.FAILED, Status.EXPIRED})

_log = Logger()


class Bouncer:
    """
    Makes the notices of the gateway `hostname` about messages that did not reach their recipients.

    `address_of` gives whom to tell of a client's messages, None for nobody; it is asked for each message anew.
    A notice itself expires `give_up_after` seconds after it was made.
    """

    def __init__(
        self, hostname: str, give_up_after: float, address_of: Callable[[str], Address | None], journal: Journal
    ) -> None:
        self._hostname = hostname
        self._give_up_after = give_up_after
        self._address_of = address_of
        self._journal = journal

    def notice(self, claim: Claim, outcomes: tuple[Outcome, ...], attempts: int, now: float) -> NewMessage | None:
        """
        Return the notice of what these outcomes end for good, to be stored with them; None where there is none.

        `attempts` counts all that were made, the one that came to these outcomes included.

        A message without a sender gets none: it may be a notice itself (RFC 5321 section 6.1). Never raises.
        """
        undelivered = {each.position: each for each in outcomes if each.status in _UNDELIVERED}
        if not undelivered or not claim.sender:
            return None
        try:
            to = self._address_of(claim.client)
            return None if to is None else self._compose(claim, undelivered, attempts, to, now)
        except Exception:  # noqa: BLE001 - without its outcome on disk the message would be delivered again
            _log.failure("the notice about {message} could not be made", message=claim.id)
            return None

    def queued(self, notice: NewMessage, about: str, outcomes: tuple[Outcome, ...]) -> None:
        """Tell the journal that the notice about a message is on disk, with the outcomes it tells."""
        self._journal.record(
            "bounce.queued",
            message=notice.id,
            about=about,
            client=notice.client,
            recipient=notice.recipients[0],
            undelivered=sum(each.status in _UNDELIVERED for each in outcomes),
        )

    def _compose(
        self, claim: Claim, undelivered: dict[int, Outcome], attempts: int, to: Address, now: float
    ) -> NewMessage:
        identifier = new_id(now)
        message_id = f"<{identifier}@{self._hostname}>"
        content = compose_report(
            Undelivered(
                id=claim.id,
                message_id=claim.message_id,
                client=claim.client,
                sender=claim.sender,
                accepted_at=claim.created_at,
                ended_at=now,
                attempts=attempts,
                uncertain=claim.on_hold,
                recipients=tuple(
                    UndeliveredRecipient(
                        each.address, undelivered[each.position].status, undelivered[each.position].reply
                    )
                    for each in claim.recipients
                    if each.position in undelivered
                ),
                content=claim.content,
            ),
            to=to,
            hostname=self._hostname,
            message_id=message_id,
        )
        return NewMessage(
            id=identifier,
            message_id=message_id,
            client=claim.client,
            door=DOOR,
            created_at=now,
            due_at=now,
            expires_at=now + self._give_up_after,
            sender="",
            recipients=(str(to),),
            content=content,
            eight_bit=not content.isascii(),
            smtputf8=to.needs_smtputf8,
            fingerprint="",
            metadata={},
        )

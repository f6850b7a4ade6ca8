"""What intake is given and what it tells."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mailgate.model.refusal import Refusal
from mailgate.queue.interface import Claim

Admission = Callable[[], Refusal | None]
"""Tells why nothing may be taken right now, whoever asks; None where all is well."""


class Handover(Protocol):
    """Where just-accepted messages go: the delivery's side of the watershed."""

    def has_room(self, client: str, size: int) -> bool:
        """Tell whether a message of so many octets would be delivered at once, from memory."""

    def deliver(self, claim: Claim) -> None:
        """Deliver a message that was stored with its lease."""

    def wake(self) -> None:
        """Look into the queue soon: something is due there."""


@dataclass(frozen=True, slots=True)
class Origin:
    """
    How a submission came in.

    Attributes:
        door: the door's name in the settings: ``https`` or ``lines``.
        protocol: the token of the Received field's `with` clause.
        address: the peer's IP address.
        request_id: what the door calls this request.

    """

    door: str
    protocol: str
    address: str
    request_id: str


@dataclass(frozen=True, slots=True)
class Limits:
    """The gateway's own limits on one message: octets of the composed message, seconds until giving up."""

    max_message: int
    give_up_after: float


@dataclass(frozen=True, slots=True)
class Standing:
    """What a client may know of its own rules; None in `rate` or `quota` means no limit."""

    rules: Mapping[str, object]
    rate: int | None
    quota: int | None

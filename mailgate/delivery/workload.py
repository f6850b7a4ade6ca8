"""What delivery has in work, and how much more it takes."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from mailgate.queue.interface import Claim

MAX_MESSAGES = 512
"""In work at once, most of them waiting for a connection."""

MAX_OCTETS = 64 * 1024 * 1024
"""Of contents in work at which no more is taken; one claim may go beyond it by what the queue gives at once."""

NEWCOMER_MESSAGES = 8
"""Of one client in work, below which one more of it is taken over though the room is full of others'."""

NEWCOMER_OCTETS = MAX_OCTETS // 4
"""Of contents beyond MAX_OCTETS for those."""


@dataclass(slots=True)
class _Load:
    """What a message takes up: a place of its client's, and octets while its content is needed."""

    client: str
    octets: int


class Workload:
    """The messages in work, by their ids."""

    def __init__(self) -> None:
        self._loads: dict[str, _Load] = {}
        self._clients: Counter[str] = Counter()
        self._octets = 0

    def __len__(self) -> int:
        return len(self._loads)

    def __contains__(self, message: str) -> bool:
        return message in self._loads

    def __iter__(self) -> Iterator[str]:
        return iter(self._loads)

    def add(self, claim: Claim) -> None:
        """Take a message into work that isn't yet."""
        load = self._loads[claim.id] = _Load(claim.client, len(claim.content))
        self._clients[load.client] += 1
        self._octets += load.octets

    def resize(self, message: str, octets: int) -> None:
        """Count so many octets from now on for a message in work, instead of its content's."""
        load = self._loads[message]
        self._octets += octets - load.octets
        load.octets = octets

    def remove(self, message: str) -> None:
        """Forget a message, if it is in work."""
        if message not in self._loads:
            return
        self.resize(message, 0)
        client = self._loads.pop(message).client
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def takes(self, client: str, size: int) -> bool:
        """
        Tell whether a new message of the client, of so many octets, finds room.

        Half of the room is kept for what is due in the queue, so that a backlog moves whatever comes in. A client
        of whom little is in work needn't wait until others' is done.
        """
        octets = self._octets + size
        if len(self._loads) < MAX_MESSAGES // 2 and octets <= MAX_OCTETS:
            return True
        return (
            self._clients[client] < NEWCOMER_MESSAGES
            and len(self._loads) < 2 * MAX_MESSAGES
            and octets <= MAX_OCTETS + NEWCOMER_OCTETS
        )

    @property
    def free(self) -> int:
        """How many messages may be claimed: none until so many may that it is worth a claim."""
        free = MAX_MESSAGES - len(self._loads)
        return 0 if self._octets >= MAX_OCTETS or free < MAX_MESSAGES // 4 else free

"""Request bodies in memory: bounded in all, and shared out so that no client can use up the others' part."""

from mailgate.model.refusal import Refusal, RefusalCode

IN_FLIGHT = 256 * 1024 * 1024
"""Octets of all bodies together, or four of the largest if those are more; one client may have a quarter."""

_RETRY_AFTER = 5.0


class Bodies:
    """
    Counts the octets of request bodies that are being received or answered.

    Attributes:
        held: octets of all clients.

    """

    def __init__(self, largest: int) -> None:
        self.held = 0
        self.hold_to(largest)
        self._held_by: dict[str, int] = {}

    def hold_to(self, largest: int) -> None:
        """Have room for bodies of so many octets from now on."""
        self._limit = max(IN_FLIGHT, 4 * largest)

    def refuse(self, client: str, octets: int) -> Refusal | None:
        """Return why so many more octets of this client have no room now, or None."""
        if self._held_by.get(client, 0) + octets > self._limit // 4:
            detail = "too much of this client's mail is arriving at this moment"
        elif self.held + octets > self._limit:
            detail = "too much mail is arriving at this moment"
        else:
            return None
        return Refusal(RefusalCode.QUEUE_FULL, detail, retry_after=_RETRY_AFTER)

    def hold(self, client: str, octets: int) -> None:
        """Count octets that came in, or that were let go of where the number is negative."""
        self.held += octets
        now_held = self._held_by.get(client, 0) + octets
        if now_held:
            self._held_by[client] = now_held
        else:
            self._held_by.pop(client, None)

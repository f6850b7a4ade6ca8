"""Requests that wait until delivery has said something of their message."""

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime


class Attempts:
    """Tells who waits for it that an attempt of a message has ended."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._waiting: dict[str, list[Deferred[None]]] = {}

    def wait(self, message: str, seconds: float) -> Deferred[None]:
        """
        Return a Deferred that fires at the end of the message's next attempt, or after so many seconds.

        Cancelled, it fires at once.
        """
        ended: Deferred[None] = Deferred(lambda given_up: self._give_up(message, given_up))
        self._waiting.setdefault(message, []).append(ended)
        timeout = self._clock.callLater(seconds, self._give_up, message, ended)

        def stop_timer(_: None) -> None:
            if timeout.active():
                timeout.cancel()

        return ended.addCallback(stop_timer)

    def ended(self, message: str) -> None:
        """Wake everyone who waits for this message."""
        for ended in self._waiting.pop(message, ()):
            ended.callback(None)

    def _give_up(self, message: str, ended: Deferred[None]) -> None:
        waiting = self._waiting[message]
        waiting.remove(ended)
        if not waiting:
            del self._waiting[message]
        ended.callback(None)

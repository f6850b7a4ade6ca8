"""Answers that are held back for a while."""

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgate.doors.answers import Answer
from mailgate.doors.request import Result


class Patience:
    """Lets requests wait for a better answer than the one they have, and ends that for all of them at once."""

    _failures = Logger()

    def __init__(self) -> None:
        self._waiting: dict[Deferred[Result], Answer] = {}
        self._ended = False

    def wait(self, better: Deferred[Answer], meanwhile: Answer) -> Deferred[Result]:
        """Return what fires with the better answer, or with the one of meanwhile once patience has ended."""
        answer: Deferred[Result] = Deferred()
        self._waiting[answer] = meanwhile

        def settle(result: Answer) -> None:
            if self._waiting.pop(answer, None) is not None:
                answer.callback(result)

        def failed(failure: Failure) -> None:
            self._failures.failure("There is no better answer", failure)
            settle(meanwhile)

        better.addCallback(settle).addErrback(failed)
        if self._ended:
            self.end()
        return answer

    def end(self) -> None:
        """Let nobody wait any more."""
        self._ended = True
        waiting, self._waiting = self._waiting, {}
        for answer, meanwhile in waiting.items():
            answer.callback(meanwhile)

"""A thread that carries out calls of the reactor's thread, as many at a time as wait."""

from collections import deque
from collections.abc import Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Protocol

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads

from mailgate.queue.interface import QueueError

MAX_CALLS = 512
"""Calls that are carried out together at most, so that what comes behind them doesn't wait for long."""

MAX_OCTETS = 16 * 1024 * 1024
"""Contents that are carried out together at most, unless one alone is larger."""


class Call:
    """
    A request on its way through a worker, and the Deferred that waits for its result.

    `octets` is how much it weighs; `result` is an Exception where it failed.
    """

    __slots__ = ("deferred", "octets", "request", "result")

    def __init__(self, request: Any, octets: int = 0) -> None:
        self.request = request
        self.octets = octets
        self.result: Any = None
        self.deferred: Deferred[Any] = Deferred()

    def fire(self) -> None:
        """Hand the result to who waits; in the reactor's thread."""
        if isinstance(self.result, Exception):
            self.deferred.errback(self.result)
        else:
            self.deferred.callback(self.result)


class Executor(Protocol):
    """What a worker does with calls, in its own thread."""

    def run(self, calls: Sequence[Call]) -> None:
        """Set every call's result."""

    def close(self) -> None:
        """Let go of everything, after the last run; raises QueueError where something couldn't be finished."""


class Worker:
    """
    A thread that hands to `executor` all calls that wait, and fires their Deferreds in the reactor's thread.

    `ended` fires there once the thread is gone, after `stop` and all that was put before; it fails with what
    closing the executor raised. The thread outlives every exception: it becomes the result of the calls it hit.
    """

    def __init__(self, name: str, executor: Executor, reactor: IReactorFromThreads) -> None:
        self.ended: Deferred[None] = Deferred()
        self._executor = executor
        self._reactor = reactor
        self._collected: list[Call] = []
        self._inbox: SimpleQueue[Sequence[Call] | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Call) -> Deferred[Any]:
        """Let the call be carried out, and return its Deferred."""
        # All calls of one turn of the reactor go together: the first alone would wake the thread, and have a
        # commit for itself while the others wait for the next.
        if not self._collected:
            self._reactor.callFromThread(self._hand_over)
        self._collected.append(call)
        return call.deferred

    def _hand_over(self) -> None:
        if self._collected:
            self._inbox.put(self._collected)
            self._collected = []

    def stop(self) -> None:
        """End when everything is carried out that was put; nothing may be put after it."""
        self._hand_over()
        self._inbox.put(None)

    def _work(self) -> None:
        waiting: deque[Call] = deque()
        open_ = True
        while open_ or waiting:
            if open_:
                open_ = self._fetch(waiting)
            calls = _take(waiting)
            if calls:
                self._run(calls)
                self._reactor.callFromThread(_fire, calls)
        self._reactor.callFromThread(self._end, self._close())

    def _fetch(self, waiting: deque[Call]) -> bool:
        """Add what was handed over, waiting for it only where there is nothing; False once there is no more."""
        try:
            calls = self._inbox.get(block=not waiting)
            while calls is not None:
                waiting.extend(calls)
                calls = self._inbox.get_nowait()
        except Empty:
            return True
        return False

    def _run(self, calls: Sequence[Call]) -> None:
        try:
            self._executor.run(calls)
        except Exception as error:  # noqa: BLE001 - a call that nobody answers would hang its connection for ever
            for call in calls:
                call.result = _unexpected(error)

    def _close(self) -> QueueError | None:
        try:
            self._executor.close()
        except QueueError as error:
            return error
        except Exception as error:  # noqa: BLE001 - as above: close must be answered
            return _unexpected(error)
        return None

    def _end(self, error: QueueError | None) -> None:
        self._thread.join()
        if error is None:
            self.ended.callback(None)
        else:
            self.ended.errback(error)


def _unexpected(error: Exception) -> QueueError:
    told = QueueError(f"the queue failed unexpectedly ({type(error).__name__})")
    told.__cause__ = error
    return told


def _take(waiting: deque[Call]) -> list[Call]:
    """Take from the left what may be carried out together."""
    calls: list[Call] = []
    octets = 0
    while waiting and len(calls) < MAX_CALLS and octets < MAX_OCTETS:
        call = waiting.popleft()
        octets += call.octets
        calls.append(call)
    return calls


def _fire(calls: Sequence[Call]) -> None:
    for call in calls:
        call.fire()

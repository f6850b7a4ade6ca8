"""A thread that carries out calls of the reactor's thread, as many at a time as wait."""

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
        self._inbox: SimpleQueue[Call | None] = SimpleQueue()
        self._thread = Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    def put(self, call: Call) -> Deferred[Any]:
        """Let the call be carried out, and return its Deferred."""
        self._inbox.put(call)
        return call.deferred

    def stop(self) -> None:
        """End when everything is carried out that was put; nothing may be put after it."""
        self._inbox.put(None)

    def _work(self) -> None:
        more = True
        while more:
            calls, more = self._waiting()
            if calls:
                self._run(calls)
                self._reactor.callFromThread(_fire, calls)
        self._reactor.callFromThread(self._end, self._close())

    def _waiting(self) -> tuple[list[Call], bool]:
        """Wait for a call, and return it with those behind it; False where no more will come."""
        calls: list[Call] = []
        octets = 0
        call = self._inbox.get()
        while call is not None:
            calls.append(call)
            octets += call.octets
            if len(calls) == MAX_CALLS or octets >= MAX_OCTETS:
                return calls, True
            try:
                call = self._inbox.get_nowait()
            except Empty:
                return calls, True
        return calls, False

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


def _fire(calls: Sequence[Call]) -> None:
    for call in calls:
        call.fire()

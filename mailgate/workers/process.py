"""One worker as its supervisor sees it: a process, what it prints, and what it says."""

import os
import pickle
import select
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall, IReactorProcess, IReactorSocket, IReactorTime
from twisted.internet.protocol import Factory, ProcessProtocol
from twisted.python.failure import Failure

from mailgate.ops.journal import LineJournal
from mailgate.services import StartError
from mailgate.settings import Settings
from mailgate.workers.channel import Ask, Channel, Crowded, Failed, Message, Ready, Report, Said, hear
from mailgate.workers.share import Hello

CONTROL, HELLO, RATES, COUNTS, TURN, FIRST_PORT = range(3, 9)
"""The descriptors that a worker is given: the socket, what is in Hello, shared memory, and the rest."""

START_SECONDS = 60.0
"""How long a worker may take until it serves."""

ANSWER_SECONDS = 1.0
"""How long a worker may take to say how it is."""


class Reactor(IReactorProcess, IReactorSocket, IReactorTime):
    """What a supervisor needs of a reactor."""


class Owner(Protocol):
    """Who looks after workers."""

    def served(self, worker: "WorkerProcess") -> None:
        """Hear that a worker serves."""

    def ended(self, worker: "WorkerProcess") -> None:
        """Hear that a worker's process is gone."""

    def crowded(self, worker: "WorkerProcess", client: str) -> None:
        """Hear that a worker has turned a client away whose connections are at others."""


class WorkerProcess(ProcessProtocol):
    """
    A worker from its start to its end.

    Attributes:
        number: which one it is.
        lease: the name that it owns leases by.
        serving: whether it has said so.
        started_at: when it was started.
        last: what it has told of itself last.
        reason: why it could not start, if it has said so.
        status, signal: how it ended.

    """

    def __init__(self, hello: Hello, owner: Owner, reactor: Reactor, journal: LineJournal) -> None:
        self.number = hello.number
        self.lease = hello.lease
        self.serving = False
        self.started_at = reactor.seconds()
        self.last: Report | None = None
        self.reason: str | None = None
        self.status: int | None = None
        self.signal: str | None = None
        self._hello = hello
        self._owner = owner
        self._reactor = reactor
        self._journal = journal
        self._channel = Channel(self._heard, _nothing)
        self._end: socket.socket | None = None
        self._questions: dict[int, Deferred[Report | None]] = {}
        self._asked = 0
        self._late: IDelayedCall | None = None
        self._printed = {1: _Lines(journal.write), 2: _Lines(self._complained)}

    @property
    def pid(self) -> int | None:
        """The process's id, None once it has ended."""
        return None if self.transport is None else self.transport.pid

    def spawn(self, settings: Settings, inherited: Sequence[int]) -> None:
        """Start the process; `inherited` are the descriptors that it gets from RATES on. Raises OSError."""
        with ExitStack() as closing, ExitStack() as undoing:
            ours, theirs = socket.socketpair()
            undoing.callback(ours.close)
            closing.callback(theirs.close)
            told = os.memfd_create("mailgate hello")
            closing.callback(os.close, told)
            with os.fdopen(os.dup(told), "wb") as file:
                pickle.dump((self._hello, settings), file)
            os.lseek(told, 0, os.SEEK_SET)
            nothing = os.open(os.devnull, os.O_RDONLY)
            closing.callback(os.close, nothing)
            descriptors: dict[int, int | str] = {0: nothing, 1: "r", 2: "r", CONTROL: theirs.fileno(), HELLO: told}
            descriptors |= dict(enumerate(inherited, start=RATES))
            # Nothing of the folder that it runs in may take the place of a module: it has the keys.
            command = [sys.executable, "-P", "-m", "mailgate.worker", str(self.number)]
            # None is the supervisor's own environment.
            self._reactor.spawnProcess(self, sys.executable, command, env=None, childFDs=descriptors)
            undoing.pop_all()
            self._end = ours

    def wait(self) -> None:
        """Block until it serves; before the reactor runs. Raises StartError with its sentence where it can't."""
        assert self._end is not None
        self._end.settimeout(START_SECONDS)
        try:
            first = hear(self._end)
        except TimeoutError:
            raise StartError(f"worker {self.number} didn't start within {START_SECONDS:.0f} s") from None
        except OSError:
            first = None
        if isinstance(first, Failed):
            raise StartError(first.sentence)
        if first is None:
            raise StartError(f"worker {self.number} ended before it served: {self._last_words()}")
        self.listen()
        self._heard(first)

    def listen(self) -> None:
        """Hear what it says, from now on in the reactor."""
        assert self._end is not None
        self._end.setblocking(False)
        factory = Factory.forProtocol(lambda: self._channel)
        factory.noisy = False
        self._reactor.adoptStreamConnection(self._end.fileno(), socket.AF_UNIX, factory)  # type: ignore[arg-type]
        self._end.close()
        if not self.serving:
            self._late = self._reactor.callLater(START_SECONDS, self.signal_with, "KILL")

    def say(self, message: Message) -> None:
        """Say something to it."""
        self._channel.say(message)

    def ask(self) -> "Deferred[Report | None]":
        """Return how it is, None where it doesn't answer in time."""
        self._asked += 1
        question = self._asked
        answer: Deferred[Report | None] = Deferred()
        self._questions[question] = answer
        timeout = self._reactor.callLater(ANSWER_SECONDS, self._answered, question, None)
        self.say(Ask(question))
        return answer.addCallback(_cancelled, timeout)

    def signal_with(self, name: str) -> None:
        """Send it a signal, unless it has ended."""
        if self.transport is not None:
            try:
                self.transport.signalProcess(name)
            except ProcessExitedAlready:
                return

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Pass on what it prints, line by line."""
        self._printed[childFD].take(data)

    def processEnded(self, reason: Failure) -> None:
        """Tell the owner."""
        self.status = getattr(reason.value, "exitCode", None)
        number = getattr(reason.value, "signal", None)
        self.signal = None if number is None else signal.Signals(number).name
        self.serving = False
        self._stop_timer()
        for lines in self._printed.values():
            lines.end()
        for question in tuple(self._questions):
            self._answered(question, None)
        self._owner.ended(self)

    def _last_words(self) -> str:
        """Return the last line that a process which is gone has written to standard error."""
        octets = b""
        pipes = getattr(self.transport, "pipes", {})
        # They don't block, and the reactor, which would read them, doesn't run yet.
        with suppress(OSError, KeyError):
            while more := os.read(pipes[2].fileno(), select.PIPE_BUF):
                octets += more
        lines = octets.decode("utf-8", "replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _heard(self, said: Said) -> None:
        match said:
            case Ready():
                self.serving = True
                self._stop_timer()
                self._owner.served(self)
            case Failed(sentence):
                self.reason = sentence
            case Report(question):
                self.last = said
                self._answered(question, said)
            case Crowded(client):
                self._owner.crowded(self, client)

    def _answered(self, question: int, report: Report | None) -> None:
        answer = self._questions.pop(question, None)
        if answer is not None:
            answer.callback(report)

    def _complained(self, line: str) -> None:
        self._journal.record("worker.printed", worker=self.number, text=line.rstrip("\n"))

    def _stop_timer(self) -> None:
        if self._late is not None and self._late.active():
            self._late.cancel()
        self._late = None


class _Lines:
    """Passes on whole lines."""

    def __init__(self, line: Callable[[str], object]) -> None:
        self._line = line
        self._rest = b""

    def take(self, octets: bytes) -> None:
        """Take some octets."""
        *lines, self._rest = (self._rest + octets).split(b"\n")
        for line in lines:
            self._line(line.decode("utf-8", "replace") + "\n")

    def end(self) -> None:
        """Pass on what has no end: a process that was killed may leave half a line, which is none."""
        self._rest = b""


def _cancelled(report: Report | None, timeout: IDelayedCall) -> Report | None:
    if timeout.active():
        timeout.cancel()
    return report


def _nothing() -> None:
    """Wait for the end of the process instead."""

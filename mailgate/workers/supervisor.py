"""Keeps workers running: starts them, restarts those that die, stops them, asks how they are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall

from mailgate.ops.journal import LineJournal
from mailgate.ops.merging import Family, counters, merge
from mailgate.services import StartError
from mailgate.settings import Settings
from mailgate.steady import uptime
from mailgate.workers.channel import Crowded, Reload, Report
from mailgate.workers.memory import SharedRows, make_memory
from mailgate.workers.process import FIRST_PORT, Reactor, WorkerProcess
from mailgate.workers.share import Hello
from mailgate.workers.sharing import count_rows, forget_column, rate_rows

TURN_SECONDS = 0.05
"""Between asking one worker to make room for a client and asking the next."""

STEADY_SECONDS = 10.0
"""A worker that has lived for so long is restarted at once; one that has not, after a wait that doubles."""

FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0

STOP_SECONDS = 57.0
"""How long workers may take to end: a little more than the bounds of all that they do then come to together."""


@dataclass(frozen=True, slots=True)
class Whole:
    """
    How all workers are.

    Attributes:
        reports: what those that serve have told.
        silent: the numbers of those that should have told, and did not in time.
        down: the numbers of those that don't serve.
        past: what those that are dead or silent had counted, when they last told.

    """

    reports: Mapping[int, Report]
    silent: Sequence[int] = ()
    down: Sequence[int] = ()
    past: Sequence[Family] = ()


@dataclass(slots=True)
class _Post:
    """The place of one worker, whichever process fills it."""

    worker: WorkerProcess | None = None
    dead: list[str] = field(default_factory=list)
    wait: float = 0.0
    restart: IDelayedCall | None = None


class Workers:
    """
    As many workers as the settings say, from `start` to `stop`.

    `keys` are private keys that workers may not be able to read; `ports` tells the descriptors of each door's
    listening sockets, and `lock` the one that keeps others from the queue, if there is one.
    """

    def __init__(
        self,
        settings: Settings,
        keys: dict[Path, bytes],
        ports: Callable[[], Mapping[str, Sequence[int]]],
        lock: Callable[[], int | None],
        reactor: Reactor,
        journal: LineJournal,
    ) -> None:
        self._settings = settings
        self._keys = keys
        self._ports = ports
        self._lock = lock
        self._reactor = reactor
        self._journal = journal
        self._posts = {number: _Post() for number in range(1, settings.workers + 1)}
        self._past: tuple[Family, ...] = ()
        self._stopping = False
        self._stopped: Deferred[None] | None = None
        self._kill: IDelayedCall | None = None
        self._memory: tuple[int, ...] = ()
        self._counts: SharedRows | None = None

    def start(self) -> None:
        """Start all of them, and block until they serve; before the reactor runs. Raises StartError."""
        try:
            self._memory = tuple(make_memory(f"mailgate {use}") for use in ("rates", "connections", "turn"))
            rate_rows(self._memory[0]).close()
            self._counts = count_rows(self._memory[1], self._settings.workers, self._settings.limits.connections)
            workers = [self._spawn(number) for number in self._posts]
        except OSError as error:
            raise StartError(f"workers can't be started: {error.strerror}") from error
        for worker in workers:
            worker.wait()

    def stop(self) -> Deferred[None]:
        """End all of them in order; those that take too long are killed."""
        self._stopping = True
        for post in self._posts.values():
            if post.restart is not None:
                post.restart.cancel()
                post.restart = None
        if not self._living:
            return succeed(None)
        for worker in self._living:
            worker.signal_with("TERM")
        self._kill = self._reactor.callLater(STOP_SECONDS, self._lose_patience)
        self._stopped = Deferred()
        return self._stopped

    def reload(self) -> None:
        """Have all of them read settings and certificates again."""
        for worker in self._living:
            worker.say(Reload())

    def ask(self) -> Deferred[Whole]:
        """Return how all of them are, within little more than a second."""
        serving = [worker for worker in self._living if worker.serving]
        reports = gatherResults([worker.ask() for worker in serving])
        return reports.addCallback(self._put_together, serving)

    @property
    def _living(self) -> list[WorkerProcess]:
        return [post.worker for post in self._posts.values() if post.worker is not None]

    def _put_together(self, reports: Sequence[Report | None], asked: Sequence[WorkerProcess]) -> Whole:
        # What one has told that died since is counted with the dead.
        told = {
            worker.number: report
            for worker, report in zip(asked, reports, strict=True)
            if report is not None and worker.serving
        }
        silent = [worker for worker in asked if worker.number not in told and worker.serving]
        # What a silent one has counted before is no less true now.
        before = [counters(worker.last.metrics) for worker in silent if worker.last is not None]
        numbers = {worker.number for worker in silent} | told.keys()
        return Whole(
            told,
            [worker.number for worker in silent],
            [number for number in self._posts if number not in numbers],
            merge([self._past, *before]),
        )

    def _spawn(self, number: int) -> WorkerProcess:
        post = self._posts[number]
        post.restart = None
        ports: dict[str, tuple[int, ...]] = {}
        inherited = list(self._memory)
        next_one = FIRST_PORT
        for door, descriptors in self._ports().items():
            ports[door] = tuple(range(next_one, next_one + len(descriptors)))
            next_one += len(descriptors)
            inherited += descriptors
        lock = self._lock()
        if lock is not None:
            # Held by every worker too, it keeps the next gateway out until the last of this one is gone.
            inherited.append(lock)
        hello = Hello(
            number,
            self._settings.workers,
            self._settings.limits.connections,
            self._reactor.seconds() - uptime(),
            uuid4().hex,
            tuple(post.dead),
            self._keys,
            ports,
        )
        worker = WorkerProcess(hello, self, self._reactor, self._journal)
        worker.spawn(self._settings, inherited)
        post.worker = worker
        return worker

    def _restart(self, number: int) -> None:
        try:
            self._spawn(number).listen()
        except OSError as error:
            worker = self._posts[number].worker
            if worker is not None:
                # It runs and can't be listened to; its end brings the next one.
                worker.signal_with("KILL")
                return
            # No memory, or no descriptor: that may pass.
            wait = self._longer(number)
            self._journal.record(
                "worker.not_started", worker=number, reason=error.strerror, restart_in=round(wait)
            )

    def _longer(self, number: int) -> float:
        """Try the worker of that number again after a wait that is longer than the last one; return it."""
        post = self._posts[number]
        post.wait = min(max(FIRST_WAIT, post.wait * 2), LONGEST_WAIT)
        post.restart = self._reactor.callLater(post.wait, self._restart, number)
        return post.wait

    def served(self, worker: WorkerProcess) -> None:
        """Hear that a worker serves."""
        self._posts[worker.number].dead.clear()
        self._journal.record("worker.started", worker=worker.number, pid=worker.pid)

    def crowded(self, worker: WorkerProcess, client: str) -> None:
        """Have the other workers make room for a client, one after the other, so that only one does."""
        others = [other for other in self._living if other is not worker]
        for place, other in enumerate(others):
            self._reactor.callLater(place * TURN_SECONDS, self._pass_on, other, client)

    def _pass_on(self, worker: WorkerProcess, client: str) -> None:
        if worker in self._living:
            worker.say(Crowded(client))

    def ended(self, worker: WorkerProcess) -> None:
        """Put what a worker leaves behind in order, and have another one take its place."""
        post = self._posts[worker.number]
        post.worker = None
        post.dead.append(worker.lease)
        if worker.last is not None:
            self._past = merge([self._past, counters(worker.last.metrics)])
        if self._counts is not None:
            forget_column(self._counts, worker.number - 1)
        if self._stopping:
            self._tell_if_stopped(worker)
            return
        if self._reactor.seconds() - worker.started_at < STEADY_SECONDS:
            self._tell_death(worker, self._longer(worker.number))
            return
        self._tell_death(worker, 0.0)
        post.wait = 0.0
        post.restart = self._reactor.callLater(0, self._restart, worker.number)

    def _tell_death(self, worker: WorkerProcess, wait: float | None = None) -> None:
        self._journal.record(
            "worker.died",
            worker=worker.number,
            status=worker.status,
            signal=worker.signal,
            reason=worker.reason,
            restart_in=None if wait is None else round(wait),
        )

    def _tell_if_stopped(self, worker: WorkerProcess) -> None:
        if worker.status != 0:
            self._tell_death(worker)
        if self._living or self._stopped is None:
            return
        if self._kill is not None and self._kill.active():
            self._kill.cancel()
        self._stopped.callback(None)

    def _lose_patience(self) -> None:
        for worker in self._living:
            self._journal.record("worker.killed", worker=worker.number)
            worker.signal_with("KILL")

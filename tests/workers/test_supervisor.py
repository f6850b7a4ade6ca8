"""When workers are restarted, when they are killed, and what remains of those that are gone."""

import errno
from pathlib import Path
from types import SimpleNamespace

from twisted.internet.error import ProcessDone, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from mailgate.ops.merging import Family, Series
from mailgate.workers import supervisor
from mailgate.workers.channel import Ready, Report
from mailgate.workers.supervisor import Workers


class Journal:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append({"event": event, **fields})

    def write(self, line):
        self.events.append({"line": line})

    def of(self, event):
        return [each for each in self.events if each.get("event") == event]


class Process:
    """A process that ends when it's told to."""

    pid = 4711

    def __init__(self, protocol):
        self.protocol = protocol
        self.signals = []

    def signalProcess(self, name):
        self.signals.append(name)

    def end(self, status=None, number=None):
        reason = ProcessDone(0) if status == 0 else ProcessTerminated(status, number)
        self.protocol.transport = None
        self.protocol.processEnded(Failure(reason))


class Reactor(Clock):
    """A clock that starts processes which do nothing, and hears what they say from the test."""

    def __init__(self):
        super().__init__()
        self.processes = []
        self.full = False

    def spawnProcess(self, protocol, executable, args, env, childFDs):
        assert env is None
        if self.full:
            raise OSError(errno.EAGAIN, "Resource temporarily unavailable")
        process = Process(protocol)
        protocol.makeConnection(process)
        self.processes.append(process)

    def adoptStreamConnection(self, descriptor, family, factory):
        pass


SETTINGS = SimpleNamespace(workers=2, limits=SimpleNamespace(connections=10))


class SupervisorTests(SynchronousTestCase):
    def setUp(self):
        self.reactor, self.journal = Reactor(), Journal()
        self.workers = Workers(SETTINGS, {}, dict, lambda: None, self.reactor, self.journal)
        self.workers._memory = ()
        for number in (1, 2):
            self.workers._restart(number)
            self.say(Ready())

    def tearDown(self):
        for call in self.reactor.getDelayedCalls():
            call.cancel()

    def say(self, message):
        """Let the process that was started last say something."""
        self.reactor.processes[-1].protocol._heard(message)

    def ask(self):
        return self.workers.ask()

    def restarted_after(self):
        """Return the seconds until the next process is started, within a minute."""
        count, before = len(self.reactor.processes), self.reactor.seconds()
        while len(self.reactor.processes) == count:
            self.reactor.advance(0.5)
            self.assertLess(self.reactor.seconds() - before, 60)
        return self.reactor.seconds() - before

    def test_one_that_has_lived_is_restarted_at_once_and_one_that_has_not_after_longer_and_longer(self):
        self.reactor.advance(supervisor.STEADY_SECONDS)
        self.reactor.processes[0].end(number=9)
        self.assertLessEqual(self.restarted_after(), 0.5)
        waits = []
        for _ in range(7):
            self.reactor.processes[-1].end(status=1)
            waits.append(self.restarted_after())
        self.assertEqual(waits, [1, 2, 4, 8, 16, 30, 30])
        first, second, *_ = self.journal.of("worker.died")
        self.assertEqual((first["signal"], first["status"], first["restart_in"]), ("SIGKILL", None, 0))
        self.assertEqual((second["signal"], second["status"], second["restart_in"]), (None, 1, 1))

    def test_one_that_does_not_come_to_serve_is_killed(self):
        self.reactor.advance(supervisor.STEADY_SECONDS)
        self.reactor.processes[0].end(number=9)
        self.reactor.advance(0)
        self.reactor.advance(60)
        self.assertEqual(self.reactor.processes[-1].signals, ["KILL"])

    def test_one_that_can_not_be_started_is_tried_again(self):
        self.reactor.advance(supervisor.STEADY_SECONDS)
        self.reactor.full = True
        self.reactor.processes[0].end(number=9)
        before = descriptors()
        self.reactor.pump([0, 1, 2])
        self.assertEqual(descriptors(), before)
        told = self.journal.of("worker.not_started")
        self.assertEqual([each["restart_in"] for each in told], [1, 2, 4])
        self.assertEqual(told[0]["reason"], "Resource temporarily unavailable")
        self.reactor.full = False
        self.reactor.advance(4)
        self.assertEqual(len(self.reactor.processes), 3)

    def test_a_stop_waits_for_all_and_restarts_none(self):
        stopped = self.workers.stop()
        one, other = self.reactor.processes
        self.assertEqual((one.signals, other.signals), (["TERM"], ["TERM"]))
        one.end(status=0)
        self.assertNoResult(stopped)
        other.end(status=0)
        self.successResultOf(stopped)
        self.assertEqual(self.journal.of("worker.died"), [])
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_a_stop_does_not_wait_for_ever(self):
        stopped = self.workers.stop()
        self.reactor.advance(supervisor.STOP_SECONDS)
        one, other = self.reactor.processes
        self.assertEqual(one.signals, ["TERM", "KILL"])
        one.end(number=9)
        other.end(number=9)
        self.successResultOf(stopped)
        self.assertEqual(len(self.journal.of("worker.killed")), 2)

    def test_a_stop_cancels_the_restart_of_one_that_is_dead(self):
        self.reactor.processes[0].end(status=1)
        stopped = self.workers.stop()
        self.reactor.processes[1].end(status=0)
        self.successResultOf(stopped)
        self.reactor.advance(120)
        self.assertEqual(len(self.reactor.processes), 2)

    def test_what_one_had_counted_outlives_it(self):
        asked = self.ask()
        for number, process in enumerate(self.reactor.processes, start=1):
            process.protocol._heard(Report(1, None, {}, (counted(number * 10), gauge(number))))
        whole = self.successResultOf(asked)
        self.assertEqual((sorted(whole.reports), whole.past), ([1, 2], ()))
        self.reactor.processes[0].end(number=9)
        asked = self.ask()
        self.reactor.processes[1].protocol._heard(Report(2, None, {}, ()))
        whole = self.successResultOf(asked)
        self.assertEqual((list(whole.reports), whole.down, whole.past), ([2], [1], (counted(10),)))

    def test_one_that_does_not_answer_is_not_waited_for(self):
        asked = self.ask()
        self.reactor.processes[1].protocol._heard(Report(1, None, {}, ()))
        self.assertNoResult(asked)
        self.reactor.advance(1)
        whole = self.successResultOf(asked)
        self.assertEqual((list(whole.reports), whole.silent), ([2], [1]))
        # An answer that comes too late belongs to no question.
        self.reactor.processes[0].protocol._heard(Report(1, None, {}, (counted(7),)))
        asked = self.ask()
        self.reactor.advance(1)
        self.assertEqual(self.successResultOf(asked).past, (counted(7),))

    def test_lines_are_passed_on_whole(self):
        protocol = self.reactor.processes[0].protocol
        protocol.childDataReceived(1, '{"event":"가'.encode()[:-1])
        self.assertEqual([each for each in self.journal.events if "line" in each], [])
        protocol.childDataReceived(1, "가".encode()[-1:] + b'"}\n{"half":')
        protocol.childDataReceived(2, b"Traceback\n")
        self.reactor.processes[0].end(number=9)
        lines = [each["line"] for each in self.journal.events if "line" in each]
        self.assertEqual(lines, ['{"event":"가"}\n'])
        [printed] = self.journal.of("worker.printed")
        self.assertEqual((printed["worker"], printed["text"]), (1, "Traceback"))


def counted(number):
    return Family(
        "mailgate_messages_accepted", "counter", "", (Series("mailgate_messages_accepted_total", (), number),)
    )


def gauge(number):
    return Family("mailgate_upstream_up", "gauge", "", (Series("mailgate_upstream_up", (), number),))


def descriptors():
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def test_a_start_leaves_no_descriptor_behind():
    before = descriptors()
    reactor = Reactor()
    workers = Workers(SETTINGS, {}, dict, lambda: None, reactor, Journal())
    workers._restart(1)
    assert len(descriptors() - before) == 0

"""``python -m mailgate.worker``: one of several processes that serve, started by their supervisor alone."""

import os
import pickle
import signal
import socket
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import cast

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ReactorNotRunning
from twisted.internet.interfaces import IReactorCore, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.logger import globalLogBeginner

from mailgate.gateway import Gateway, Reactor, nothing
from mailgate.ops.journal import JournalObserver, WorkerJournal, standard_output_journal
from mailgate.ops.merging import snapshot
from mailgate.services import Part, Stages, StartError
from mailgate.settings import Settings, SettingsError, load_settings
from mailgate.steady import steady_clock
from mailgate.trust.settings import TrustError
from mailgate.workers.channel import Ask, Channel, Crowded, Failed, Message, Ready, Reload, Report, Said, say
from mailgate.workers.memory import own_description
from mailgate.workers.ports import AdoptedPorts
from mailgate.workers.process import CONTROL, COUNTS, HELLO, RATES, TURN
from mailgate.workers.share import Hello, Share
from mailgate.workers.sharing import SharedCounts, SharedRates, count_rows, rate_rows

ORPHAN_SECONDS = 60
"""How long a worker may take to end once its supervisor is gone; then the system ends it."""


class WorkerReactor(Reactor, IReactorCore, IReactorSocket):
    """What a worker needs of its reactor."""


class Link:
    """The worker's end of its supervisor's socket."""

    def __init__(self, reactor: WorkerReactor) -> None:
        self._reactor = reactor
        self._channel = Channel(self._heard, self._orphaned)
        self._gateway: Gateway | None = None

    def connect(self, gateway: Gateway) -> None:
        """Say that the gateway serves, and answer from now on."""
        self._gateway = gateway
        factory = Factory.forProtocol(lambda: self._channel)
        factory.noisy = False
        os.set_blocking(CONTROL, False)
        self._reactor.adoptStreamConnection(CONTROL, socket.AF_UNIX, factory)  # type: ignore[arg-type]
        os.close(CONTROL)
        self._channel.say(Ready())

    def crowded(self, client: str) -> None:
        """Have other workers make room for a client."""
        self.say(Crowded(client))

    def say(self, message: Message) -> None:
        """Say something to the supervisor."""
        self._channel.say(message)

    def _heard(self, said: Said) -> None:
        assert self._gateway is not None
        match said:
            case Reload():
                self._gateway.reloader.reload()
            case Crowded(client):
                self._gateway.make_room(client)
            case Ask(question):
                gateway = self._gateway
                self.say(Report(question, gateway.not_ready(), gateway.upstreams(), snapshot(gateway.registry)))

    def _orphaned(self) -> None:
        """Stop in order, as on SIGTERM; the next gateway can't have the queue before."""
        signal.alarm(ORPHAN_SECONDS)
        with suppress(ReactorNotRunning):
            self._reactor.stop()


def main() -> None:
    """Serve until told to stop, or until the supervisor is gone."""
    # A terminal that hangs up, or an operator's `kill -HUP` to the whole group: the supervisor passes it on.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with os.fdopen(HELLO, "rb") as file:
        hello, settings = pickle.load(file)  # noqa: S301 - from the supervisor's memory, which nobody else can write
    stream = standard_output_journal()
    journal = WorkerJournal(stream, hello.number)
    globalLogBeginner.beginLoggingTo([JournalObserver(journal)], redirectStandardIO=False)
    from twisted.internet import reactor as installed  # noqa: PLC0415 - importing it installs it

    reactor = cast("WorkerReactor", installed)
    reactor.seconds = steady_clock(hello.uptime_zero)  # type: ignore[method-assign]
    link = Link(reactor)
    try:
        gateway = Gateway(_present(settings), reactor, journal, _share(hello, link.crowded))
        ports = [
            AdoptedPorts(reactor, descriptors, gateway.doors[door].factory)
            for door, descriptors in hello.ports.items()
        ]
        service = _service(gateway, ports)
        service.privilegedStartService()
        service.startService()
    except (StartError, SettingsError, TrustError) as error:
        with socket.socket(fileno=CONTROL) as end:
            say(end, Failed(str(error)))
        _exit(1)
    reactor.addSystemEventTrigger("before", "shutdown", _heed_no_more)
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    link.connect(gateway)
    reactor.run()
    _exit(0)


def _exit(status: int) -> None:
    """End the process: what had to be closed is closed, and a thread that hangs is not worth waiting for."""
    with suppress(OSError):
        sys.stdout.flush()
    os._exit(status)


def _heed_no_more() -> None:
    """Ignore the second signal of a stop that is told to all processes, and to each by the supervisor."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)


def _service(gateway: Gateway, ports: list[AdoptedPorts]) -> Service:
    def end() -> Deferred[None]:
        gateway.end()
        return succeed(None)

    return Stages([Part(nothing, end), *gateway.stages(ports)])


def _present(settings: Settings) -> Settings:
    """
    Return the settings that the supervisor has started with, and what reloads have taken since.

    Raises SettingsError.
    """
    try:
        return settings.after_reload(load_settings(settings.path, settings))
    except SettingsError as error:
        # A file that only root may read is as it was before privileges were dropped: nobody has reloaded it.
        if isinstance(error.__cause__, PermissionError):
            return settings
        raise


def _share(hello: Hello, crowded: Callable[[str], None]) -> Share:
    rates = rate_rows(RATES)
    counts = count_rows(COUNTS, hello.workers, hello.connections)
    column = hello.number - 1
    return Share(
        hello,
        SharedRates(rates, "messages"),
        SharedRates(rates, "renewals"),
        SharedCounts(counts, "address", column),
        SharedCounts(counts, "client", column),
        crowded,
        own_description(TURN),
    )


if __name__ == "__main__":
    main()

"""The composition root: settings in, one service out, be it one process or the supervisor of several."""

import os

from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, succeed

import mailgate
from mailgate.gateway import Gateway, nothing
from mailgate.gateway import Reactor as GatewayReactor
from mailgate.model.journal import Journal
from mailgate.ops.journal import LineJournal, NoJournal
from mailgate.ops.listener import make_site
from mailgate.queue.database import Database
from mailgate.queue.interface import QueueError
from mailgate.queue.opening import make_database
from mailgate.reloading import Hangup
from mailgate.services import Part, Ports, Stages, StartError
from mailgate.settings import Settings
from mailgate.workers.listener import make_site as make_site_of_all
from mailgate.workers.ports import BoundPorts
from mailgate.workers.process import Reactor as SupervisorReactor
from mailgate.workers.supervisor import Workers


class Reactor(GatewayReactor, SupervisorReactor):
    """What the gateway needs of a reactor, be it one process or several."""


def compose(settings: Settings, reactor: Reactor, log: LineJournal) -> IService:
    """
    Return the gateway as one service, nothing of it started.

    Certificates, keys and CAs are read now, as Gateway says. `log` is where the journal goes. Raises StartError.
    """
    return _alone(settings, reactor, log) if settings.workers == 1 else _supervise(settings, reactor, log)


def _alone(settings: Settings, reactor: Reactor, log: Journal) -> IService:
    gateway = Gateway(settings, reactor, log)
    ports = [
        Ports(reactor, door, listen, gateway.doors[door].factory) for door, listen in _listen(settings).items()
    ]
    if settings.ops is not None:
        site = make_site(gateway.registry, gateway.not_ready, gateway.upstreams)
        ports.append(Ports(reactor, "ops", settings.ops.listen, site))
    hangup = Hangup(gateway.reloader.reload, reactor)

    def end() -> Deferred[None]:
        gateway.end()
        return _end(log)

    return Stages(
        [
            Part(nothing, end),
            *gateway.stages(ports),
            Part(hangup.start, hangup.stop),
            Part(lambda: _begin(settings, log), _ended),
        ]
    )


def _supervise(settings: Settings, reactor: Reactor, log: LineJournal) -> IService:
    if not hasattr(os, "memfd_create"):
        raise StartError("workers: several of them need Linux")
    # This one is never started: it finds what would keep the workers from it, and they tell the journal the rest.
    Gateway(settings, reactor, NoJournal())
    try:
        database = make_database(settings.queue.url, reactor)
    except QueueError as error:
        raise StartError(str(error)) from error
    bound = {door: BoundPorts(reactor, door, listen) for door, listen in _listen(settings).items()}
    workers = Workers(
        settings,
        {path: path.read_bytes() for path in settings.keys},
        lambda: {door: ports.descriptors for door, ports in bound.items()},
        lambda: database.lock,
        reactor,
        log,
    )
    ops: list[Service] = []
    if settings.ops is not None:
        ops.append(Ports(reactor, "ops", settings.ops.listen, make_site_of_all(workers.ask)))
    hangup = Hangup(workers.reload, reactor)
    return Stages(
        [
            Part(nothing, lambda: _end(log)),
            Part(lambda: _open(database), lambda: _close(database, log)),
            Part(workers.start, workers.stop),
            *bound.values(),
            *ops,
            Part(hangup.start, hangup.stop),
            Part(lambda: _begin(settings, log), _ended),
        ]
    )


def _listen(settings: Settings) -> dict[str, tuple[str, ...]]:
    """Return where each door listens."""
    doors = {"https": settings.https.listen}
    if settings.lines is not None:
        doors["lines"] = settings.lines.listen
    return doors


def _open(database: Database) -> None:
    try:
        database.open()
    except QueueError as error:
        raise StartError(str(error)) from error


def _close(database: Database, journal: Journal) -> Deferred[None]:
    try:
        database.close()
    except QueueError as error:
        journal.record("queue.not_closed", reason=str(error))
    return succeed(None)


def _begin(settings: Settings, journal: Journal) -> None:
    workers = settings.workers if settings.workers > 1 else None
    journal.record("gateway.started", version=mailgate.__version__, settings=str(settings.path), workers=workers)


def _end(journal: Journal) -> Deferred[None]:
    journal.record("gateway.stopped")
    return succeed(None)


def _ended() -> Deferred[None]:
    """Stop what has nothing to stop."""
    return succeed(None)

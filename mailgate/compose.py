"""The composition root: settings in, one service out; the only module that knows every class."""

import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.application.service import IService
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)

import mailgate
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.delivery.make import DeliveryError, make_dispatcher, make_upstream_tls
from mailgate.doors.https import HttpsDoor, make_https_door
from mailgate.doors.lines import LineDoor, make_line_door
from mailgate.doors.lines.spool import Spools
from mailgate.enrolment import Enrolment
from mailgate.intake import Admission, Intake, Limits
from mailgate.model.address import Address
from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal
from mailgate.ops.counting import CountingJournal
from mailgate.ops.descriptors import connections_for
from mailgate.ops.listener import make_site
from mailgate.ops.mail import MailCollector
from mailgate.ops.metrics import CountsCollector, TrustCollector
from mailgate.policy.clients import ClientDirectory
from mailgate.queue.admission import DiskAdmission, HangAdmission
from mailgate.queue.backlog import Backlog, BacklogAdmission
from mailgate.queue.interface import QueueError
from mailgate.queue.opening import make_queue
from mailgate.queue.sql import SqlQueue
from mailgate.reloading import Hangup, Reloader
from mailgate.services import Part, Ports, Stages, StartError
from mailgate.settings import Settings
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError

CLOSE_SECONDS = 10.0
"""How long the queue may take to finish what it was given and to close."""


class Reactor(IReactorThreads, IReactorPluggableNameResolver, IReactorTCP, IReactorTime):
    """What the gateway needs of a reactor."""


def compose(settings: Settings, reactor: Reactor, log: Journal, wall: Callable[[], float] = time.time) -> IService:
    """
    Return the gateway as one service, nothing of it started.

    Certificates, keys and CAs are read now, while the process still may: twistd drops privileges and goes
    into the background between this and the start. For the same reasons the queue's file and threads have
    to wait for the start. `log` is where the journal goes. `reactor` keeps time steadily, and `wall` tells the
    calendar's seconds since the epoch. Raises StartError.
    """
    journal = CountingJournal(log)

    def bounces(client: str) -> Address | None:
        # Of the settings as they are by then: a reload replaces the directory.
        return intake.directory.bounces(client)

    try:
        trust = ServerTrust(settings.tls, journal, reactor, wall)
        queue = make_queue(settings.queue, reactor, clock=reactor, wall=wall)
        queue.check()
        upstreams = make_upstream_tls(settings.delivery)
        dispatcher = make_dispatcher(settings.delivery, queue, reactor, wall, journal, upstreams, bounces)
    except (TrustError, QueueError, DeliveryError) as error:
        raise StartError(str(error)) from error
    spool_directory = queue.directory or Path(tempfile.gettempdir())
    disk = DiskAdmission(spool_directory, settings.queue.minimum_free_disk, queue.spare)
    backlog = Backlog(queue.survey, reactor, wall, journal)
    depth = BacklogAdmission(backlog, settings.queue.maximum_messages, settings.queue.maximum_age)
    hang = HangAdmission(queue.hang)
    # A queue on another machine has its disk there; only what is still coming in needs room here.
    local = _nowhere if queue.directory is None else disk

    def admission() -> Refusal | None:
        return hang() or local() or depth()

    intake = Intake(
        hostname=settings.hostname,
        directory=ClientDirectory(settings.clients),
        limits=Limits(settings.limits.max_message, settings.delivery.schedule.give_up_after),
        queue=queue,
        handover=dispatcher,
        admission=admission,
        journal=journal,
        clock=reactor,
        wall=wall,
    )
    dispatcher.on_settled = lambda message, _outcomes: intake.settled(message)
    total = connections_for(settings.limits.connections)
    if total < settings.limits.connections:
        journal.record("gateway.few_descriptors", connections=total, wanted=settings.limits.connections)
    connections = ConnectionLimits(total, settings.limits.connections_per_address)
    try:
        enrolment = None if settings.est is None else Enrolment(settings.est, trust, intake, journal, reactor)
    except CertificateAuthorityError as error:
        raise StartError(f"[est]: {error}") from error
    except OSError as error:
        raise StartError(f"[est]: {error.filename} can't be used: {error.strerror}") from error
    renewal = [] if enrolment is None else [Part(enrolment.start, enrolment.stop)]
    routes = None if enrolment is None else enrolment.routes
    https = make_https_door(intake, trust, settings.limits, connections, reactor, journal, routes)
    doors: list[HttpsDoor | LineDoor] = [https]
    ports = [Ports(reactor, "https", settings.https.listen, https.factory)]
    if settings.lines is not None:
        new_spool = Spools(spool_directory, disk).new
        lines = make_line_door(
            settings.hostname, intake, trust, settings.limits, connections, new_spool, reactor, journal
        )
        doors.append(lines)
        ports.append(Ports(reactor, "lines", settings.lines.listen, lines.factory))
    reloader = Reloader(settings, trust, intake, connections, upstreams, doors, journal, reactor)
    hangup = Hangup(reloader.reload, reactor)
    if settings.ops is not None:
        registry = CollectorRegistry()
        registry.register(TrustCollector(trust, wall))
        registry.register(
            CountsCollector("mailgate_reloads", "Reloads, by outcome.", "outcome", lambda: reloader.outcomes)
        )
        registry.register(MailCollector(journal, backlog, dispatcher.upstreams, dispatcher.connections))
        site = make_site(registry, lambda: _not_ready(intake, admission, queue), dispatcher.upstreams)
        ports.append(Ports(reactor, "ops", settings.ops.listen, site))
    return Stages(
        [
            Part(_nothing, lambda: _end(journal, trust)),
            Part(lambda: _open(queue), lambda: _leave(queue, reactor, journal)),
            Part(backlog.start, backlog.stop),
            Part(dispatcher.start, dispatcher.stop),
            *renewal,
            Part(_nothing, lambda: _close(intake, doors)),
            *ports,
            Part(reloader.start, reloader.stop),
            Part(hangup.start, hangup.stop),
            Part(lambda: _begin(journal, settings.path), lambda: succeed(None)),
        ]
    )


def _not_ready(intake: Intake, admission: Admission, queue: SqlQueue) -> str | None:
    if intake.draining:
        return "the gateway is shutting down"
    refusal = admission()
    return queue.trouble() if refusal is None else refusal.detail


def _nowhere() -> None:
    """Refuse nothing: the disk is another machine's."""


def _nothing() -> None:
    """Start what needs no starting."""


def _open(queue: SqlQueue) -> None:
    try:
        queue.open()
    except QueueError as error:
        raise StartError(str(error)) from error


def _leave(queue: SqlQueue, reactor: Reactor, journal: Journal) -> Deferred[None]:
    """Close the queue; one that doesn't answer is left to itself, and its leases to their end."""
    closed = queue.close().addTimeout(CLOSE_SECONDS, reactor)
    return closed.addErrback(lambda failure: journal.record("queue.not_closed", reason=str(failure.value)))


def _close(intake: Intake, doors: Sequence[HttpsDoor | LineDoor]) -> Deferred[None]:
    intake.drain()
    return gatherResults([door.stop() for door in doors]).addCallback(lambda _: None)


def _begin(journal: Journal, path: Path) -> None:
    journal.record("gateway.started", version=mailgate.__version__, settings=str(path))


def _end(journal: Journal, trust: ServerTrust) -> Deferred[None]:
    trust.close()
    journal.record("gateway.stopped")
    return succeed(None)

"""One process of the gateway, put together: the only module that knows every class behind a door."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from prometheus_client import CollectorRegistry
from twisted.application.service import Service
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import (
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorThreads,
    IReactorTime,
)

from mailgate.ca.errors import CertificateAuthorityError
from mailgate.delivery.make import DeliveryError, make_dispatcher, make_upstream_tls
from mailgate.doors.https import HttpsDoor, make_https_door
from mailgate.doors.lines import LineDoor, make_line_door
from mailgate.doors.lines.spool import Spools
from mailgate.enrolment import Enrolment
from mailgate.intake import Intake, Limits
from mailgate.model.address import Address
from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal
from mailgate.ops.counting import CountingJournal
from mailgate.ops.descriptors import connections_for
from mailgate.ops.mail import MailCollector
from mailgate.ops.metrics import CountsCollector, TrustCollector
from mailgate.policy.clients import ClientDirectory
from mailgate.queue.admission import DiskAdmission, HangAdmission
from mailgate.queue.backlog import Backlog, BacklogAdmission
from mailgate.queue.interface import QueueError
from mailgate.queue.opening import make_queue
from mailgate.reloading import Reloader
from mailgate.services import Part, StartError
from mailgate.settings import Settings
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.files import PrivateKey, parse_private_key
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError
from mailgate.workers.share import Share

CLOSE_SECONDS = 10.0
"""How long the queue may take to finish what it was given and to close."""

LOOK_SECONDS = 1.0
"""How often a request that waits for an attempt looks whether another worker has made it."""


class Reactor(IReactorThreads, IReactorPluggableNameResolver, IReactorTCP, IReactorTime):
    """What the gateway needs of a reactor."""


class Gateway:
    """
    What takes mail and delivers it in one process, nothing of it started.

    Certificates, keys and CAs are read now, while the process still may: twistd drops privileges and goes
    into the background between this and the start. For the same reasons the queue's file and threads have
    to wait for the start. `reactor` keeps time steadily, and `wall` tells the calendar's seconds since the epoch.
    `share` is what it has of the gateway where it is one of several workers. Raises StartError.

    Attributes:
        doors: the doors, by their names in the settings.
        registry: what Prometheus is told.
        reloader: takes other settings and certificates.
        upstreams: tells of each upstream whether it is believed to work.

    """

    def __init__(
        self,
        settings: Settings,
        reactor: Reactor,
        log: Journal,
        share: Share | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._reactor = reactor
        self._wall = wall
        self._share = share
        journal = self._journal = CountingJournal(log)
        delivery = settings.delivery if share is None else share.of(settings.delivery)
        keys = _known_keys(share)
        try:
            key = keys.get(settings.tls.private_key)
            trust = self._trust = ServerTrust(settings.tls, journal, reactor, wall, key)
            lease = None if share is None else share.hello.lease
            self._queue = make_queue(settings.queue, reactor, clock=reactor, wall=wall, lease=lease)
            self._queue.check()
            upstreams = make_upstream_tls(settings.delivery, keys)
            self._dispatcher = make_dispatcher(
                delivery, self._queue, reactor, wall, journal, upstreams, self._bounces
            )
        except (TrustError, QueueError, DeliveryError) as error:
            raise StartError(str(error)) from error
        spool_directory = self._queue.directory or Path(tempfile.gettempdir())
        disk = DiskAdmission(spool_directory, settings.queue.minimum_free_disk, self._queue.spare)
        self._backlog = Backlog(self._queue.survey, reactor, wall, journal)
        depth = BacklogAdmission(self._backlog, settings.queue.maximum_messages, settings.queue.maximum_age)
        hang = HangAdmission(self._queue.hang)
        # A queue on another machine has its disk there; only what is still coming in needs room here.
        local = _nowhere if self._queue.directory is None else disk
        self._admission = lambda: hang() or local() or depth()
        intake = self._intake = self._make_intake()
        connections = self._limit_connections()
        self._enrolment = self._make_enrolment()
        routes = None if self._enrolment is None else self._enrolment.routes
        https = make_https_door(intake, trust, settings.limits, connections, reactor, journal, routes)
        self.doors: dict[str, HttpsDoor | LineDoor] = {"https": https}
        self._lines: LineDoor | None = None
        if settings.lines is not None:
            new_spool = Spools(spool_directory, disk).new
            self._lines = make_line_door(
                settings.hostname, intake, trust, settings.limits, connections, new_spool, reactor, journal
            )
            if share is not None:
                self._lines.count_clients_with(share.clients, share.crowded)
            self.doors["lines"] = self._lines
        doors = tuple(self.doors.values())
        self.reloader = Reloader(settings, trust, intake, connections, upstreams, doors, journal, reactor)
        self.upstreams = self._dispatcher.upstreams
        self.registry = CollectorRegistry()
        self.registry.register(TrustCollector(trust, wall))
        self.registry.register(
            CountsCollector("mailgate_reloads", "Reloads, by outcome.", "outcome", lambda: self.reloader.outcomes)
        )
        self.registry.register(MailCollector(journal, self._backlog, self.upstreams, self._dispatcher.connections))

    def stages(self, ports: Sequence[Service]) -> list[Service]:
        """Return what is started in this order and stopped in reverse; `ports` are what the doors listen with."""
        enrolment = self._enrolment
        return [
            Part(self._open, self._leave),
            Part(self._backlog.start, self._backlog.stop),
            Part(self._dispatcher.start, self._dispatcher.stop),
            *([] if enrolment is None else [Part(enrolment.start, enrolment.stop)]),
            Part(nothing, self._close),
            *ports,
            Part(self.reloader.start, self.reloader.stop),
        ]

    def end(self) -> None:
        """Tell the journal what it was not told yet; after all stages have stopped."""
        self._trust.close()

    def not_ready(self) -> str | None:
        """Return why the doors would refuse a message right now, or None."""
        if self._intake.draining:
            return "the gateway is shutting down"
        refusal = self._admission()
        return self._queue.trouble() if refusal is None else refusal.detail

    def make_room(self, client: str) -> None:
        """Close a silent connection of the client, if there is one, for one at another worker."""
        if self._lines is not None:
            self._lines.make_room(client)

    def _bounces(self, client: str) -> Address | None:
        # Of the settings as they are by then: a reload replaces the directory.
        return self._intake.directory.bounces(client)

    def _make_intake(self) -> Intake:
        settings, dispatcher = self._settings, self._dispatcher
        intake = Intake(
            hostname=settings.hostname,
            directory=ClientDirectory(settings.clients),
            limits=Limits(settings.limits.max_message, settings.delivery.schedule.give_up_after),
            queue=self._queue,
            handover=dispatcher,
            admission=self._admission,
            journal=self._journal,
            clock=self._reactor,
            wall=self._wall,
        )
        dispatcher.on_settled = lambda message, _outcomes: intake.settled(message)
        if self._share is not None:
            intake.rates = self._share.rates
            intake.look_seconds = LOOK_SECONDS
        return intake

    def _limit_connections(self) -> ConnectionLimits:
        limits = self._settings.limits
        total = connections_for(limits.connections)
        if total < limits.connections:
            self._journal.record("gateway.few_descriptors", connections=total, wanted=limits.connections)
        connections = ConnectionLimits(total, limits.connections_per_address)
        if self._share is not None:
            connections.counts = self._share.addresses
        return connections

    def _make_enrolment(self) -> Enrolment | None:
        settings = self._settings.est
        if settings is None:
            return None
        try:
            enrolment = Enrolment(settings, self._trust, self._intake, self._journal, self._reactor)
        except CertificateAuthorityError as error:
            raise StartError(f"[est]: {error}") from error
        except OSError as error:
            raise StartError(f"[est]: {error.filename} can't be used: {error.strerror}") from error
        if self._share is not None:
            enrolment.rates = self._share.renewals
        return enrolment

    def _open(self) -> None:
        try:
            if self._share is None:
                self._queue.open()
            else:
                self._queue.join(self._share.hello.dead, self._share.turn).addErrback(
                    lambda failure: self._journal.record("queue.error", reason=str(failure.value))
                )
        except QueueError as error:
            raise StartError(str(error)) from error

    def _leave(self) -> Deferred[None]:
        """Close the queue; one that doesn't answer is left to itself, and its leases to their end."""
        closed = self._queue.close().addTimeout(CLOSE_SECONDS, self._reactor)
        return closed.addErrback(
            lambda failure: self._journal.record("queue.not_closed", reason=str(failure.value))
        )

    def _close(self) -> Deferred[None]:
        self._intake.drain()
        return gatherResults([door.stop() for door in self.doors.values()]).addCallback(lambda _: None)


def nothing() -> None:
    """Start what needs no starting."""


def _nowhere() -> Refusal | None:
    """Refuse nothing: the disk is another machine's."""
    return None


def _known_keys(share: Share | None) -> Mapping[Path, PrivateKey]:
    if share is None:
        return {}
    return {path: parse_private_key(path, octets) for path, octets in share.hello.keys.items()}

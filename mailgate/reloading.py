"""Another generation of settings and certificates without a restart: all of it, or nothing."""

import signal
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Protocol

from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorFromThreads, IReactorTime

from mailgate.delivery.errors import DeliveryError
from mailgate.delivery.tls import UpstreamTls, upstream_tls
from mailgate.doors.settings import LimitSettings
from mailgate.intake import Intake, Limits
from mailgate.model.defect import describe_defect
from mailgate.model.journal import Journal
from mailgate.ops.descriptors import connections_for
from mailgate.policy.clients import ClientDirectory
from mailgate.settings import Settings, SettingsError, load_settings
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError
from mailgate.watching import FileWatch


class Door(Protocol):
    """What a reload tells of."""

    def reload(self, limits: LimitSettings) -> None:
        """Hold to other limits from now on, and judge every client that is connected anew."""


class Reloader:
    """
    Reads the settings and all that they name again, on SIGHUP and soon after one of the files has changed.

    ``[tls]``, ``[clients]`` and ``[limits]`` are taken together; anything that is wrong with one of them leaves
    all as it was, and the journal says what. The upstreams' certificates follow, each if it can be used.
    Connections go on, but for those whose client may not be here any more.

    Attributes:
        outcomes: how many reloads were ``done``, and how many ``failed``.

    """

    def __init__(
        self,
        settings: Settings,
        trust: ServerTrust,
        intake: Intake,
        connections: ConnectionLimits,
        upstreams: Sequence[UpstreamTls | None],
        doors: Sequence[Door],
        journal: Journal,
        clock: IReactorTime,
    ) -> None:
        self.outcomes = {"done": 0, "failed": 0}
        self._settings = settings
        self._trust = trust
        self._intake = intake
        self._connections = connections
        self._upstreams = upstreams
        self._doors = doors
        self._journal = journal
        self._files = FileWatch(self.reload, clock)
        self._files.watch(settings.files)

    def start(self) -> None:
        """Begin to look for changed files, and for what expires."""
        self._files.start()
        self._trust.expiry.start()

    def stop(self) -> Deferred[None]:
        """Look no more."""
        self._files.stop()
        return succeed(None)

    def reload(self) -> None:
        """Take what the files say now, or tell the journal why not."""
        self._files.reading()
        try:
            settings = load_settings(self._settings.path, self._settings)
            self._files.watch(settings.files)
            generation = self._trust.prepare(settings.tls)
            directory = ClientDirectory(settings.clients)
        except (SettingsError, TrustError) as error:
            self._fail(str(error))
            return
        except Exception as error:  # noqa: BLE001 - whatever it was, the next change of a file is read again
            self._fail(describe_defect(error))
            return
        self._trust.use(generation)
        self._trust.expiry.forget_clients_but([rules.label for rules in settings.clients])
        self._intake.directory = directory
        self._renew_upstreams(settings)
        self._hold_to(settings.limits)
        before, after = _fixed(self._settings), _fixed(settings)
        restart = [name for name in before if before[name] != after[name]]
        self.outcomes["done"] += 1
        self._journal.record("reload.done", needs_restart=restart or None)

    def _fail(self, reason: str) -> None:
        self.outcomes["failed"] += 1
        self._journal.record("reload.failed", reason=reason)

    def _renew_upstreams(self, settings: Settings) -> None:
        """Take the files of the upstreams anew; one whose files can't be used keeps what it has."""
        if settings.delivery.upstreams != self._settings.delivery.upstreams:
            return
        for tls, upstream in zip(self._upstreams, settings.delivery.upstreams, strict=True):
            try:
                fresh = upstream_tls(upstream)
            except DeliveryError as error:
                self._journal.record("reload.upstream_kept", upstream=upstream.host, reason=str(error))
                continue
            if tls is not None and fresh is not None:
                tls.use(fresh)

    def _hold_to(self, limits: LimitSettings) -> None:
        self._intake.limits = Limits(limits.max_message, self._intake.limits.give_up_after)
        self._connections.total = connections_for(limits.connections)
        self._connections.per_address = limits.connections_per_address
        for door in self._doors:
            door.reload(limits)


def _fixed(settings: Settings) -> Mapping[str, object]:
    """Return what stays as it was at the start, by the names that the settings file has for it."""
    return {
        "workers": settings.workers,
        "hostname": settings.hostname,
        "https": settings.https,
        "lines": settings.lines,
        "est": settings.est,
        "ops": settings.ops,
        "queue": settings.queue,
        "upstream": settings.delivery.upstreams,
        "delivery": (settings.delivery.schedule, settings.delivery.hold_unknown),
    }


class Hangup:
    """Calls `heard` for each SIGHUP."""

    def __init__(self, heard: Callable[[], object], reactor: IReactorFromThreads) -> None:
        self._heard = heard
        self._reactor = reactor
        self._before: object = None

    def start(self) -> None:
        """Listen to the signal from now on."""
        self._before = signal.signal(signal.SIGHUP, self._handle)

    def stop(self) -> Deferred[None]:
        """Leave the signal to whoever had it before."""
        signal.signal(signal.SIGHUP, self._before)  # type: ignore[arg-type]
        return succeed(None)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        del number, frame
        # A handler runs between any two instructions; the reactor calls when nothing else is under way.
        self._reactor.callFromThread(self._heard)

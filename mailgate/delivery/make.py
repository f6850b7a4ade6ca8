"""Puts delivery together from its settings."""

import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from twisted.internet.interfaces import IReactorTime

from mailgate.delivery.bounces import Bouncer
from mailgate.delivery.connector import Connector
from mailgate.delivery.dispatcher import Dispatcher
from mailgate.delivery.errors import DeliveryError
from mailgate.delivery.health import Health
from mailgate.delivery.pool import Limits, Pool
from mailgate.delivery.route import Route
from mailgate.delivery.settings import DeliverySettings, UpstreamSettings
from mailgate.delivery.tls import UpstreamTls, upstream_tls
from mailgate.delivery.upstream import Upstream
from mailgate.model.address import Address
from mailgate.model.journal import Journal
from mailgate.queue.interface import Queue
from mailgate.trust.files import PrivateKey

__all__ = ["DeliveryError", "make_dispatcher", "make_upstream_tls"]


def make_upstream_tls(
    settings: DeliverySettings, keys: Mapping[Path, PrivateKey] | None = None
) -> tuple[UpstreamTls | None, ...]:
    """
    Return the TLS towards each upstream, None for those without; reads its files. Raises DeliveryError.

    One of the `keys` counts where its file may not be read any more.
    """
    known = keys or {}
    return tuple(
        upstream_tls(upstream, None if upstream.private_key is None else known.get(upstream.private_key))
        for upstream in settings.upstreams
    )


def make_dispatcher(
    settings: DeliverySettings,
    queue: Queue,
    reactor: IReactorTime,
    wall: Callable[[], float],
    journal: Journal,
    tls: Sequence[UpstreamTls | None],
    bounces: Callable[[str], Address | None],
) -> Dispatcher:
    """
    Return the dispatcher for the given settings, not yet started.

    `reactor` also connects and resolves names; `wall` tells the calendar's seconds since the epoch. `tls` is that
    towards each upstream, as `make_upstream_tls` returns it; `bounces` gives whom to tell of a client's messages
    that end undelivered. Raises DeliveryError with a sentence.
    """
    if not settings.upstreams:
        raise DeliveryError("there is no [[upstream]] to deliver to")
    if not settings.hostname.isascii():
        raise DeliveryError(f"hostname {settings.hostname!r} must be written in A-labels (xn--…)")
    upstreams = [
        _make_upstream(upstream, each, settings.hostname, reactor, journal)
        for upstream, each in zip(settings.upstreams, tls, strict=True)
    ]
    route = Route(upstreams, reactor)
    jitter = random.random
    bouncer = Bouncer(settings.hostname, settings.schedule.give_up_after, bounces, journal)
    return Dispatcher(
        queue,
        route,
        lambda attempts: settings.schedule.wait(attempts, jitter()),
        reactor,
        wall,
        journal,
        bouncer,
        hold_unknown=settings.hold_unknown,
    )


def _make_upstream(
    upstream: UpstreamSettings, tls: UpstreamTls | None, hostname: str, reactor: IReactorTime, journal: Journal
) -> Upstream:
    name = f"{upstream.host}:{upstream.port}"
    if tls is None and upstream.credentials is not None:
        raise DeliveryError(f'upstream {name}: a login needs TLS, and its tls is "none"')
    connector = Connector(upstream, hostname, tls, reactor)
    pool = Pool(connector.connect, reactor, Limits(connections=upstream.connections))
    return Upstream(name, pool, Health(reactor, random.random), reactor, journal)

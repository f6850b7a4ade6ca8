"""Puts delivery together from its settings."""

import random

from twisted.internet.interfaces import IReactorTime

from mailgate.delivery.connector import Connector
from mailgate.delivery.dispatcher import Dispatcher
from mailgate.delivery.errors import DeliveryError
from mailgate.delivery.health import Health
from mailgate.delivery.pool import Limits, Pool
from mailgate.delivery.route import Route, Upstream
from mailgate.delivery.settings import DeliverySettings, UpstreamSettings
from mailgate.delivery.tls import UpstreamTls, load_authorities
from mailgate.model.journal import Journal
from mailgate.queue.interface import Queue

__all__ = ["DeliveryError", "make_dispatcher"]


def make_dispatcher(
    settings: DeliverySettings, queue: Queue, reactor: IReactorTime, journal: Journal
) -> Dispatcher:
    """
    Return the dispatcher for the given settings, not yet started.

    `reactor` also connects and resolves names. Reads the CA files now. Raises DeliveryError with one sentence that
    names what is wrong.
    """
    if not settings.upstreams:
        raise DeliveryError("there is no [[upstream]] to deliver to")
    if not settings.hostname.isascii():
        raise DeliveryError(f"hostname {settings.hostname!r} must be written in A-labels (xn--…)")
    upstreams = [_make_upstream(upstream, settings.hostname, reactor) for upstream in settings.upstreams]
    route = Route(upstreams, reactor, journal)
    return Dispatcher(queue, route, settings.schedule, reactor, journal, random.random)


def _make_upstream(upstream: UpstreamSettings, hostname: str, reactor: IReactorTime) -> Upstream:
    name = f"{upstream.host}:{upstream.port}"
    tls = None
    if upstream.tls != "none":
        authorities = None if upstream.ca is None else load_authorities(upstream.ca)
        tls = UpstreamTls(upstream.host, authorities)
    elif upstream.credentials is not None:
        raise DeliveryError(f'upstream {name}: a login needs TLS, and its tls is "none"')
    connector = Connector(upstream, hostname, tls, reactor)
    pool = Pool(connector.connect, reactor, Limits(connections=upstream.connections))
    return Upstream(name, pool, Health(reactor, random.random))

"""Health and metrics over plain HTTP, for an address that only operators reach."""

from collections.abc import Callable, Mapping

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from twisted.web.http import Request
from twisted.web.resource import Resource
from twisted.web.server import Site

REQUEST_SECONDS = 30

NotReady = Callable[[], str | None]
"""Tells why the doors would refuse a message right now, or None."""


Upstreams = Callable[[], Mapping[str, bool]]
"""Tells of each upstream whether it's believed to work; the doors take messages whatever it says."""


def make_site(registry: CollectorRegistry, not_ready: NotReady, upstreams: Upstreams) -> Site:
    """Return the listener's site: ``/livez``, ``/readyz`` and ``/metrics``."""
    root = Resource()
    root.putChild(b"livez", _Livez())
    root.putChild(b"readyz", _Readyz(not_ready, upstreams))
    root.putChild(b"metrics", _Metrics(registry))
    return OpsSite(root, timeout=REQUEST_SECONDS)


class OpsSite(Site):
    """No access log, since health is asked for every few seconds, and no traceback for whoever asks."""

    noisy = False
    displayTracebacks = False

    def log(self, request: Request) -> None:
        """Write nothing."""


class _Livez(Resource):
    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        """Say that the process turns its reactor."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return b"ok\n"


class _Readyz(Resource):
    isLeaf = True

    def __init__(self, not_ready: NotReady, upstreams: Upstreams) -> None:
        super().__init__()
        self._not_ready = not_ready
        self._upstreams = upstreams

    def render_GET(self, request: Request) -> bytes:
        """Say whether the doors take messages, 200, or 503 with the reason; and how the upstreams are."""
        reason = self._not_ready()
        request.setHeader(b"Content-Type", b"application/json")
        request.setResponseCode(200 if reason is None else 503)
        upstreams = {name: "up" if works else "down" for name, works in self._upstreams().items()}
        return msgspec.json.encode({"ready": reason is None, "reason": reason, "upstreams": upstreams}) + b"\n"


class _Metrics(Resource):
    isLeaf = True

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Request) -> bytes:
        """Return all metrics in Prometheus' text format."""
        request.setHeader(b"Content-Type", CONTENT_TYPE_LATEST.encode())
        return generate_latest(self._registry)

"""Health and metrics of all workers together."""

from collections.abc import Callable

import msgspec
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from mailgate.ops.listener import REQUEST_SECONDS, OpsSite
from mailgate.ops.merging import Families, Family, Series, merge
from mailgate.workers.supervisor import Whole

Answer = tuple[int, bytes, bytes]
"""Status, content type, content."""


def make_site(ask: Callable[[], Deferred[Whole]]) -> Site:
    """Return the listener's site: ``/livez``, ``/readyz`` and ``/metrics``, each of what the workers say now."""
    root = Resource()
    for path, answer in ((b"livez", _livez), (b"readyz", _readyz), (b"metrics", _metrics)):
        root.putChild(path, _Page(ask, answer))
    return OpsSite(root, timeout=REQUEST_SECONDS)


class _Page(Resource):
    isLeaf = True

    def __init__(self, ask: Callable[[], Deferred[Whole]], answer: Callable[[Whole], Answer]) -> None:
        super().__init__()
        self._ask = ask
        self._answer = answer

    def render_GET(self, request: Request) -> int:
        """Answer once the workers have."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def write(whole: Whole) -> None:
            if gone:
                return
            status, content_type, content = self._answer(whole)
            request.setResponseCode(status)
            request.setHeader(b"Content-Type", content_type)
            request.write(content)
            request.finish()

        def broke(failure: Failure) -> None:
            if not gone:
                request.processingFailed(failure)

        self._ask().addCallback(write).addErrback(broke)
        return NOT_DONE_YET


def _livez(whole: Whole) -> Answer:
    """Say that every worker turns its reactor; one that is being restarted is well taken care of."""
    plain = b"text/plain; charset=utf-8"
    if whole.silent:
        listed = ", ".join(map(str, whole.silent))
        return 503, plain, f"no answer from worker {listed}\n".encode()
    return 200, plain, b"ok\n"


def _readyz(whole: Whole) -> Answer:
    """Say whether all workers that serve take messages, and how the upstreams are for the worst of them."""
    reports = whole.reports.values()
    reason = next((report.not_ready for report in reports if report.not_ready is not None), None)
    if not reports:
        reason = "no worker answers"
    upstreams: dict[str, bool] = {}
    for report in reports:
        for name, works in report.upstreams.items():
            upstreams[name] = works and upstreams.get(name, True)
    told = {
        "ready": reason is None,
        "reason": reason,
        "upstreams": {name: "up" if works else "down" for name, works in upstreams.items()},
        "workers": {str(number): state for number, state in _states(whole).items()},
    }
    return 200 if reason is None else 503, b"application/json", msgspec.json.encode(told) + b"\n"


def _metrics(whole: Whole) -> Answer:
    """Return all metrics in Prometheus' text format."""
    registry = CollectorRegistry()
    together = merge([whole.past, *(report.metrics for report in whole.reports.values())])
    registry.register(Families((*together, _workers(whole))))
    return 200, CONTENT_TYPE_LATEST.encode(), generate_latest(registry)


def _states(whole: Whole) -> dict[int, str]:
    states = dict.fromkeys(whole.reports, "serving")
    states |= dict.fromkeys(whole.silent, "silent")
    return dict(sorted((states | dict.fromkeys(whole.down, "down")).items()))


def _workers(whole: Whole) -> Family:
    name = "mailgate_workers"
    numbers = {"serving": len(whole.reports), "silent": len(whole.silent), "down": len(whole.down)}
    series = tuple(Series(name, (("state", state),), float(number)) for state, number in numbers.items())
    return Family(name, "gauge", "How many workers serve, don't answer, or are being restarted.", series)

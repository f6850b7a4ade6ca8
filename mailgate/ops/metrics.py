"""What is counted and measured, for Prometheus."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailgate.trust.server import ServerTrust

_DAY = 86400.0


class TrustCollector(Collector):
    """
    Handshakes, and the days that certificates and CRLs have left.

    Negative days are those since the end. A client's is that of the certificate it was last seen with.
    """

    def __init__(self, trust: ServerTrust, wall: Callable[[], float]) -> None:
        self._trust = trust
        self._wall = wall

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as of now."""
        handshakes = CounterMetricFamily(
            "mailgate_handshakes", "TLS handshakes that came to their end.", labels=("door", "outcome")
        )
        for labels, count in self._trust.handshakes.items():
            handshakes.add_metric(labels, count)
        yield handshakes
        seen = CounterMetricFamily(
            "mailgate_clients_seen",
            "Handshakes of clients, by the CA of the certificate.",
            labels=("issuer", "key"),
        )
        for labels, count in self._trust.seen.items():
            seen.add_metric(labels, count)
        yield seen
        yield from self._expiries()

    def _expiries(self) -> Iterable[Metric]:
        families = {
            "server certificate": _days("server_certificate", "the gateway's own certificate", "subject"),
            "client CA": _days("client_ca", "each CA of clients", "subject", "serial"),
            "CRL": _days("crl", "each CRL, until the next one is due", "issuer", "key"),
            "client certificate": _days("certificate", "each client's certificate, as last seen", "client"),
        }
        now = datetime.fromtimestamp(self._wall(), UTC)
        for ending in self._trust.expiry.endings():
            family = families[ending.what]
            family.add_metric(ending.labels, (ending.ends - now).total_seconds() / _DAY)
        return families.values()


class CountsCollector(Collector):
    """One counter whose numbers somebody else keeps, by the value of its label."""

    def __init__(self, name: str, text: str, label: str, counts: Callable[[], Mapping[str, int]]) -> None:
        self._name = name
        self._text = text
        self._label = label
        self._counts = counts

    def collect(self) -> Iterator[Metric]:
        """Yield the counter as of now."""
        family = CounterMetricFamily(self._name, self._text, labels=(self._label,))
        for value, count in self._counts().items():
            family.add_metric((value,), count)
        yield family


def _days(of: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"mailgate_{of}_expiry_days", f"Days left of {text}.", labels=labels)

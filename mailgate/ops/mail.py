"""What Prometheus is told of mail: taken, refused, delivered, waiting."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from mailgate.model.outcome import Status
from mailgate.ops.counting import CountingJournal
from mailgate.ops.listener import Upstreams
from mailgate.queue.backlog import Backlog

_PLAIN = (
    ("messages_accepted", "Messages that are on disk and were acknowledged.", "message.accepted"),
    ("messages_replayed", "Repeats under an idempotency key, answered as the first time.", "message.replayed"),
    ("recipients_delivered", "Recipients that an upstream accepted.", "delivery.accepted"),
    ("recipients_deferred", "Attempts for a recipient that will be repeated.", "delivery.deferred"),
    ("recipients_failed", "Recipients that were refused for good.", "delivery.failed"),
    ("recipients_expired", "Recipients that could not be delivered in time.", "delivery.expired"),
    ("bounces_queued", "Notices of messages that ended undelivered.", "bounce.queued"),
    ("outcomes_unknown", "Attempts that ended between the final dot and its reply.", "delivery.outcome_unknown"),
    ("leases_lost", "Outcomes that came when another gateway had the message.", "delivery.lease_lost"),
    ("queue_errors", "Questions and messages that the queue could not take.", "queue.error"),
)
"""Counters without labels: their names, what they tell, and the journal's event that is counted."""

Connections = Callable[[], Mapping[str, Mapping[str, int]]]
"""Of each upstream by its name, how many connections there are of which kind."""

_WAITING = (Status.SCHEDULED, Status.QUEUED, Status.DEFERRED)


class MailCollector(Collector):
    """Counts since the start of this process, and how the queue and the upstreams are now."""

    def __init__(
        self, journal: CountingJournal, backlog: Backlog, upstreams: Upstreams, connections: Connections
    ) -> None:
        self._journal = journal
        self._backlog = backlog
        self._upstreams = upstreams
        self._connections = connections

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics as of now; those of the queue as of the last count."""
        counts = self._journal.counts
        for name, text, event in _PLAIN:
            yield CounterMetricFamily(f"mailgate_{name}", text, value=counts[event].total())
        refused = counts["message.refused"] + counts["request.refused"]
        yield _counter("messages_refused", "Messages and requests that were refused.", "reason", refused)
        failures = counts["upstream.down"]
        yield _counter("upstream_failures", "How often an upstream was found not to work.", "upstream", failures)
        up = GaugeMetricFamily(
            "mailgate_upstream_up", "Whether an upstream is believed to work.", labels=("upstream",)
        )
        for name, works in self._upstreams().items():
            up.add_metric((name,), float(works))
        yield up
        connections = GaugeMetricFamily(
            "mailgate_upstream_connections",
            "Connections to an upstream: open, busy with a message, and as many as it is allowed at the moment.",
            labels=("upstream", "state"),
        )
        for name, counts_of in self._connections().items():
            for state, count in counts_of.items():
                connections.add_metric((name, state), count)
        yield connections
        yield from self._queue()

    def _queue(self) -> Iterator[Metric]:
        survey = self._backlog.latest
        waiting = GaugeMetricFamily(
            "mailgate_queue_messages", "Messages without a final outcome.", labels=("status",)
        )
        if survey is not None:
            for status in _WAITING:
                waiting.add_metric((status.value,), survey.messages.get(status, 0))
        yield waiting
        if survey is not None:
            yield GaugeMetricFamily(
                "mailgate_queue_oldest_seconds",
                "For how long the message that has waited longest for its first try has done so.",
                value=self._backlog.oldest_seconds,
            )


def _counter(name: str, text: str, label: str, counts: Counter[str]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"mailgate_{name}", text, labels=(label,))
    for value, count in counts.items():
        family.add_metric((value,), count)
    return family

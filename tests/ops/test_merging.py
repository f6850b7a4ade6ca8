"""Metrics of several processes are those of one gateway."""

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import generate_latest

from mailgate.ops.merging import Families, counters, merge, snapshot


class Process:
    """What one process tells."""

    def __init__(self, accepted, refused, waiting, days, up):
        self.accepted, self.refused, self.waiting, self.days, self.up = accepted, refused, waiting, days, up

    def collect(self):
        yield CounterMetricFamily("mailgate_messages_accepted", "Accepted.", value=self.accepted)
        family = CounterMetricFamily("mailgate_messages_refused", "Refused.", labels=("reason",))
        for reason, number in self.refused.items():
            family.add_metric((reason,), number)
        yield family
        yield GaugeMetricFamily("mailgate_queue_oldest_seconds", "Oldest.", value=self.waiting)
        yield GaugeMetricFamily("mailgate_server_certificate_expiry_days", "Days.", value=self.days)
        yield GaugeMetricFamily("mailgate_upstream_up", "Up.", value=self.up)
        yield GaugeMetricFamily("mailgate_upstream_connections", "Connections.", value=self.accepted)


def told(process):
    registry = CollectorRegistry()
    registry.register(process)
    return snapshot(registry)


def text(families):
    registry = CollectorRegistry()
    registry.register(Families(families))
    return generate_latest(registry).decode()


ONE = told(Process(3, {"rate_limited": 1, "disk_low": 2}, 12.0, 30.5, 1.0))
OTHER = told(Process(4, {"rate_limited": 5}, 11.0, 29.5, 0.0))


def test_counters_are_added_the_queue_is_one_and_of_the_rest_the_worst_counts():
    lines = text(merge([ONE, OTHER])).splitlines()
    assert [line for line in lines if not line.startswith("#")] == [
        "mailgate_messages_accepted_total 7.0",
        'mailgate_messages_refused_total{reason="rate_limited"} 6.0',
        'mailgate_messages_refused_total{reason="disk_low"} 2.0',
        "mailgate_queue_oldest_seconds 12.0",
        "mailgate_server_certificate_expiry_days 29.5",
        "mailgate_upstream_up 0.0",
        "mailgate_upstream_connections 7.0",
    ]


def test_one_process_looks_the_same_through_it():
    process = Process(3, {"rate_limited": 1}, 12.0, 30.5, 1.0)
    registry = CollectorRegistry()
    registry.register(process)
    assert text(merge([told(process)])) == generate_latest(registry).decode()


def test_of_a_process_that_is_gone_only_counters_remain():
    names = [family.name for family in counters(ONE)]
    assert names == ["mailgate_messages_accepted", "mailgate_messages_refused"]

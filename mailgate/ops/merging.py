"""Metrics of several processes as those of one."""

from collections.abc import Callable, Iterable, Iterator, Sequence

from msgspec import Struct
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

_OF_EACH = ("mailgate_upstream_connections",)
"""Gauges of what each process has for itself."""

Labels = tuple[tuple[str, str], ...]


class Series(Struct, frozen=True, array_like=True):
    """One value of a metric."""

    name: str
    labels: Labels
    value: float


class Family(Struct, frozen=True, array_like=True):
    """A metric: its name, its kind as Prometheus calls it, what it tells, and its values."""

    name: str
    kind: str
    text: str
    series: tuple[Series, ...]


def snapshot(registry: CollectorRegistry) -> tuple[Family, ...]:
    """Return all metrics as of now."""
    return tuple(
        Family(
            metric.name,
            metric.type,
            metric.documentation,
            tuple(
                Series(sample.name, tuple(sample.labels.items()), float(sample.value)) for sample in metric.samples
            ),
        )
        for metric in registry.collect()
    )


def merge(processes: Iterable[Sequence[Family]]) -> tuple[Family, ...]:
    """
    Return the metrics of all processes together.

    Counters are added, and connections to upstreams. Of the queue, which all of them look at, the largest number
    counts; of anything else, such as the days that a certificate has left or whether an upstream works, the
    smallest.
    """
    families: dict[str, Family] = {}
    values: dict[str, dict[tuple[str, Labels], float]] = {}
    for process in processes:
        for family in process:
            families.setdefault(family.name, family)
            known = values.setdefault(family.name, {})
            combine = _rule(family)
            for series in family.series:
                key = series.name, series.labels
                known[key] = combine(known[key], series.value) if key in known else series.value
    return tuple(
        Family(name, family.kind, family.text, tuple(Series(*key, value) for key, value in values[name].items()))
        for name, family in families.items()
    )


class Families(Collector):
    """Metrics that were collected before, for a registry."""

    def __init__(self, families: Iterable[Family]) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """Yield them."""
        for family in self._families:
            metric = Metric(family.name, family.text, family.kind)
            for series in family.series:
                metric.add_sample(series.name, dict(series.labels), series.value)
            yield metric


def counters(families: Iterable[Family]) -> tuple[Family, ...]:
    """Return those of the metrics that only ever grow."""
    return tuple(family for family in families if family.kind == "counter")


def _rule(family: Family) -> Callable[[float, float], float]:
    if family.kind == "counter" or family.name in _OF_EACH:
        return _sum
    return max if family.name.startswith("mailgate_queue_") else min


def _sum(one: float, other: float) -> float:
    return one + other

"""Counts of what the journal is told."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from mailgate.model.journal import Journal

_LABELS: Mapping[str, str] = {
    "message.accepted": "",
    "message.replayed": "",
    "message.refused": "reason",
    "request.refused": "reason",
    "delivery.accepted": "",
    "delivery.deferred": "",
    "delivery.failed": "",
    "delivery.expired": "",
    "delivery.outcome_unknown": "",
    "delivery.lease_lost": "",
    "bounce.queued": "",
    "upstream.down": "upstream",
    "queue.error": "",
}
"""The events that are counted, and the field whose values, few in number, are counted apart, if there is one."""


class CountingJournal:
    """
    Passes events on to a journal, and counts some of them since the process began.

    Attributes:
        counts: of each event's name, how often each value of its label came; the empty one where it has none.

    """

    def __init__(self, journal: Journal) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self._journal = journal

    def record(self, event: str, /, **fields: object) -> None:
        """Count the event, and note it."""
        label = _LABELS.get(event)
        if label is not None:
            self.counts[event][str(fields.get(label) or "")] += 1
        self._journal.record(event, **fields)

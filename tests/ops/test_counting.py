"""What the journal is told is counted on its way."""

from prometheus_client import CollectorRegistry, generate_latest

from mailgate.model.outcome import Status
from mailgate.ops.counting import CountingJournal
from mailgate.ops.mail import MailCollector
from mailgate.queue.interface import Survey


class Journal:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append((event, fields))


class Backlog:
    latest = None
    oldest_seconds = 0.0


def metrics(journal, backlog, upstreams=None, connections=None):
    registry = CollectorRegistry()
    registry.register(MailCollector(journal, backlog, lambda: upstreams or {}, lambda: connections or {}))
    lines = generate_latest(registry).decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_events_are_passed_on_whether_they_are_counted_or_not():
    told = Journal()
    journal = CountingJournal(told)
    journal.record("message.accepted", door="https", size=7)
    journal.record("gateway.started", version="1")
    assert told.events == [
        ("message.accepted", {"door": "https", "size": 7}),
        ("gateway.started", {"version": "1"}),
    ]


def test_counters_begin_at_zero_and_go_up():
    journal = CountingJournal(Journal())
    before = metrics(journal, Backlog())
    for name in ("messages_accepted", "recipients_delivered", "recipients_failed", "outcomes_unknown"):
        assert before[f"mailgate_{name}_total"] == 0
    for _ in range(3):
        journal.record("message.accepted", door="https")
    journal.record("message.refused", reason="rate_limited")
    journal.record("request.refused", reason="rate_limited")
    journal.record("request.refused", reason="client_unknown")
    journal.record("delivery.accepted", host="smtp1")
    journal.record("delivery.outcome_unknown")
    journal.record("bounce.queued", undelivered=7)
    journal.record("upstream.down", upstream="smtp1:25")
    after = metrics(journal, Backlog())
    assert after["mailgate_messages_accepted_total"] == 3
    assert after['mailgate_messages_refused_total{reason="rate_limited"}'] == 2
    assert after['mailgate_messages_refused_total{reason="client_unknown"}'] == 1
    assert after["mailgate_recipients_delivered_total"] == 1
    assert after["mailgate_bounces_queued_total"] == 1
    assert after["mailgate_outcomes_unknown_total"] == 1
    assert after['mailgate_upstream_failures_total{upstream="smtp1:25"}'] == 1


def test_the_queue_and_the_upstreams_are_told_as_they_are():
    backlog = Backlog()
    journal = CountingJournal(Journal())
    assert not any("mailgate_queue_m" in name or "oldest" in name for name in metrics(journal, backlog)), (
        "unknown yet"
    )
    backlog.latest = Survey({Status.DEFERRED: 5}, 0.0)
    backlog.oldest_seconds = 61.5
    told = metrics(
        journal, backlog, {"smtp1:25": True, "smtp2:25": False}, {"smtp1:25": {"open": 3, "allowed": 5}}
    )
    assert told['mailgate_upstream_connections{state="allowed",upstream="smtp1:25"}'] == 5
    waiting = {status: told[f'mailgate_queue_messages{{status="{status}"}}'] for status in ("scheduled", "queued")}
    assert waiting == {"scheduled": 0, "queued": 0}
    assert told['mailgate_queue_messages{status="deferred"}'] == 5
    assert told["mailgate_queue_oldest_seconds"] == 61.5
    assert told['mailgate_upstream_up{upstream="smtp1:25"}'] == 1
    assert told['mailgate_upstream_up{upstream="smtp2:25"}'] == 0

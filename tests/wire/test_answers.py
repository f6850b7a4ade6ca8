"""The shapes of the HTTPS door's answers."""

import json
from datetime import UTC, datetime

import pytest

from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.outcome import Reply, Status
from mailgate.model.receipt import DryRun, MessageRecord, Receipt, RecipientRecord
from mailgate.wire.json import render_dry_run, render_receipt, render_record, render_whoami

NOW = 1796083200.0  # 2026-12-01T00:00:00Z


def record(
    status: Status, *recipients: RecipientRecord, next_attempt_at: float | None = NOW + 60
) -> MessageRecord:
    return MessageRecord(
        id="0198",
        message_id="<0198@gate.example.com>",
        client="unique_client",
        status=status,
        created_at=NOW,
        attempts=2,
        next_attempt_at=next_attempt_at,
        expires_at=NOW + 3600,
        recipients=recipients,
        metadata={"order": "42"},
    )


def test_a_receipt():
    receipt = Receipt("0198", "<0198@gate>", Status.QUEUED, NOW + 0.25, ("kim@xn--3e0b707e.kr", "lee@x.kr"), True)
    assert json.loads(render_receipt(receipt)) == {
        "id": "0198",
        "message_id": "<0198@gate>",
        "status": "queued",
        "created_at": "2026-12-01T00:00:00.250000Z",
        "recipients": [
            {"email": "kim@한국.kr", "status": "queued"},
            {"email": "lee@x.kr", "status": "queued"},
        ],
    }


def test_a_record_tells_what_the_internal_server_said():
    told = json.loads(
        render_record(
            record(
                Status.DEFERRED,
                RecipientRecord(
                    "kim@xn--3e0b707e.kr", Status.DEFERRED, NOW, Reply(451, "4.3.0", "나중에", "smtp1")
                ),
                RecipientRecord("lee@x.kr", Status.FAILED, NOW, Reply(550, "", "no", "")),
                RecipientRecord("new@x.kr", Status.QUEUED, NOW),
            ),
            NOW,
        )
    )
    moment = "2026-12-01T00:00:00Z"
    assert told == {
        "id": "0198",
        "message_id": "<0198@gate.example.com>",
        "status": "deferred",
        "created_at": moment,
        "attempts": 2,
        "next_attempt_at": "2026-12-01T00:01:00Z",
        "expires_at": "2026-12-01T01:00:00Z",
        "cancelable": True,
        "recipients": [
            {
                "email": "kim@한국.kr",
                "status": "deferred",
                "updated_at": moment,
                "smtp": {"code": 451, "enhanced_code": "4.3.0", "text": "나중에", "host": "smtp1"},
            },
            {
                "email": "lee@x.kr",
                "status": "failed",
                "updated_at": moment,
                "smtp": {"code": 550, "enhanced_code": None, "text": "no", "host": None},
            },
            {"email": "new@x.kr", "status": "queued", "updated_at": moment, "smtp": None},
        ],
        "metadata": {"order": "42"},
    }


@pytest.mark.parametrize("status", Status)
def test_only_what_nobody_sends_can_be_canceled(status):
    told = json.loads(render_record(record(status, next_attempt_at=None), NOW))
    assert told["cancelable"] == (status in {Status.SCHEDULED, Status.QUEUED, Status.DEFERRED})
    assert (told["status"], told["next_attempt_at"]) == (status, None)


@pytest.mark.parametrize(("due", "status"), [(NOW, "queued"), (NOW + 1, "scheduled")])
def test_a_scheduled_message_is_queued_once_its_time_has_come(due, status):
    waiting = RecipientRecord("kim@x.kr", Status.SCHEDULED, NOW)
    told = json.loads(render_record(record(Status.SCHEDULED, waiting, next_attempt_at=due), NOW))
    assert (told["status"], told["recipients"][0]["status"]) == (status, status)


def test_a_dry_run():
    dry_run = DryRun("unique_client", "dev@x.kr", ("kim@xn--3e0b707e.kr",), (("Received", "a"), ("From", "b")), 99)
    assert json.loads(render_dry_run(dry_run)) == {
        "status": "dry_run",
        "rule": "unique_client",
        "envelope": {"mail_from": "dev@x.kr", "rcpt_to": ["kim@한국.kr"]},
        "headers": [{"name": "Received", "value": "a"}, {"name": "From", "value": "b"}],
        "size": 99,
    }


def test_whoami():
    certificate = PeerCertificate(
        subject="CN=unique_client",
        common_name="unique_client",
        dns=("unique_client.example.com",),
        uris=("spiffe://x/y",),
        fingerprint="ab",
        spki="cd",
        serial="1f",
        not_before=datetime(2026, 1, 1, tzinfo=UTC),
        not_after=datetime(2026, 12, 3, 12, tzinfo=UTC),
    )
    told = render_whoami(
        ClientIdentity("unique_client", "unique_client", certificate),
        door="https",
        rules={"senders": ["*@x.kr"], "rate": None},
        rate=None,
        quota=7,
        now=NOW,
    )
    assert json.loads(told) == {
        "client": "unique_client",
        "door": "https",
        "certificate": {
            "subject": "CN=unique_client",
            "sans": ["DNS:unique_client.example.com", "URI:spiffe://x/y"],
            "fingerprint": "ab",
            "serial": "1f",
            "not_before": "2026-01-01T00:00:00Z",
            "not_after": "2026-12-03T12:00:00Z",
            "days_left": 2,
        },
        "rules": {"senders": ["*@x.kr"], "rate": None},
        "remaining": {"rate": None, "quota": 7},
    }

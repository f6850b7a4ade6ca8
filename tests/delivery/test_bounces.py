"""Who is told of what ends undelivered, and how often."""

import email

import pytest

from mailgate.delivery import bounces as module
from mailgate.delivery.bounces import Bouncer
from mailgate.delivery.transaction import Transaction
from mailgate.model.address import Address
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.queue.interface import Claim
from mailgate.wire.smtp.ehlo import Extensions

NOW = 1_790_000_000.0
NEVER = Reply(550, "5.1.1", "no such user", "smtp.internal")
LATER = Reply(451, "4.3.0", "나중에", "smtp.internal")
OPS = Address("ops", "example.com")


class Events:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append((event, fields))


@pytest.fixture
def journal():
    return Events()


@pytest.fixture
def bouncer(journal):
    told = {"sensor": OPS, "시계": Address("운영", "example.com")}
    return Bouncer("gate.example.com", 3600.0, told.get, journal)


def outcomes(*statuses):
    replies = {Status.FAILED: NEVER, Status.DEFERRED: LATER, Status.EXPIRED: LATER}
    return tuple(Outcome(position, each, replies.get(each)) for position, each in enumerate(statuses))


def test_a_notice_is_a_message_of_the_client_from_nobody(bouncer, claim_of):
    claim = claim_of("a@example.com", "김@example.com", "c@example.com", attempts=2)
    notice = bouncer.notice(claim, outcomes(Status.FAILED, Status.EXPIRED, Status.DEFERRED), 3, NOW)
    assert (notice.client, notice.door, notice.sender) == ("sensor", "bounce", "")
    assert notice.recipients == ("ops@example.com",)
    assert (notice.created_at, notice.due_at, notice.expires_at) == (NOW, NOW, NOW + 3600.0)
    assert (notice.eight_bit, notice.smtputf8, notice.lease) == (False, False, False)
    assert (notice.idempotency_key, notice.quota) == (None, None)
    message = email.message_from_bytes(notice.content)
    assert message["Message-ID"] == notice.message_id == f"<{notice.id}@gate.example.com>"
    _, *each = message.get_payload()[1].get_payload()
    assert [group["Final-Recipient"] for group in each] == [
        "rfc822; a@example.com",
        r"utf-8; \x{AE40}@example.com",
    ]
    assert "Attempts: 3" in message.get_payload()[0].get_payload(decode=True).decode()


def test_only_an_address_beyond_ascii_needs_more_of_the_server(bouncer, claim_of):
    notice = bouncer.notice(claim_of(client="시계"), outcomes(Status.FAILED), 3, NOW)
    assert (notice.recipients, notice.eight_bit, notice.smtputf8) == (("운영@example.com",), True, True)


def test_any_server_takes_what_goes_to_an_ascii_address(bouncer, claim_of):
    content = "Subject: 회의\r\nTo: 김@example.com\r\n\r\n안녕하세요\r\n".encode()
    claim = claim_of("김@example.com", sender="이@example.com", content=content, eight_bit=True, smtputf8=True)
    notice = bouncer.notice(claim, outcomes(Status.FAILED), 3, NOW)
    claim = Claim.of(notice)
    transaction = Transaction(claim, claim.recipients, Extensions(), "smtp.internal")
    assert transaction.start() == b"MAIL FROM:<>\r\n"


@pytest.mark.parametrize(
    ("fields", "statuses"),
    [
        ({}, [Status.ACCEPTED]),
        ({}, [Status.DEFERRED]),
        ({"client": "nobody cares"}, [Status.FAILED]),
        ({"sender": ""}, [Status.FAILED]),
    ],
)
def test_nobody_is_told(bouncer, claim_of, fields, statuses):
    assert bouncer.notice(claim_of(**fields), outcomes(*statuses), 3, NOW) is None


def test_a_message_that_was_on_hold_may_have_arrived(bouncer, claim_of):
    notice = bouncer.notice(claim_of(on_hold=True), outcomes(Status.EXPIRED), 1, NOW)
    text = email.message_from_bytes(notice.content).get_payload()[0].get_payload(decode=True).decode()
    assert "may have reached the recipients" in text
    assert "전달되었을 수도 있습니다" in text
    assert "did not reach" not in text


def test_a_fault_of_ours_costs_the_notice_and_not_the_outcome(journal, claim_of, monkeypatch):
    logged = []
    monkeypatch.setattr(module._log, "failure", lambda _, **fields: logged.append(fields))

    def broken(client):
        raise ZeroDivisionError

    bouncer = Bouncer("gate.example.com", 3600.0, broken, journal)
    claim = claim_of()
    assert bouncer.notice(claim, outcomes(Status.FAILED), 3, NOW) is None
    assert logged == [{"message": claim.id}]


def test_the_journal_names_both_messages(bouncer, journal, claim_of):
    claim = claim_of("a@example.com", "b@example.com")
    ended = outcomes(Status.FAILED, Status.DEFERRED)
    notice = bouncer.notice(claim, ended, 3, NOW)
    bouncer.queued(notice, claim.id, ended)
    assert journal.events == [
        (
            "bounce.queued",
            {
                "message": notice.id,
                "about": claim.id,
                "client": "sensor",
                "recipient": "ops@example.com",
                "undelivered": 1,
            },
        )
    ]

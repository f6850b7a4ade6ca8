"""The funnel: what is accepted is on disk, what is refused says why, and a repeat is answered again."""

import dataclasses

from twisted.internet.defer import CancelledError

from mailgate.model.address import Address
from mailgate.model.ids import new_id
from mailgate.model.outcome import Outcome, Reply, Status
from mailgate.model.receipt import DryRun, Receipt
from mailgate.model.refusal import FaultCode, Refusal, RefusalCode
from mailgate.policy.rules import Rate
from mailgate.queue.interface import LEASE_SECONDS, Settlement

ACCEPTED = (Outcome(0, Status.ACCEPTED, Reply(250, "2.0.0", "ok", "smtp")),)


def test_an_accepted_message_is_stored_and_handed_over_under_its_lease(house):
    receipt = house.submit()
    assert receipt.message_id == f"<{receipt.id}@gate.x.kr>"
    (claim,) = house.delivery.taken
    assert claim.id == receipt.id
    assert claim.content.endswith(b"Subject: hot\r\n\r\nZone 4\r\n")
    assert b"Received: from [192.0.2.7]" in claim.content
    assert f"Message-ID: {receipt.message_id}\r\n".encode() in claim.content
    assert house.find(receipt.id).status is Status.SENDING
    assert house.turns.wait(house.queue.claim(10, house.clock.seconds())) == []


def test_without_room_a_message_waits_in_the_queue_and_delivery_is_woken(house):
    house.delivery.room = False
    receipt = house.submit()
    assert house.delivery.taken == []
    assert house.delivery.woken == 1
    (claim,) = house.turns.wait(house.queue.claim(10, house.clock.seconds()))
    assert claim.id == receipt.id


def test_a_scheduled_message_is_stored_for_later(house):
    later = house.clock.seconds() + 60
    receipt = house.submit(scheduled_at=later)
    assert receipt.status is Status.SCHEDULED
    assert house.delivery.taken == []
    assert house.find(receipt.id).next_attempt_at == later
    assert house.find(receipt.id).expires_at == later + 3600


def test_a_mails_own_message_id_and_date_are_kept(house):
    content = b"Message-ID: <own@x.kr>\r\nDate: Mon, 01 Jan 2024 00:00:00 +0900\r\n\r\nx\r\n"
    receipt = house.submit(content=content, message_id="<own@x.kr>", has_date=True)
    assert receipt.message_id == "<own@x.kr>"
    (claim,) = house.delivery.taken
    assert claim.content.count(b"Message-ID:") == 1
    assert claim.content.count(b"Date:") == 1


def test_a_repeat_with_the_same_key_is_answered_again_and_not_sent_again(house):
    first = house.submit(idempotency_key="b7-12")
    again = house.submit(idempotency_key="b7-12")
    assert again == dataclasses.replace(first, replayed=True)
    assert len(house.delivery.taken) == 1
    event, fields = house.journal.events[-1]
    assert (event, fields["message"], fields["message_id"]) == ("message.replayed", first.id, first.message_id)


def test_a_key_with_other_content_is_refused(house):
    house.submit(idempotency_key="b7-12")
    refusal = house.submit(idempotency_key="b7-12", content=b"Subject: cold\r\n\r\nx\r\n")
    assert refusal.code is RefusalCode.IDEMPOTENCY_KEY_REUSED


def test_a_key_whose_first_request_is_in_progress_is_told_so_and_free_again_afterwards(house):
    first = house.begin(idempotency_key="b7-12")
    second = house.submit(idempotency_key="b7-12")
    assert second.code is RefusalCode.IDEMPOTENCY_IN_PROGRESS
    assert house.journal.events[-1][1]["reason"] == "idempotency_in_progress"
    assert isinstance(house.turns.wait(first), Receipt)
    assert house.submit(idempotency_key="b7-12").replayed


def test_keys_of_different_clients_are_different_keys(house, rules):
    house.submit(idempotency_key="1")
    house.allow(rules(), rules(label="other", certificates=("CN:other",)))
    house.identity = dataclasses.replace(house.identity, client="other", label="other")
    assert not house.submit(idempotency_key="1").replayed


def test_policy_is_asked_and_nothing_of_a_refused_message_is_stored(house):
    refusal = house.submit(authors=(Address("ceo", "y.kr"),))
    assert refusal.code is RefusalCode.SENDER_NOT_ALLOWED
    assert house.turns.wait(house.queue.next_due()) is None
    assert house.journal.events[-1][0] == "message.refused"
    assert house.journal.events[-1][1]["reason"] == "sender_not_allowed"


def test_size_is_that_of_the_composed_message(house):
    refusal = house.submit(content=b"Subject: x\r\n\r\n" + b"a" * 70 + b"\r\n" * 2045)
    assert refusal.code is RefusalCode.MESSAGE_TOO_LARGE
    assert refusal.limit == 4096
    assert refusal.actual > 4096


def test_a_full_disk_refuses(house):
    house.refusal = Refusal(RefusalCode.DISK_LOW, "full", retry_after=60)
    assert house.submit().code is RefusalCode.DISK_LOW


def test_a_closing_gateway_takes_nothing_new(house):
    house.intake.drain()
    refusal = house.submit()
    assert refusal.code is RefusalCode.DRAINING
    assert refusal.retry_after


def test_the_rate_holds_and_heals(house, rules):
    house.allow(rules(rate=Rate(2, 60.0)))
    assert isinstance(house.submit(), Receipt)
    assert isinstance(house.submit(), Receipt)
    refusal = house.submit()
    assert refusal.code is RefusalCode.RATE_LIMITED
    assert 29 < refusal.retry_after <= 30
    house.clock.advance(refusal.retry_after)
    assert isinstance(house.submit(), Receipt)


def test_a_message_that_policy_refuses_costs_nothing_of_the_rate(house, rules):
    house.allow(rules(rate=Rate(1, 60.0)))
    house.submit(authors=(Address("ceo", "y.kr"),))
    assert isinstance(house.submit(), Receipt)


def test_a_repeat_costs_nothing_of_the_rate(house, rules):
    house.allow(rules(rate=Rate(2, 60.0)))
    first = house.submit(idempotency_key="b7-12")
    for _ in range(3):
        assert house.submit(idempotency_key="b7-12") == dataclasses.replace(first, replayed=True)
    assert not house.submit(idempotency_key="b7-13").replayed
    assert house.submit(idempotency_key="b7-14").code is RefusalCode.RATE_LIMITED
    assert house.submit(idempotency_key="b7-12").replayed
    house.clock.advance(30.0)
    assert not house.submit(idempotency_key="b7-14").replayed


def test_a_message_whose_time_has_passed_is_refused_and_costs_nothing_of_the_rate(house, rules):
    house.allow(rules(rate=Rate(1, 60.0)))
    now = house.clock.seconds()
    for changes in (
        {"scheduled_at": now - 1},
        {"expires_at": now - 1},
        {"scheduled_at": now - 1, "dry_run": True},
    ):
        for key in (None, "b7-12"):
            refusal = house.submit(idempotency_key=key, **changes)
            assert refusal.code is RefusalCode.VALIDATION_FAILED
            assert [fault.code for fault in refusal.faults] == [FaultCode.IN_THE_PAST]
    assert isinstance(house.submit(), Receipt)


def test_the_repeat_of_a_message_is_answered_when_its_time_has_passed_too(house):
    now = house.clock.seconds()
    times = {"scheduled_at": now + 5, "expires_at": now + 10}
    first = house.submit(idempotency_key="b7-12", **times)
    house.clock.advance(3600.0)
    assert house.submit(idempotency_key="b7-12", **times) == dataclasses.replace(first, replayed=True)
    assert house.submit(idempotency_key="b7-12", scheduled_at=now).code is RefusalCode.IDEMPOTENCY_KEY_REUSED


def test_the_repeat_of_a_message_is_answered_while_the_disk_is_full_too(house):
    first = house.submit(idempotency_key="b7-12")
    house.refusal = Refusal(RefusalCode.DISK_LOW, "full", retry_after=60)
    assert house.submit(idempotency_key="b7-12") == dataclasses.replace(first, replayed=True)
    assert house.submit(idempotency_key="b7-13").code is RefusalCode.DISK_LOW
    assert house.submit(dry_run=True).code is RefusalCode.DISK_LOW


def test_the_quota_is_counted_on_disk(house, rules):
    house.allow(rules(quota=Rate(1, 86400.0)))
    assert isinstance(house.submit(), Receipt)
    refusal = house.submit()
    assert refusal.code is RefusalCode.QUOTA_EXCEEDED
    assert refusal.retry_after > 0
    standing = house.turns.wait(house.intake.describe(house.identity))
    assert standing.quota == 0


def test_a_client_is_told_its_rules_and_what_is_left(house, rules):
    house.allow(rules(rate=Rate(2, 60.0), quota=Rate(5, 86400.0), max_message=100))
    standing = house.turns.wait(house.intake.describe(house.identity))
    assert (standing.rate, standing.quota) == (2, 5)
    assert standing.rules["max_message"] == 100
    house.allow(rules())
    standing = house.turns.wait(house.intake.describe(house.identity))
    assert (standing.rate, standing.quota, standing.rules["max_message"]) == (None, None, 4096)


def test_a_client_that_a_reload_removed_is_refused_at_once(house, rules):
    house.allow(rules(label="other", certificates=("CN:other",)))
    assert house.submit().code is RefusalCode.CLIENT_UNKNOWN
    assert house.turns.wait(house.intake.describe(house.identity)).code is RefusalCode.CLIENT_UNKNOWN
    assert house.intake.max_message(house.identity) == 4096


def test_a_dry_run_decides_and_queues_nothing(house):
    answer = house.submit(dry_run=True)
    assert isinstance(answer, DryRun)
    assert (answer.rule, answer.envelope_sender, answer.recipients) == ("cam", "cam@x.kr", ("kim@y.kr",))
    assert ("Subject", "hot") in answer.headers
    assert house.turns.wait(house.queue.next_due()) is None
    refused = house.submit(dry_run=True, authors=(Address("ceo", "y.kr"),))
    assert refused.code is RefusalCode.SENDER_NOT_ALLOWED


def test_another_clients_message_and_a_made_up_id_are_not_found(house):
    receipt = house.submit()
    house.identity = dataclasses.replace(house.identity, client="other")
    assert house.find(receipt.id).code is RefusalCode.NOT_FOUND
    assert house.find(new_id(0)).code is RefusalCode.NOT_FOUND
    assert house.find("../../etc/passwd").code is RefusalCode.NOT_FOUND


def test_a_queue_that_fails_is_told_as_storage_trouble_and_the_key_is_free_again(house):
    house.turns.wait(house.queue.close())
    for _ in range(2):
        refusal = house.submit(idempotency_key="k")
        assert refusal.code is RefusalCode.STORAGE_UNAVAILABLE
        assert refusal.retry_after
    assert any(event == "queue.error" for event, _ in house.journal.events)
    assert house.find(new_id(0)).code is RefusalCode.STORAGE_UNAVAILABLE


class TestWaiting:
    def settle(self, house, receipt):
        settlement = Settlement(receipt.id, ACCEPTED, house.clock.seconds(), None)
        house.turns.wait(house.queue.settle(settlement))
        house.intake.settled(receipt.id)

    def test_an_attempt_that_ends_is_told(self, house):
        receipt = house.submit()
        waiting = house.intake.wait(house.identity, receipt.id, 10.0)
        self.settle(house, receipt)
        assert house.turns.wait(waiting).status is Status.ACCEPTED
        assert house.clock.getDelayedCalls() == []

    def test_an_attempt_that_ended_before_is_told_at_once(self, house):
        receipt = house.submit()
        self.settle(house, receipt)
        waiting = house.intake.wait(house.identity, receipt.id, 10.0)
        assert house.turns.wait(waiting).status is Status.ACCEPTED
        assert house.clock.getDelayedCalls() == []

    def test_an_attempt_that_another_process_makes_is_found(self, house):
        house.intake.look_seconds = 1.0
        receipt = house.submit()
        told = []
        waiting = house.intake.wait(house.identity, receipt.id, 10.0).addCallback(told.append)
        for _ in range(3):
            house.clock.advance(1.0)
            house.turns.wait(house.queue.find(house.identity.client, receipt.id))
        assert told == []
        house.turns.wait(house.queue.settle(Settlement(receipt.id, ACCEPTED, house.clock.seconds(), None)))
        house.clock.advance(1.0)
        house.turns.wait(waiting)
        assert told[0].status is Status.ACCEPTED
        assert house.clock.getDelayedCalls() == []

    def test_after_the_time_the_message_is_told_as_it_is(self, house):
        receipt = house.submit()
        first = house.intake.wait(house.identity, receipt.id, 10.0)
        told = []
        second = house.intake.wait(house.identity, receipt.id, 20.0).addCallback(told.append)
        house.clock.advance(10.0)
        assert house.turns.wait(first).status is Status.SENDING
        assert told == []
        house.clock.advance(10.0)
        house.turns.wait(second)
        assert told[0].status is Status.SENDING

    def test_another_clients_message_can_not_be_waited_for(self, house):
        receipt = house.submit()
        house.identity = dataclasses.replace(house.identity, client="other")
        refusal = house.turns.wait(house.intake.wait(house.identity, receipt.id, 10.0))
        assert refusal.code is RefusalCode.NOT_FOUND
        assert house.clock.getDelayedCalls() == []

    def test_one_who_need_not_wait_wakes_nobody_else(self, house):
        receipt = house.submit()
        told = []
        waiting = house.intake.wait(house.identity, receipt.id, 10.0).addCallback(told.append)
        stranger = dataclasses.replace(house.identity, client="other")
        refusal = house.turns.wait(house.intake.wait(stranger, receipt.id, 10.0))
        assert refusal.code is RefusalCode.NOT_FOUND
        house.find(receipt.id)
        assert told == []
        house.clock.advance(10.0)
        house.turns.wait(waiting)
        assert [record.status for record in told] == [Status.SENDING]


def test_a_raw_utf8_header_asks_for_smtputf8_as_an_address_does(house):
    house.submit(content="Subject: 온도\r\n\r\nx\r\n".encode(), eight_bit=True)
    house.submit(content=b"Subject: hot\r\n\r\nx\r\n")
    assert [claim.smtputf8 for claim in house.delivery.taken] == [True, False]


def test_who_stops_waiting_does_not_stop_the_message(house):
    impatient = house.begin(idempotency_key="b7-12")
    impatient.addErrback(lambda failure: failure.trap(CancelledError))
    impatient.cancel()
    receipt = house.submit(idempotency_key="b7-13")
    first, second = house.delivery.taken
    assert second.id == receipt.id
    assert house.find(first.id).status is Status.SENDING
    assert [event for event, _ in house.journal.events] == ["message.accepted", "message.accepted"]


def test_what_took_long_to_be_stored_is_left_to_whoever_claims_it_next(house):
    """Its lease may be another gateway's by then."""
    accepted = house.begin()
    house.clock.advance(LEASE_SECONDS / 2)
    assert house.turns.wait(accepted).status is Status.QUEUED
    assert house.delivery.taken == []

"""What a client may ask before and after it hands a message over."""

import dataclasses

import pytest

from mailgate.model.address import Address
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.model.submission import Outline, Parties
from mailgate.policy.rules import Rate

NOBODY = Parties((), ())


@pytest.fixture
def check(house):
    """Asks about a message so far; the answer's code, or None where all is well."""

    def ask(parties=NOBODY, size=0, key=None, **times):
        outline = Outline(parties, size, key, **times)
        refusal = house.turns.wait(house.intake.check(house.identity, outline))
        return None if refusal is None else refusal.code

    return ask


def test_what_is_not_there_yet_is_no_fault(check):
    assert check() is None


def test_a_sender_out_of_the_rules_is_told_before_the_upload(check):
    assert check(Parties((("/from", Address("ceo", "y.kr")),), ())) is RefusalCode.SENDER_NOT_ALLOWED


def test_a_size_over_the_limit_is_told(check):
    assert check(size=4096) is None
    assert check(size=4097) is RefusalCode.MESSAGE_TOO_LARGE


def test_a_disk_that_is_full_is_told(house, check):
    house.refusal = Refusal(RefusalCode.DISK_LOW, "full")
    assert check() is RefusalCode.DISK_LOW


def test_a_rate_that_is_used_up_is_told_and_asking_costs_nothing_of_it(house, rules, check):
    house.allow(rules(rate=Rate(1, 60.0)))
    assert [check(), check()] == [None, None]
    house.submit()
    assert check() is RefusalCode.RATE_LIMITED
    house.clock.advance(60.0)
    assert check() is None


def test_a_quota_that_is_used_up_is_told_with_the_time_to_its_next_window(house, rules, check):
    house.allow(rules(quota=Rate(1, 86400.0)))
    assert check() is None
    refused = (
        house.submit(),
        house.submit(),
        house.turns.wait(house.intake.check(house.identity, Outline(NOBODY, 0))),
    )
    assert [each.code for each in refused[1:]] == [RefusalCode.QUOTA_EXCEEDED] * 2
    assert refused[1].retry_after == refused[2].retry_after


def test_a_time_that_has_passed_is_told(house, check):
    now = house.clock.seconds()
    assert check(scheduled_at=now + 1, expires_at=now + 2) is None
    assert check(scheduled_at=now - 1) is RefusalCode.VALIDATION_FAILED
    assert check(key="new", expires_at=now - 1) is RefusalCode.VALIDATION_FAILED


def test_what_stands_in_the_way_of_a_new_message_does_not_in_that_of_a_repeat(house, rules, check):
    house.allow(rules(rate=Rate(1, 60.0), quota=Rate(1, 86400.0)))
    house.submit(idempotency_key="b7-12")
    past = house.clock.seconds() - 1
    assert check(key="b7-12", scheduled_at=past) is None
    assert check(key="b7-13", scheduled_at=past) is RefusalCode.VALIDATION_FAILED
    assert check(key="b7-13") is RefusalCode.RATE_LIMITED
    house.clock.advance(60.0)
    assert check(key="b7-12") is None
    assert check(key="b7-13") is RefusalCode.QUOTA_EXCEEDED


def test_a_gateway_that_closes_and_a_client_that_is_gone_are_told(house, rules, check):
    house.allow(rules(label="other", certificates=("CN:other",)))
    assert check() is RefusalCode.CLIENT_UNKNOWN
    house.intake.drain()
    assert check() is RefusalCode.DRAINING


def test_a_message_is_found_by_its_key_by_its_own_client_alone(house):
    receipt = house.submit(idempotency_key="b7-12")
    by_key = house.turns.wait(house.intake.find_by_key(house.identity, "b7-12"))
    assert by_key == house.find(receipt.id)
    other = dataclasses.replace(house.identity, client="other")
    for identity, key in ((other, "b7-12"), (house.identity, "b7-13")):
        assert house.turns.wait(house.intake.find_by_key(identity, key)).code is RefusalCode.NOT_FOUND


def test_a_message_on_its_way_to_the_disk_is_told_as_in_progress(house):
    storing = house.begin(idempotency_key="k")
    refusal = house.turns.wait(house.intake.find_by_key(house.identity, "k"))
    assert refusal.code is RefusalCode.IDEMPOTENCY_IN_PROGRESS
    house.turns.wait(storing)
    assert house.turns.wait(house.intake.find_by_key(house.identity, "k")).id


def test_a_queue_that_fails_is_told_as_storage_trouble(house, rules, check):
    house.allow(rules(quota=Rate(1, 86400.0)))
    house.turns.wait(house.queue.close())
    assert check() is RefusalCode.STORAGE_UNAVAILABLE
    found = house.turns.wait(house.intake.find_by_key(house.identity, "k"))
    assert found.code is RefusalCode.STORAGE_UNAVAILABLE

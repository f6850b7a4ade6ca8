"""Identities, identifiers, schedules and refusals: the values that every room shares."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.identity import PeerCertificate
from mailgate.model.ids import is_id, new_id
from mailgate.model.outcome import Status, message_status
from mailgate.model.retry import RetrySchedule

MOMENT = datetime(2026, 12, 1, tzinfo=UTC)


def test_a_certificate_tells_its_names_and_the_time_it_has_left():
    certificate = PeerCertificate(
        subject="CN=장치",
        common_name="장치",
        dns=("a.x.kr", "b.x.kr"),
        uris=("spiffe://x/y",),
        fingerprint="",
        spki="",
        serial="1",
        not_before=MOMENT,
        not_after=MOMENT + timedelta(days=1),
    )
    assert certificate.names == ("DNS:a.x.kr", "DNS:b.x.kr", "URI:spiffe://x/y")
    assert certificate.time_left(MOMENT) == timedelta(days=1)
    assert certificate.time_left(MOMENT + timedelta(days=3)) == timedelta(days=-2)


def test_identifiers_sort_by_the_millisecond_and_are_never_the_same():
    ids = [new_id(1796083200 + step / 1000) for step in range(100)]
    assert ids == sorted(ids)
    assert len({new_id(1796083200) for _ in range(100)}) == 100
    assert all(map(is_id, ids))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda _: "",
        lambda identifier: identifier[:4],
        lambda identifier: identifier.upper().replace("0", "A"),
        lambda identifier: identifier + "\n",
        lambda identifier: identifier[:-1] + "g",
    ],
)
def test_other_text_is_no_identifier(spoil):
    assert not is_id(spoil(new_id(0)))


@pytest.mark.parametrize(
    ("recipients", "whole"),
    [
        ("accepted", "accepted"),
        ("accepted accepted", "accepted"),
        ("accepted failed", "partially_accepted"),
        ("accepted expired canceled", "partially_accepted"),
        ("failed expired", "failed"),
        ("expired canceled", "expired"),
        ("canceled", "canceled"),
        ("accepted deferred", "deferred"),
        ("failed queued", "queued"),
        ("scheduled", "scheduled"),
        ("sending deferred queued scheduled", "sending"),
        ("partially_accepted accepted", "partially_accepted"),
    ],
)
def test_a_message_is_as_its_recipients_are(recipients, whole):
    assert message_status(map(Status, recipients.split())) is Status(whole)


@given(
    st.lists(st.sampled_from([status for status in Status if status is not Status.PARTIALLY_ACCEPTED]), min_size=1)
)
def test_a_message_is_done_once_every_recipient_is(recipients):
    assert message_status(recipients).final == all(status.final for status in recipients)


def test_a_message_without_recipients_has_no_status():
    with pytest.raises(ValueError, match="at least one recipient"):
        message_status([])


@pytest.mark.parametrize("times", [(0, 10, 10), (-1, 10, 10), (11, 10, 10), (1, 10, 0)])
def test_a_schedule_that_makes_no_sense_is_refused(times):
    with pytest.raises(ValueError, match="must lie"):
        RetrySchedule(*times)


def test_a_schedule_may_give_up_before_its_longest_wait():
    assert RetrySchedule(1, 1, 0.5).give_up_after == 0.5


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_waits_double_up_to_the_longest_and_jitter_only_shortens_them(attempts, jitter):
    schedule = RetrySchedule(30, 3600, 86400)
    whole = schedule.wait(attempts, 0)
    assert whole == min(30 * 2 ** (attempts - 1), 3600)
    assert 0.75 * whole <= schedule.wait(attempts, jitter) <= whole

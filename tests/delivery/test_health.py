"""When an upstream in trouble is tried again."""

import pytest
from twisted.internet import error
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailgate.delivery.errors import UpstreamError, describe
from mailgate.delivery.health import Health


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def health(clock):
    return Health(clock, lambda: 0.0)


def test_the_back_off_doubles_from_1_to_60_seconds(clock, health):
    waits = []
    for _ in range(9):
        assert health.failed()
        waits.append(health.admits_at - clock.seconds())
        clock.advance(waits[-1])
        health.admit()
    assert waits == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_jitter_takes_up_to_a_quarter(clock):
    health = Health(clock, lambda: 1.0)
    health.failed()
    assert health.admits_at == 0.75


def test_a_hint_ends_the_wait_and_no_more(clock, health):
    health.failed()
    health.hint()
    assert health.admits_at == clock.seconds()
    assert not health.open
    health.admit()
    health.failed()
    assert health.admits_at == clock.seconds() + 2


def test_what_fails_together_counts_once(clock, health):
    assert health.failed()
    assert not health.failed()
    assert health.admits_at == 1


def test_one_probe_at_a_time(clock, health):
    health.failed()
    clock.advance(1)
    assert health.admits_at <= clock.seconds()
    health.admit()
    assert health.admits_at == float("inf")
    assert not health.open
    assert health.succeeded()
    assert health.open
    assert health.admits_at <= clock.seconds()


def test_a_probe_that_told_nothing_makes_room_for_another(clock, health):
    health.failed()
    clock.advance(1)
    health.admit()
    health.withdraw()
    assert not health.open
    assert health.admits_at <= clock.seconds()
    health.admit()
    health.succeeded()
    health.withdraw()
    assert health.open


def test_old_business_does_not_end_the_back_off(health):
    health.failed()
    assert not health.succeeded()
    assert not health.open


def test_success_forgets_earlier_trouble(clock, health):
    for _ in range(3):
        health.failed()
        clock.advance(60)
        health.admit()
    health.succeeded()
    now = clock.seconds()
    health.failed()
    assert health.admits_at == now + 1


def test_success_is_no_news_while_all_is_well(health):
    assert not health.succeeded()
    assert health.open


@pytest.mark.parametrize(
    ("problem", "text"),
    [
        (UpstreamError("the server refused the login: 535"), "the server refused the login: 535"),
        (error.ConnectionDone(), "the server closed the connection"),
        (error.ConnectionLost(), "the connection broke"),
        (error.TimeoutError(), "no connection in time"),
        (error.DNSLookupError("no results for hostname lookup: smtp.internal"), "DNS lookup failed: no results"),
        (error.UserError(), "User aborted connection"),
        (KeyError(), "KeyError"),
    ],
)
def test_every_failure_has_a_reason_in_words(problem, text):
    assert describe(Failure(problem)).startswith(text)

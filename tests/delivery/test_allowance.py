"""How many connections an upstream is good for."""

import random
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.delivery.allowance import LONGEST_PROBE, STEP, STRAIN, TOLERATED, Allowance

EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["succeeded", "overloaded", "refused", "restart"]),
        st.floats(0, 30),
        st.integers(1, 40),
    ),
    max_size=60,
)


@given(st.integers(1, 40), EVENTS)
def test_it_stays_between_one_and_the_limit_and_finds_back(limit, events):
    allowance = Allowance(limit)
    now = 0.0
    for event, wait, opened in events:
        now += wait
        match event:
            case "refused":
                allowance.refused(opened, now)
            case "restart":
                allowance.restart(now)
            case "overloaded":
                allowance.overloaded(now)
            case _:
                allowance.succeeded(opened, now)
        assert 1 <= allowance.connections <= limit
    for _ in range(limit):
        now += LONGEST_PROBE
        allowance.succeeded(limit, now)
    assert allowance.connections == limit


def test_what_says_so_together_halves_it_once():
    allowance = Allowance(10)
    for _ in range(2 * STRAIN // TOLERATED):
        allowance.overloaded(100.0)
    assert allowance.connections == 5
    allowance.overloaded(100.0 + STEP)
    assert allowance.connections == 2


def test_overload_leaves_two_where_there_were_two():
    allowance = Allowance(10)
    for second in range(10):
        allowance.overloaded(100.0 + second)
    assert allowance.connections == 2
    allowance.refused(1, 110.0)
    allowance.overloaded(112.0)
    assert allowance.connections == 1


@pytest.mark.parametrize(("share", "least", "most"), [(0.01, 9.9, 10.0), (0.02, 9.0, 10.0), (0.3, 2.0, 3.0)])
def test_a_word_of_overload_now_and_then_is_made_up_for(share, least, most):
    allowance = Allowance(10)
    chance = random.Random(7)
    seen = []
    for message in range(100_000):
        now = 100.0 + message / 100
        if chance.random() < share:
            allowance.overloaded(now)
        else:
            allowance.succeeded(10, now)
        seen.append(allowance.connections)
    assert least <= statistics.fmean(seen) <= most


def test_what_isnt_used_grows_by_one_only():
    allowance = Allowance(10)
    allowance.refused(3, 100.0)
    for second in range(100, 200):
        allowance.succeeded(2, float(second))
    assert allowance.connections == 4


def waits_for_a_fourth(used, answered_after=0.0):
    """Refuse each try with a fourth connection, so long after the refusal before at least; return the waits."""
    allowance = Allowance(10)
    allowance.refused(3, 100.0)
    waits = []
    cut_at = now = 100.0
    while len(waits) < 8:
        now += 0.5
        allowance.succeeded(used, now)
        if allowance.connections == 4 and now - cut_at >= answered_after:
            waits.append(now - cut_at)
            cut_at = now
            allowance.refused(3, now)
        assert allowance.connections == 3 or now - cut_at < answered_after
    return waits


def test_a_try_goes_well_only_once_it_was_used():
    """The server takes three, and needs longer than a second to refuse one more."""
    waits = waits_for_a_fourth(used=3, answered_after=4.5)
    assert waits == sorted(waits)
    assert waits[5] >= 32


def test_a_try_that_went_well_is_over():
    allowance = Allowance(4)
    allowance.refused(3, 100.0)
    allowance.succeeded(3, 102.0)
    assert allowance.trying
    allowance.succeeded(4, 103.0)
    assert (allowance.connections, allowance.trying) == (4, False)


def test_one_is_left_whatever_else_hangs():
    allowance = Allowance(10)
    allowance.refused(-3, 100.0)
    assert allowance.connections == 1


def test_a_long_overload_is_soon_forgotten():
    allowance = Allowance(10)
    for _ in range(100):
        allowance.overloaded(100.0)
    for _ in range(2 * TOLERATED):
        allowance.succeeded(10, 100.5)
    allowance.overloaded(102.0)
    assert allowance.connections == 5


def test_after_an_outage_it_doubles_with_each_second_of_success():
    allowance = Allowance(10)
    allowance.restart(100.0)
    seen = []
    for tenths in range(0, 51, 5):
        allowance.succeeded(10, 100.0 + tenths / 10)
        seen.append(allowance.connections)
    assert seen == [2, 2, 4, 4, 8, 8, 10, 10, 10, 10, 10]


def test_where_one_is_too_many_it_tries_again_less_and_less_often():
    assert waits_for_a_fourth(used=10) == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]


def test_where_one_more_goes_well_the_next_ones_follow_by_the_second():
    allowance = Allowance(10)
    for seconds in range(0, 300, 30):
        allowance.refused(3, 100.0 + seconds)
    seen = {}
    for second in range(370, 500):
        allowance.succeeded(10, float(second))
        seen.setdefault(allowance.connections, second)
    assert [seen[each] - 370 for each in range(4, 11)] == [60, 61, 62, 63, 64, 65, 66]


def test_after_an_outage_what_was_too_many_before_may_be_right():
    allowance = Allowance(10)
    allowance.refused(1, 100.0)
    allowance.restart(200.0)
    for second in range(1, 6):
        allowance.succeeded(10, 200.0 + second)
    assert allowance.connections == 10


def test_after_an_outage_one_more_is_tried_soon_again():
    allowance = Allowance(10)
    for seconds in range(0, 300, 30):
        allowance.refused(3, 100.0 + seconds)
    allowance.restart(400.0)
    allowance.refused(1, 401.0)
    allowance.succeeded(10, 401.0 + 2 * STEP)
    assert allowance.connections == 2


def test_a_quiet_time_doesnt_let_it_grow():
    allowance = Allowance(10)
    for _ in range(4):
        allowance.overloaded(100.0)
    allowance.succeeded(10, 100.0 + 100 * LONGEST_PROBE)
    assert allowance.connections == 6

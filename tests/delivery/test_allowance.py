"""How many connections an upstream is good for."""

from hypothesis import given
from hypothesis import strategies as st

from mailgate.delivery.allowance import PROBE, STEP, Allowance

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
                allowance.succeeded(now)
        assert 1 <= allowance.connections <= limit
    for _ in range(limit):
        now += PROBE
        allowance.succeeded(now)
    assert allowance.connections == limit


def test_what_says_so_together_halves_it_once():
    allowance = Allowance(10)
    for _ in range(5):
        allowance.overloaded(100.0)
    assert allowance.connections == 5
    allowance.overloaded(100.0 + STEP)
    assert allowance.connections == 2


def test_after_an_outage_it_doubles_with_each_second_of_success():
    allowance = Allowance(10)
    allowance.restart(100.0)
    seen = []
    for tenths in range(0, 51, 5):
        allowance.succeeded(100.0 + tenths / 10)
        seen.append(allowance.connections)
    assert seen == [2, 2, 4, 4, 8, 8, 10, 10, 10, 10, 10]


def test_where_one_was_too_many_it_tries_again_now_and_then():
    allowance = Allowance(10)
    allowance.refused(3, 100.0)
    assert allowance.connections == 3
    allowance.succeeded(100.0 + PROBE - 0.1)
    assert allowance.connections == 3
    allowance.succeeded(100.0 + PROBE)
    assert allowance.connections == 4
    allowance.refused(3, 111.0)
    assert allowance.connections == 3


def test_after_an_outage_what_was_too_many_before_may_be_right():
    allowance = Allowance(10)
    allowance.refused(1, 100.0)
    allowance.restart(200.0)
    for second in range(1, 6):
        allowance.succeeded(200.0 + second)
    assert allowance.connections == 10


def test_a_quiet_time_doesnt_let_it_grow():
    allowance = Allowance(10)
    allowance.overloaded(100.0)
    allowance.succeeded(100.0 + 100 * PROBE)
    assert allowance.connections == 6

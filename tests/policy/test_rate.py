"""A token bucket: bursts up to the count, the rate in the long run, whatever the clock does."""

from hypothesis import given
from hypothesis import strategies as st

from mailgate.policy.rate import Bucket
from mailgate.policy.rules import Rate

RATES = st.builds(Rate, st.integers(1, 1000), st.sampled_from([1.0, 60.0, 3600.0, 86400.0]))


def test_a_burst_may_use_the_whole_count_and_then_has_to_wait():
    rate = Rate(3, 60.0)
    bucket = Bucket.full(rate, 1000.0)
    for _ in range(3):
        bucket, wait = bucket.take(rate, 1000.0)
        assert wait == 0
    bucket, wait = bucket.take(rate, 1000.0)
    assert wait == 20.0
    _, wait = bucket.take(rate, 1020.0)
    assert wait == 0


def test_a_refused_take_costs_nothing():
    rate = Rate(1, 60.0)
    empty, _ = Bucket.full(rate, 0.0).take(rate, 0.0)
    for now in range(59):
        empty, wait = empty.take(rate, float(now))
        assert wait > 0
    assert empty.take(rate, 60.0)[1] == 0


def test_a_clock_that_goes_back_neither_gives_nor_takes():
    rate = Rate(2, 60.0)
    bucket, _ = Bucket.full(rate, 1000.0).take(rate, 1000.0)
    assert bucket.at(rate, 10.0).tokens == bucket.tokens


@given(RATES, st.lists(st.floats(0, 10_000), max_size=60))
def test_no_sequence_of_takes_beats_the_rate(rate, gaps):
    now, granted = 0.0, 0
    bucket = Bucket.full(rate, now)
    for gap in gaps:
        now += gap
        bucket, wait = bucket.take(rate, now)
        granted += wait == 0
        assert 0 <= bucket.tokens <= rate.count
    assert granted <= rate.count + now * rate.count / rate.period + 1e-6 * (1 + now)

"""Quantities as settings write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.wire.units import format_rate, parse_duration, parse_rate, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "octets"),
    [("25 MiB", 25 * 1024**2), ("1kB", 1000), ("512 B", 512), ("1.5 KiB", 1536), (" 2 GiB ", 2 * 1024**3)],
)
def test_sizes(text, octets):
    assert parse_size(text) == octets


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90s", 90), ("5 days", 432_000), ("1 hour", 3600), ("10 min", 600), ("2w", 1_209_600), ("0.5 s", 0.5)],
)
def test_durations(text, seconds):
    assert parse_duration(text) == seconds


def test_rates():
    assert parse_rate("60/minute") == (60, 60.0)
    assert parse_rate(" 5000 / Day ") == (5000, 86400.0)


def test_shares():
    assert parse_share("5%") == 0.05
    assert parse_share("0 %") == 0


@pytest.mark.parametrize("text", ["", "5", "MiB", "-1 MiB", "0 MiB", "5 parsecs", "5 MiB/s", "1e3 B"])
def test_what_is_no_size_or_duration_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="25 MiB"):
        parse_size(text)
    with pytest.raises(ValueError, match="90s"):
        parse_duration(text)


@pytest.mark.parametrize("text", ["0.4 B", "1025 GiB", "9" * 400 + " GiB"])
def test_a_size_that_no_message_can_have_is_refused(text):
    with pytest.raises(ValueError, match="between 1 B and 1024 GiB"):
        parse_size(text)
    assert parse_size("1024 GiB") == 1024**4


@pytest.mark.parametrize("text", ["36501 days", "99999999 weeks", "9" * 400 + " s"])
def test_a_duration_whose_end_would_be_no_date_is_refused(text):
    with pytest.raises(ValueError, match="36500 days"):
        parse_duration(text)
    assert parse_duration("36500 days") == 36500 * 86400


@pytest.mark.parametrize("text", ["", "60", "0/minute", "60/fortnight", "60 per minute", "-1/day"])
def test_what_is_no_rate_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="60/minute"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "5", "100%", "-5%", "half"])
def test_what_is_no_share_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="5%"):
        parse_share(text)


@given(st.integers(1, 10**6), st.sampled_from(["second", "minute", "hour", "day"]))
def test_a_rate_is_written_as_it_is_read(count, period):
    assert format_rate(*parse_rate(f"{count}/{period}")) == f"{count}/{period}"

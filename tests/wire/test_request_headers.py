"""Header fields of a request that say how it is to be handled."""

import pytest

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.wire.request_headers import parse_idempotency_key, parse_prefer_wait


@pytest.mark.parametrize(
    ("raw", "key"),
    [
        (None, None),
        ("order-42", "order-42"),
        (' "order-42"\t', "order-42"),
        ("two words", "two words"),
        ('"with \\" and \\\\"', 'with " and \\'),
        ("back\\slash", "back\\slash"),
        ("k" * 255, "k" * 255),
        ('"' + "k" * 255 + '"', "k" * 255),
    ],
)
def test_a_key_is_the_same_with_and_without_quotes(raw, key):
    assert parse_idempotency_key(raw) == key


@pytest.mark.parametrize(
    "raw",
    ["", " ", '""', '"open', 'shut"', '"', 'a"b', '"a"b"', '"a\\n"', "키", "a\tb", "k" * 256, '"a" "b"', "\x7f"],
)
def test_any_other_key_is_refused(raw):
    refusal = parse_idempotency_key(raw)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.INVALID_IDEMPOTENCY_KEY


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        ("", None),
        ("respond-async", None),
        ("wait=10", 10),
        ("respond-async, WAIT = 10 ; x=y", 10),
        ('wait="5"', 5),
        ("wait=0", 0),
        ("wait=3, wait=7", 3),
        ("wait=100", 60),
        ("wait=" + "9" * 5000, 60),
        ("wait", None),
        ("wait=soon", None),
        ("wait=-1", None),
        ("wait=1.5", None),
        ("waiting=5", None),
    ],
)
def test_a_client_can_prefer_to_wait(value, seconds):
    assert parse_prefer_wait(value) == seconds

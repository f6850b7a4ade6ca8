"""Whoever holds a Submission holds a valid one."""

import dataclasses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.model.address import Address
from mailgate.model.submission import (
    Envelope,
    Recipient,
    Submission,
    UnfitContentError,
    check_content,
    has_long_line,
)

DEV, KIM, LEE = (Address(local, "x.kr") for local in ("dev", "kim", "lee"))
CONTENT = "From: dev@x.kr\r\n\r\n본문\r\n".encode()


def submission(*recipients: Address, **changes) -> Submission:
    envelope = Envelope(DEV, tuple(Recipient(each, "/to") for each in recipients or (KIM,)))
    values = {"envelope": envelope, "authors": (DEV,), "content": CONTENT, "eight_bit": True}
    return Submission(**(values | changes))


@pytest.mark.parametrize(
    ("address", "text", "smtputf8"),
    [
        (Address("kim", "x.kr"), "kim@x.kr", False),
        (Address("kim.lee", "x.kr"), "kim.lee@x.kr", False),
        (Address("kim lee", "x.kr"), '"kim lee"@x.kr', False),
        (Address('a"b\\c', "x.kr"), '"a\\"b\\\\c"@x.kr', False),
        (Address(".a", "x.kr"), '".a"@x.kr', False),
        (Address("김철수", "x.kr"), "김철수@x.kr", True),
    ],
)
def test_an_address_is_written_as_smtp_wants_it(address, text, smtputf8):
    assert str(address) == text
    assert address.needs_smtputf8 == smtputf8


@pytest.mark.parametrize(
    ("local", "domain", "reason"),
    [
        ("", "x.kr", "empty"),
        ("a\r", "x.kr", "control"),
        ("a\u2028", "x.kr", "control"),
        ("a\ud800", "x.kr", "control"),
        ("김" * 22, "x.kr", "64 octets"),
        ("a", "", "domain"),
        ("a", "X.kr", "domain"),
        ("a", "한국.kr", "domain"),
        ("a", "x.kr.", "domain"),
        ("a", "x.kr\n", "domain"),
        ("a", ".".join(["b" * 63] * 4), "254 octets"),
        ("a", ".".join(["b" * 63] * 5), "domain"),
    ],
)
def test_what_smtp_cannot_carry_is_no_address(local, domain, reason):
    with pytest.raises(ValueError, match=reason):
        Address(local, domain)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no end"),
        (b"a", "no end"),
        (b"a\r\nb", "no end"),
        (b"a\n", "bare"),
        (b"a\r", "bare"),
        (b"a\r\r\n", "bare"),
        (b"a\n\r\n", "bare"),
        (b"\n\r", "bare"),
        (b"a\n.\r\n", "bare"),
        (b"a\0\r\n", "NUL"),
        (b"x" * 999 + b"\r\n", "998"),
        (b"a\r\n" * 500 + b"x" * 999 + b"\r\n" + b"b\r\n" * 500, "998"),
    ],
)
def test_what_smtp_would_take_for_something_else_is_unfit(content, reason):
    with pytest.raises(UnfitContentError, match=reason):
        check_content(content)
    with pytest.raises(UnfitContentError):
        submission(content=content)


@given(st.lists(st.integers(0, 1100) | st.integers(996, 1000), max_size=12))
@example([998, 998])
@example([999])
@example([0, 999, 0])
@example([500, 499, 998])
def test_a_long_line_is_found_wherever_it_stands(lengths):
    content = b"".join(b"x" * length + b"\r\n" for length in lengths)
    assert has_long_line(content) == any(length > 998 for length in lengths)


def test_an_envelope_names_each_recipient_once_and_at_least_one():
    with pytest.raises(ValueError, match="at least one"):
        Envelope(DEV, ())
    with pytest.raises(ValueError, match="once"):
        Envelope(DEV, (Recipient(KIM, "/to/0"), Recipient(KIM, "/cc")))


def test_a_message_has_an_author():
    with pytest.raises(ValueError, match="author"):
        submission(authors=())


@pytest.mark.parametrize(
    ("given", "needed"),
    [
        (submission(), False),
        (submission(Address("김", "x.kr")), True),
        (submission(content="From: 김@x.kr\r\n\r\n".encode()), True),
        (submission(content="From: 김@x.kr\r\n".encode()), True),
        (submission(content=b"From: a@x.kr\r\n\r\n", eight_bit=False), False),
    ],
)
def test_smtputf8_is_needed_by_the_envelope_or_the_header(given, needed):
    assert given.needs_smtputf8 == needed


def test_an_envelope_with_a_korean_sender_needs_smtputf8():
    assert Envelope(Address("김", "x.kr"), (Recipient(KIM, "/to"),)).needs_smtputf8


def test_the_fingerprint_is_of_all_the_client_decided_and_nothing_else():
    first = submission(KIM, LEE, metadata={"a": "1", "b": "2"})
    same = [
        submission(KIM, LEE, metadata={"b": "2", "a": "1"}),
        dataclasses.replace(first, idempotency_key="key", author_source="/x"),
    ]
    other = [
        submission(LEE, KIM, metadata=first.metadata),
        submission(KIM, metadata=first.metadata),
        dataclasses.replace(first, metadata={}),
        dataclasses.replace(first, scheduled_at=1.0),
        dataclasses.replace(first, expires_at=1.0),
        dataclasses.replace(first, content=b"X: y\r\n" + CONTENT),
        dataclasses.replace(first, envelope=Envelope(LEE, first.envelope.recipients)),
    ]
    assert {each.fingerprint for each in same} == {first.fingerprint}
    assert len({each.fingerprint for each in (first, *other)}) == len(other) + 1

"""What the gateway writes on top of a message."""

from email import message_from_bytes
from email.policy import SMTP
from email.utils import parsedate_to_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.submission import check_content
from mailgate.wire.mime import Trace, header_fields, stamp

CONTENT = b"From: dev@x.kr\r\n\r\nbody\r\n"
MOMENT = 1796083200.0


def trace(**other) -> Trace:
    values = {
        "hostname": "gate.example.com",
        "client": "unique_client",
        "protocol": "HTTPS",
        "address": "192.0.2.7",
        "id": "0198c0de-0000-7000-8000-000000000000",
        "time": MOMENT,
    }
    return Trace(**(values | other))


def test_a_stamped_message_tells_how_it_came():
    stamped = stamp(CONTENT, trace=trace(), message_id="<1@gate.example.com>", date=MOMENT)
    assert stamped == (
        b"Received: from [192.0.2.7] (unique_client) by gate.example.com with HTTPS\r\n"
        b" id 0198c0de-0000-7000-8000-000000000000; Tue, 01 Dec 2026 00:00:00 +0000\r\n"
        b"Message-ID: <1@gate.example.com>\r\n"
        b"Date: Tue, 01 Dec 2026 00:00:00 +0000\r\n" + CONTENT
    )


def test_what_the_mail_brought_is_not_stamped_again():
    stamped = stamp(CONTENT, trace=trace(), message_id=None, date=None)
    assert [name for name, _ in header_fields(stamped)] == ["Received", "From"]


@given(st.floats(0, 253402300799))
def test_the_date_is_that_moment_in_utc(moment):
    stamped = stamp(CONTENT, trace=trace(), message_id=None, date=moment)
    date = message_from_bytes(stamped, policy=SMTP)["Date"]
    assert date.endswith(" +0000")
    assert parsedate_to_datetime(date).timestamp() == int(moment)


@pytest.mark.parametrize(
    ("address", "shown"),
    [("2001:db8::1", "[IPv6:2001:db8::1]"), ("192.0.2.7", "[192.0.2.7]"), ("::1", "[IPv6:::1]")],
)
def test_the_peer_stands_as_an_address_literal(address, shown):
    stamped = stamp(CONTENT, trace=trace(address=address), message_id=None, date=None)
    assert header_fields(stamped)[0][1].startswith(f"from {shown} (unique_client) by")


def test_a_client_without_a_name_leaves_no_comment():
    stamped = stamp(CONTENT, trace=trace(client=""), message_id=None, date=None)
    assert header_fields(stamped)[0][1].startswith("from [192.0.2.7] by gate")


@given(st.text(max_size=200))
def test_no_client_name_can_break_the_field(client):
    stamped = stamp(CONTENT, trace=trace(client=client), message_id=None, date=None)
    check_content(stamped)
    assert stamped.isascii()
    fields = header_fields(stamped)
    assert [name for name, _ in fields] == ["Received", "From"]
    comment = fields[0][1].removeprefix("from [192.0.2.7] ").partition("by gate.example.com with HTTPS")[0]
    assert not comment or (comment.count("("), comment.count(")")) == (1, 1)
    assert max(map(len, stamped.split(b"\r\n"))) <= 78

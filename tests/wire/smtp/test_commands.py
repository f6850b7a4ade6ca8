"""The commands of a transaction."""

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.model.address import Address
from mailgate.wire.smtp.commands import UnfitAddressError, bdat_last, mail_from, rcpt_to

PLAIN = {"size": None, "eight_bit": False, "smtputf8": False}


def test_mail_from_asks_for_what_it_is_told():
    assert mail_from("a@example.com", **PLAIN) == b"MAIL FROM:<a@example.com>\r\n"
    assert (
        mail_from("김@example.com", size=2048, eight_bit=True, smtputf8=True)
        == "MAIL FROM:<김@example.com> SIZE=2048 BODY=8BITMIME SMTPUTF8\r\n".encode()
    )


def test_the_null_sender_is_sent_as_such():
    assert mail_from("", **PLAIN) == b"MAIL FROM:<>\r\n"


def test_a_report_is_asked_to_name_the_envelope_and_return_the_header():
    command = mail_from("a@example.com", **PLAIN, envelope_id="01900000-aa")
    assert command == b"MAIL FROM:<a@example.com> RET=HDRS ENVID=01900000-aa\r\n"


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1))
def test_an_envelope_id_is_written_in_xtext(text):
    value = mail_from("", **PLAIN, envelope_id=text).removesuffix(b"\r\n").partition(b" ENVID=")[2]
    assert re.fullmatch(rb"(?:[!-*,-<>-~]|\+[0-9A-F]{2})+", value)
    assert re.sub(rb"\+(..)", lambda found: bytes.fromhex(found[1].decode()), value) == text.encode()


def test_bdat_carries_the_message_as_it_is():
    assert bdat_last(b".\r\n..\r\n") == b"BDAT 7 LAST\r\n.\r\n..\r\n"


def test_there_is_no_null_recipient():
    with pytest.raises(UnfitAddressError, match="empty"):
        rcpt_to("", smtputf8=False)


@pytest.mark.parametrize(
    "address", ['"two words"@example.com', '"a\\"b"@example.com', "a@[192.0.2.1]", "a!b@x.kr"]
)
def test_unusual_addresses_are_sent_as_they_are(address):
    assert rcpt_to(address, smtputf8=False) == f"RCPT TO:<{address}>\r\n".encode()


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("a@example.com>\r\nDATA\r\n", "control character"),
        ("a\0@example.com", "control character"),
        ("a\udc80@example.com", "control character"),
        ("a", "no domain"),
        ("@example.com", "no domain"),
        ("a@", "no domain"),
        ("kim@한국.kr", "A-labels"),
        ("a@example.com> SIZE=1", "A-labels"),
        ("김@example.com", "SMTPUTF8"),
        ("a> b@example.com", "quoted"),
        ('"a"b"@example.com', "quoted"),
    ],
)
def test_what_could_break_out_of_its_place_is_refused(address, reason):
    with pytest.raises(UnfitAddressError, match=reason):
        rcpt_to(address, smtputf8=False)
    with pytest.raises(UnfitAddressError, match=reason):
        mail_from(address, **PLAIN)


@given(st.text(min_size=1, max_size=20))
@example("전각\u3000공백")
def test_every_address_of_the_model_can_be_sent(local):
    try:
        address = Address(local, "example.com")
    except ValueError:
        return
    command = rcpt_to(str(address), smtputf8=True)
    assert command == b"RCPT TO:<" + str(address).encode() + b">\r\n"
    assert command.count(b"\r\n") == 1

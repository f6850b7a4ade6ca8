"""A finished mail is delivered as it came, or everything that is wrong with it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.address import Address
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.model.submission import Envelope, Recipient, Submission
from mailgate.wire.rfc822 import decode_rfc822

MAIL = b"From: dev@x.kr\r\nSubject: hi\r\n\r\nbody\r\n"


def decode(mail: bytes, mail_from=("bounce@x.kr",), rcpt_to=("kim@x.kr",)) -> Submission | Refusal:
    return decode_rfc822(mail, mail_from=mail_from, rcpt_to=rcpt_to, idempotency_key="key-1", max_recipients=3)


def taken(mail: bytes, *envelope) -> Submission:
    submission = decode(mail, *envelope)
    assert isinstance(submission, Submission), submission
    return submission


def faults(mail: bytes, *envelope) -> set[tuple[str, str]]:
    refusal = decode(mail, *envelope)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code is RefusalCode.VALIDATION_FAILED
    return {(fault.pointer, fault.code.value) for fault in refusal.faults}


def test_a_mail_travels_as_it_came():
    mail = (
        b"Received: from a\r\n by b\r\n"
        b'FROM: "Kim, Lee" <dev@x.kr>,\r\n\t=?utf-8?b?7J6l?= <second@x.kr>\r\n'
        b"Message-Id:\r\n <1@x.kr>\r\nDate: yesterday\r\nDKIM-Signature: x\r\n\r\n.\r\n  body \r\n\r\n"
    )
    submission = taken(mail, ["bounce@한국.kr"], ["kim@x.kr", "lee@x.kr", "kim@x.kr"])
    assert submission.content == mail
    assert submission.authors == (Address("dev", "x.kr"), Address("second", "x.kr"))
    assert submission.author_source == "/headers/From"
    assert submission.envelope == Envelope(
        Address("bounce", "xn--3e0b707e.kr"),
        (Recipient(Address("kim", "x.kr"), "/to/0"), Recipient(Address("lee", "x.kr"), "/to/1")),
    )
    assert submission.message_id == "<1@x.kr>"
    assert submission.has_date
    assert (submission.eight_bit, submission.idempotency_key) == (False, "key-1")


def test_what_a_mail_lacks_is_left_to_the_gateway():
    submission = taken(MAIL)
    assert (submission.message_id, submission.has_date) == (None, False)
    assert submission.envelope.recipients == (Recipient(Address("kim", "x.kr"), "/to"),)


@pytest.mark.parametrize(
    ("mail", "content"),
    [
        (b"From: dev@x.kr\n\na\r\nb\n", b"From: dev@x.kr\r\n\r\na\r\nb\r\n"),
        (b"From: dev@x.kr\r\n\r\nno end", b"From: dev@x.kr\r\n\r\nno end\r\n"),
        (b"From: dev@x.kr", b"From: dev@x.kr\r\n"),
        (b"Bcc: a@x.kr,\r\n b@x.kr\r\nFrom: dev@x.kr\r\nbCC: c@x.kr\r\nResent-Bcc: d\r\n\r\nBcc: e\r\n",
         b"From: dev@x.kr\r\n\r\nBcc: e\r\n"),
    ],
)  # fmt: skip
def test_line_ends_are_made_whole_and_bcc_goes(mail, content):
    assert taken(mail).content == content


def test_eight_bits_are_told_and_a_raw_header_needs_smtputf8():
    body = taken(b"From: dev@x.kr\r\n\r\n" + "본문".encode())
    assert (body.eight_bit, body.needs_smtputf8) == (True, False)
    header = taken("From: 장치 <dev@x.kr>\r\n\r\nbody".encode())
    assert (header.eight_bit, header.needs_smtputf8) == (True, True)


@pytest.mark.parametrize(
    ("mail", "found"),
    [
        (b"", {("/headers", "required"), ("/headers/From", "required")}),
        (b"just text\r\n", {("/headers", "required"), ("/headers/From", "required")}),
        (b"\r\nFrom: dev@x.kr\r\n", {("/headers", "required"), ("/headers/From", "required")}),
        (b" From: dev@x.kr\r\n", {("/headers", "required"), ("/headers/From", "required")}),
        (b"Subject: a\r\n\r\n", {("/headers/From", "required")}),
        (b"From: dev@x.kr\r\nfrom: b@x.kr\r\n\r\n", {("/headers/From", "too_many")}),
        (b"From: team: dev@x.kr;\r\n\r\n", {("/headers/From", "invalid_address")}),
        (b"From:\r\n\r\n", {("/headers/From", "invalid_address")}),
        (b"From: dev@x.kr\r\nFrom : b@x.kr\r\n\r\n", {("/headers", "invalid_header")}),
        (b"From: dev@x.kr\r\nno field\r\nX: y\r\n\r\n", {("/headers", "invalid_header")}),
        (b"From: dev@x.kr\r\nX: a\r\n \t\r\nY: b\r\n\r\n", {("/headers/X", "invalid_header")}),
        (b"From: dev@x.kr\r\nX~/: \xff\r\n\r\n", {("/headers/X~0~1", "invalid_header")}),
        (b"From: dev@x.kr\r\n\r\na\rb\r\n", {("", "control_character")}),
        (b"From: dev@x.kr\r\n\r\na\r\r\n", {("", "control_character")}),
        (b"From: dev@x.kr\r\n\r\na\0b\r\n", {("", "control_character")}),
        (b"From: dev@x.kr\r\n\r\n" + b"x" * 999, {("", "too_long")}),
        (b"X: y\r\n\r\na\rb" + b"x" * 999, {
            ("", "control_character"), ("", "too_long"), ("/headers/From", "required"),
        }),
        (MAIL.replace(b"\r\n\r\n", b"\r\nMessage-ID: <1@x>\r\nMessage-ID: <2@x>\r\n\r\n"),
         {("/headers/Message-ID", "invalid_header")}),
        (MAIL.replace(b"\r\n\r\n", b"\r\nMessage-ID:\r\n\r\n"), {("/headers/Message-ID", "invalid_header")}),
    ],
)  # fmt: skip
def test_a_mail_that_readers_could_take_for_another_is_refused(mail, found):
    assert faults(mail) == found


@pytest.mark.parametrize(
    ("envelope", "found"),
    [
        (([], []), {("/from", "required"), ("/to", "required")}),
        ((["a@x.kr", "b@x.kr"], ["kim@x.kr"] * 4), {("/from", "too_many"), ("/to", "too_many")}),
        ((["Kim <a@x.kr>"], ["x"]), {("/from", "invalid_address"), ("/to", "invalid_address")}),
        ((["a@x.kr"], ["b@x.kr", ""]), {("/to/1", "invalid_address")}),
    ],
)
def test_the_envelope_stands_in_the_query(envelope, found):
    assert faults(MAIL, *envelope) == found


def test_a_line_of_998_octets_passes():
    assert taken(b"From: dev@x.kr\r\n\r\n" + b"x" * 998)


@given(
    st.lists(
        st.sampled_from(
            [b"From: dev@x.kr", b"Bcc: a@x.kr", b"X: y", b" fold", b"\r\n", b"\n", b"\r", b"\0", b"\xff", b"."]
        )
    ).map(b"".join)
)
def test_whatever_is_taken_is_canonical_with_one_author(mail):
    outcome = decode(mail)
    if isinstance(outcome, Submission):
        assert outcome.authors == (Address("dev", "x.kr"),)
        assert b"\nBcc" not in b"\n" + outcome.content.partition(b"\r\n\r\n")[0]

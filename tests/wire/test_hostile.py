"""Requests that were made to hurt: nothing gets past the checks, and no request takes more than its share."""

import json
from email import message_from_bytes
from email.policy import SMTP
from encodings import _cache as codec_cache
from time import process_time

import pytest

from mailgate.model.address import Address
from mailgate.model.outcome import Status
from mailgate.model.receipt import Receipt
from mailgate.model.refusal import Refusal
from mailgate.model.submission import Submission
from mailgate.wire.address import parse_author_list
from mailgate.wire.faults import LONGEST_POINTER
from mailgate.wire.headers import holds_control
from mailgate.wire.json import decode_message, decode_rfc822, render_receipt
from mailgate.wire.json.decode import MOST_VALUES
from mailgate.wire.rfc822 import MAX_HEADER_OCTETS

NOW = 1796083200.0  # 2026-12-01T00:00:00Z
SMALL = {"from": "dev@x.kr", "to": "kim@x.kr", "text": "안녕"}
MANY = 300_000


def decode(body: bytes) -> Submission | Refusal:
    return decode_message(body, idempotency_key=None, now=NOW, max_recipients=100)


def given(**changes) -> bytes:
    return json.dumps(SMALL | changes, ensure_ascii=False).encode()


def faults(body: bytes) -> set[tuple[str, str]]:
    refusal = decode(body)
    assert isinstance(refusal, Refusal)
    return {(fault.pointer, fault.code.value) for fault in refusal.faults}


@pytest.mark.parametrize(
    "word",
    [
        "=?utf-8?q?a?b=0D=0AX:y?=",
        "=?utf-8?b?DQpYA?=",
        "=?utf-8?b?DQ==WA==?=",
        "=??q?=0D?=",
        "=?utf 8?q?=0A?=",
        "=?utf-8*ko?q?=0A?=",
        "=?x?b?=?utf-8?q?=0A?=",
        "=?utf-7?q?+AA0-?=",
        "=?cp037?q?=25?=",
    ],
)
def test_no_reader_of_an_encoded_word_finds_a_line_end_in_it(word):
    assert holds_control(f"안녕 {word}")


@pytest.mark.parametrize("word", ["=?utf-8?q?a?b=20c?=", "=?hex?q?zz?=", "=?utf-8?q?never ended", "=?utf-8?b??="])
def test_what_decodes_to_plain_text_passes(word):
    assert not holds_control(word)


@pytest.mark.parametrize(
    "value", ["boss@x.kr <dev@x.kr>", "boss@x.kr (it's me) <dev@x.kr>", 'me "and" boss@x.kr\t<dev@x.kr>']
)
def test_a_name_that_readers_take_for_the_address_is_refused(value):
    with pytest.raises(ValueError, match="quotes"):
        parse_author_list(value)


@pytest.mark.parametrize("value", ["dev@x.kr <dev@x.kr>", '"boss@x.kr" <dev@x.kr>', "(boss@x.kr) <dev@x.kr>"])
def test_a_name_that_no_reader_takes_for_another_address_passes(value):
    assert parse_author_list(value) == (Address("dev", "x.kr"),)


def test_a_file_name_is_not_decoded_by_its_reader():
    name = "=?utf-8?q?=41?= .exe"
    submission = decode(given(attachments=[{"filename": name, "content": "aGk="}]))
    assert isinstance(submission, Submission)
    (part,) = message_from_bytes(submission.content, policy=SMTP).iter_attachments()
    assert part.get_filename() == name
    assert b"=?" not in submission.content


@pytest.mark.parametrize("subject", ["a" + " " * 1900 + "b", "a" * 50 + " " * 990 + "b c"])
def test_a_subject_with_a_gap_arrives_as_it_is(subject):
    submission = decode(given(subject=subject))
    assert isinstance(submission, Submission)
    assert message_from_bytes(submission.content, policy=SMTP)["Subject"] == subject


@pytest.mark.parametrize("value", ["a" + " " * 2000 + "b", "a" + " " * 500 + "b" * 500])
def test_a_header_with_a_gap_that_no_line_can_hold_is_refused(value):
    assert faults(given(headers={"X-A": value})) == {("/headers/X-A", "too_long")}


def test_a_header_with_a_gap_that_a_line_can_hold_is_taken():
    submission = decode(given(headers={"X-A": "a" + " " * 890 + "b"}))
    assert isinstance(submission, Submission)


def test_the_end_of_time_can_be_told():
    receipt = Receipt("id", "<id@x.kr>", Status.SCHEDULED, 253402732799.0, ("kim@x.kr",))
    assert json.loads(render_receipt(receipt))["created_at"] == "9999-12-31T23:59:59Z"


def test_a_request_is_not_echoed_by_its_fault():
    assert faults(given(**{"가" * LONGEST_POINTER: 1})) == {("", "unknown_field")}
    assert faults(given(headers={"X" * LONGEST_POINTER: "1"})) == {("/headers", "too_long")}


def test_a_header_has_a_limit():
    mail = b"From: dev@x.kr\r\n" + b"a:\r\n" * (MAX_HEADER_OCTETS // 4) + b"\r\n"
    refusal = decode_rfc822(mail, mail_from=["a@x.kr"], rcpt_to=["b@x.kr"], idempotency_key=None, max_recipients=5)
    assert isinstance(refusal, Refusal)
    assert ("/headers", "too_long") in {(fault.pointer, fault.code.value) for fault in refusal.faults}


def test_commas_of_a_text_are_not_values():
    assert isinstance(decode(given(text='가,\\",나,' * MOST_VALUES)), Submission)


@pytest.mark.parametrize("item", ["1", "[]", "{}", '""', '{"email":1}'])
def test_a_body_of_very_many_values_is_refused_before_it_is_built(item):
    body = b'{"from":"dev@x.kr","text":"x","to":[%b]}' % ",".join([item] * (3 * MOST_VALUES)).encode()
    assert faults(body) == {("", "too_many")}


HOSTILE = {
    "combining marks in an address": given(to={"email": "a" + "\u0315\u0300" * MANY + "@x.kr"}),
    "combining marks in a name": given(to={"email": "a@x.kr", "name": "a" + "\u0315\u0300" * MANY}),
    "combining marks in the envelope": given(envelope={"mail_from": "a" + "\u0315\u0300" * MANY + "@x.kr"}),
    "encoded words in an address": given(to="=?utf-8?q?a?=" * MANY),
    "encoded words in a subject": given(subject="=?utf-8?q?a?=" * MANY),
    "encoded words in a content id": given(
        attachments=[{"filename": "a", "content": "", "content_id": "=?utf-8?q?a?=" * MANY}]
    ),
    "encoded words without an end in a header": given(headers={"X-A": "=?a?q? " * MANY}),
    "an unclosed quote": b'{"from":1,"' + b'\\",' * MANY,
}


@pytest.mark.parametrize("title", HOSTILE)
def test_time_does_not_grow_by_the_square_of_the_length(title):
    before = process_time()
    assert isinstance(decode(HOSTILE[title]), Refusal)
    assert process_time() - before < 2


def test_encoded_words_without_an_end_take_no_long_look():
    before = process_time()
    assert not holds_control("=?a?q? " * MANY)
    assert process_time() - before < 2


def test_names_of_charsets_are_not_kept():
    before = len(codec_cache)
    assert isinstance(decode(given(subject="".join(f"=?x-none-{n}?q?a?=" for n in range(50)))), Submission)
    assert len(codec_cache) == before

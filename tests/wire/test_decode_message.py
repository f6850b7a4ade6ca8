"""From a JSON body to a submission, or to everything that is wrong with it."""

import json
from email import message_from_bytes
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from mailgate.model.address import Address
from mailgate.model.refusal import FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Envelope, Recipient, Submission
from mailgate.wire.faults import MOST_FAULTS
from mailgate.wire.json import decode_message
from mailgate.wire.json.schema import AttachmentObject, EnvelopeObject, MailboxObject, MessageRequest

NOW = 1796083200.0  # 2026-12-01T00:00:00Z
SMALL = {"from": "dev@x.kr", "to": "kim@x.kr", "text": "안녕"}


def decode(request, max_recipients: int = 5, key: str | None = None) -> Submission | Refusal:
    body = request if isinstance(request, bytes) else json.dumps(request).encode()
    return decode_message(body, idempotency_key=key, now=NOW, max_recipients=max_recipients)


def taken(request, key: str | None = "key-1") -> Submission:
    submission = decode(request, key=key)
    assert isinstance(submission, Submission), submission
    return submission


def faults(request) -> set[tuple[str, str]]:
    refusal = decode(request)
    assert isinstance(refusal, Refusal), refusal
    assert refusal.code is RefusalCode.VALIDATION_FAILED
    assert all(fault.detail for fault in refusal.faults)
    found = [(fault.pointer, fault.code.value) for fault in refusal.faults]
    assert len(found) == len(set(found))
    return set(found)


def attached(**changes) -> dict:
    return SMALL | {"attachments": [{"filename": "a.txt", "content": "aGVsbG8="} | changes]}


def test_a_whole_message():
    submission = taken(
        {
            "from": {"email": "dev@한국.kr", "name": "장치 7"},
            "to": ["Kim <kim@x.kr>", {"email": "lee@x.kr"}],
            "cc": "박 <park@x.kr>",
            "bcc": ["secret@x.kr", "kim@X.KR"],
            "reply_to": [{"email": "answers@x.kr", "name": "답장"}],
            "subject": "보고",
            "text": "글\n",
            "html": "<p>글</p>\n",
            "headers": {"X-Device": "7"},
            "attachments": [
                {
                    "filename": "로고.png",
                    "content": "aGVsbG8=",
                    "content_type": "image/png",
                    "content_id": "<logo>",
                },
                {"filename": "b.txt", "content": "", "content_type": 'text/plain; charset="utf-8"; x=y'},
                {"filename": "c", "content": "aGVs\r\nbG8=\n", "content_id": "c", "disposition": "attachment"},
            ],
            "metadata": {"주문": "42"},
            "scheduled_at": "2026-12-01T09:00:01+09:00",
            "expires_at": "2026-12-01T00:00:02.5Z",
            "dry_run": True,
        }
    )
    author = Address("dev", "xn--3e0b707e.kr")
    assert submission.authors == (author,)
    assert submission.envelope == Envelope(
        author,
        (
            Recipient(Address("kim", "x.kr"), "/to/0"),
            Recipient(Address("lee", "x.kr"), "/to/1"),
            Recipient(Address("park", "x.kr"), "/cc"),
            Recipient(Address("secret", "x.kr"), "/bcc/0"),
        ),
    )
    assert submission.idempotency_key == "key-1"
    assert submission.metadata == {"주문": "42"}
    assert (submission.scheduled_at, submission.expires_at) == (NOW + 1, NOW + 2.5)
    assert submission.dry_run
    assert (submission.message_id, submission.has_date, submission.eight_bit) == (None, False, False)
    assert b"secret" not in submission.content
    message = message_from_bytes(submission.content, policy=SMTP)
    assert (message["Subject"], message["X-Device"]) == ("보고", "7")
    assert message["From"].addresses[0].display_name == "장치 7"
    assert message["Reply-To"].addresses[0].display_name == "답장"
    files = [part for part in message.walk() if part.get_filename()]
    assert [(each.get_filename(), each.get_content_disposition()) for each in files] == [
        ("로고.png", "inline"),
        ("b.txt", "attachment"),
        ("c", "attachment"),
    ]
    assert [each.get_payload(decode=True) for each in files] == [b"hello", b"", b"hello"]


def test_the_envelope_may_differ_from_the_header():
    envelope = {"mail_from": "bounce@한국.kr", "rcpt_to": ["a@x.kr", "b@x.kr", "a@x.kr"]}
    submission = taken(SMALL | {"envelope": envelope})
    assert submission.envelope == Envelope(
        Address("bounce", "xn--3e0b707e.kr"),
        (
            Recipient(Address("a", "x.kr"), "/envelope/rcpt_to/0"),
            Recipient(Address("b", "x.kr"), "/envelope/rcpt_to/1"),
        ),
        "/envelope/mail_from",
    )
    assert submission.authors == (Address("dev", "x.kr"),)
    assert taken({"from": "dev@x.kr", "text": "", "envelope": {"rcpt_to": ["a@x.kr"]}})
    assert taken(SMALL | {"envelope": {}}).envelope.recipients[0].source == "/to"


def test_null_is_the_same_as_left_out():
    optional = {field.name for field in structs.fields(MessageRequest)} - {"from_", "to", "text", "dry_run"}
    assert taken(SMALL | dict.fromkeys(optional)).content == taken(SMALL).content
    assert taken(SMALL | {"from": {"email": "dev@x.kr", "name": None}}).content == taken(SMALL).content


def test_equal_requests_have_equal_fingerprints_however_they_are_written():
    spread = json.dumps(SMALL, indent=4, ensure_ascii=False).encode()
    assert taken(spread).fingerprint == taken(SMALL).fingerprint
    loose, strict = (taken(attached(content=content)) for content in ("aGVsbG9=", "aGVsbG8="))
    assert loose.fingerprint == strict.fingerprint
    assert taken(SMALL | {"text": "다른"}).fingerprint != taken(SMALL).fingerprint


def test_a_local_part_beyond_ascii_needs_smtputf8():
    submission = taken(SMALL | {"reply_to": "김철수@x.kr"})
    assert submission.eight_bit
    assert submission.needs_smtputf8
    assert not taken(SMALL).needs_smtputf8


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"from": 1} x', "not JSON"),
        (b'{"text": NaN}', "not JSON"),
        (b'{"text": "\\ud800"}', "not JSON"),
        (b'{"text": "a\nb"}', "not JSON"),
        (b'{"text": "\xff"}', "not UTF-8"),
        (b'{"x": "\xff"}', "not UTF-8"),
        ("안녕".encode("utf-16"), "not JSON"),
        (b"[" * 100_000, "nested"),
        (b'{"a":' * 100_000, "nested"),
        (b'{"metadata": {"a": ' + b"[" * 100_000, "nested"),
        (b'{"from":"a@x.kr","to":"b@x.kr","text":"","text":""}', "two members"),
        (b'{"from":"a@x.kr","to":"b@x.kr","text":"","te\\u0078t":""}', "two members"),
        (b'{"from":{"email":"a@x.kr","email" : "b@x.kr"},"to":"b@x.kr","text":""}', "two members"),
        (b'{"from":"a@x.kr","to":"b@x.kr","text":"","headers":{"X":"1","X":"2"}}', "two members"),
        (b'{"from":"a@x.kr","to":"b@x.kr","text":"","metadata":{"\\\\":"1","\\\\":"2"}}', "two members"),
        (b'{"from":1,"from":2}', "two members"),
    ],
)
def test_what_is_no_json_is_told_as_such(body, reason):
    refusal = decode(body)
    assert isinstance(refusal, Refusal)
    assert refusal.code is RefusalCode.INVALID_JSON
    assert reason in refusal.detail


def test_json_within_text_and_defaults_spelled_out_are_no_duplicates():
    every = SMALL | {"text": '{"a":1,"a":2}', "dry_run": False, "cc": None, "subject": ": :"}
    assert taken(every)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"from": None}, {("/from", "wrong_type")}),
        ({"from": ["a@x.kr"]}, {("/from", "wrong_type")}),
        ({"from": ""}, {("/from", "invalid_address")}),
        ({"from": {}}, {("/from/email", "required")}),
        ({"from": {"email": "x", "name": "a\nb"}}, {
            ("/from/email", "invalid_address"), ("/from/name", "control_character"),
        }),
        ({"from": {"email": "a@x.kr", "name": "가" * 321}}, {("/from/name", "too_long")}),
        ({"from": "Kim\r\nBcc: x <a@x.kr>"}, {("/from", "control_character")}),
        ({"from": "=?utf-8?b?DQo=?= <a@x.kr>"}, {("/from", "control_character")}),
        ({"to": []}, {("/to", "required")}),
        ({"to": None}, {("/to", "required")}),
        ({"to": 5}, {("/to", "wrong_type")}),
        ({"to": ["a@x.kr", "bad", 5, None, {"mail": "a@x.kr"}]}, {
            ("/to/1", "invalid_address"), ("/to/2", "wrong_type"), ("/to/3", "wrong_type"),
            ("/to/4/mail", "unknown_field"), ("/to/4/email", "required"),
        }),
        ({"to": ["bad"]}, {("/to/0", "invalid_address")}),
        ({"to": ["a@[192.0.2.1]"]}, {("/to/0", "invalid_address")}),
        ({"to": [f"a{n}@x.kr" for n in range(6)]}, {("/to", "too_many")}),
        ({"cc": [f"a{n}@x.kr" for n in range(5)], "bcc": "a@x.kr"}, {("/cc", "too_many")}),
        ({"cc": [f"a{n}@x.kr" for n in range(4)], "bcc": ["a@x.kr", "bad"]}, {("/bcc", "too_many")}),
        ({"reply_to": [f"a{n}@x.kr" for n in range(6)]}, {("/reply_to", "too_many")}),
        ({"reply_to": {"email": 5}}, {("/reply_to/email", "wrong_type")}),
        ({"text": None}, {("/text", "required")}),
        ({"text": 5}, {("/text", "wrong_type")}),
        ({"text": "a\0b", "html": "\0"}, {("/text", "control_character"), ("/html", "control_character")}),
        ({"subject": "a\r\nBcc: b@x.kr"}, {("/subject", "control_character")}),
        ({"subject": "a\u2028b"}, {("/subject", "control_character")}),
        ({"subject": "=?iso-8859-1?Q?a=0D=0AX?="}, {("/subject", "control_character")}),
        ({"subject": "=?utf-8?B?DQo?="}, {("/subject", "control_character")}),
        ({"subject": "=?utf-16*ko?b?DQAKAA==?="}, {("/subject", "control_character")}),
        ({"subject": "=?utf-8?q?=E2=80=A8?="}, {("/subject", "control_character")}),
        ({"subject": "=?no-such?q?=0D?="}, {("/subject", "control_character")}),
        ({"subject": "=?IBM037?q?a%b?="}, {("/subject", "control_character")}),
        ({"subject": "x" * 2001}, {("/subject", "too_long")}),
        ({"headers": {"X-A": 5, "X-B": None}}, {("/headers/X-A", "wrong_type"), ("/headers/X-B", "wrong_type")}),
        ({"headers": []}, {("/headers", "wrong_type")}),
        ({"headers": {"X/~": "\0", "": "x"}}, {
            ("/headers/X~1~0", "control_character"), ("/headers/", "invalid_header"),
        }),
        ({"headers": {"X A": "1", "X:": "1", "한": "1", "X\r\nY": "1"}}, {
            ("/headers/X A", "invalid_header"), ("/headers/X:", "invalid_header"),
            ("/headers/한", "invalid_header"), ("/headers/X\r\nY", "invalid_header"),
        }),
        ({"headers": {"X-A": "1", "x-a": "2"}}, {("/headers/x-a", "invalid_header")}),
        ({"subject": "a", "headers": {"Subject": "b"}}, {("/headers/Subject", "invalid_header")}),
        ({"headers": {"X" * 77: "1"}}, {("/headers/" + "X" * 77, "too_long")}),
        ({"headers": {"X": "y" * 901}}, {("/headers/X", "too_long")}),
        ({"headers": {f"X-{n}": "1" for n in range(101)}}, {("/headers/X-100", "too_many")}),
        ({"headers": {f"X-{n}": "y " * 20000 for n in range(3)}}, {("/headers/X-1", "too_long")}),
        ({"attachments": 5}, {("/attachments", "wrong_type")}),
        ({"attachments": [5, {"filename": "", "content": "?"}]}, {
            ("/attachments/0", "wrong_type"), ("/attachments/1/filename", "required"),
            ("/attachments/1/content", "invalid_base64"),
        }),
        ({"attachments": [{"filename": "a", "content": ""}] * 101}, {("/attachments", "too_many")}),
        ({"metadata": {"a": 5}}, {("/metadata/a", "wrong_type")}),
        ({"metadata": {str(n): "" for n in range(51)}}, {("/metadata", "too_many")}),
        ({"metadata": {"k" * 65: "", "b": "v" * 1025, "": "x", "c": "\0"}}, {
            ("/metadata/" + "k" * 65, "too_long"), ("/metadata/b", "too_long"),
            ("/metadata/", "required"), ("/metadata/c", "control_character"),
        }),
        ({"scheduled_at": "2026-11-30T23:59:59Z"}, {("/scheduled_at", "in_the_past")}),
        ({"scheduled_at": "2026-12-02T00:00:00"}, {("/scheduled_at", "wrong_type")}),
        ({"scheduled_at": "tomorrow", "expires_at": 5}, {
            ("/scheduled_at", "wrong_type"), ("/expires_at", "wrong_type"),
        }),
        ({"expires_at": "2026-12-01T09:00:00+09:00"}, {("/expires_at", "in_the_past")}),
        ({"scheduled_at": "2026-12-03T00:00:00Z", "expires_at": "2026-12-02T00:00:00Z"}, {
            ("/expires_at", "in_the_past"),
        }),
        ({"envelope": []}, {("/envelope", "wrong_type")}),
        ({"envelope": {"from": "a@x.kr"}}, {("/envelope/from", "unknown_field")}),
        ({"envelope": {"mail_from": "", "rcpt_to": ["x", "Kim <a@x.kr>", "a@x.kr\0"]}}, {
            ("/envelope/mail_from", "invalid_address"), ("/envelope/rcpt_to/0", "invalid_address"),
            ("/envelope/rcpt_to/1", "invalid_address"), ("/envelope/rcpt_to/2", "control_character"),
        }),
        ({"envelope": {"rcpt_to": []}}, {("/envelope/rcpt_to", "required")}),
        ({"envelope": {"rcpt_to": ["a@x.kr"] * 6}}, {("/envelope/rcpt_to", "too_many")}),
        ({"expires_at": "2026-12-02T00:00:00Z", "dry_run": "yes"}, {("/dry_run", "wrong_type")}),
        ({"dryrun": True}, {("/dryrun", "unknown_field")}),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_place(changes, found):
    assert faults(SMALL | changes) == found


PAST = {"scheduled_at": "2026-11-30T23:59:58Z", "expires_at": "2026-11-30T23:59:59Z"}


def test_whether_a_request_with_a_key_is_late_or_a_repeat_is_not_seen_from_its_body():
    assert taken(SMALL | PAST).scheduled_at == NOW - 2


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"dry_run": True}, {("/scheduled_at", "in_the_past"), ("/expires_at", "in_the_past")}),
        (
            {"to": "kim"},
            {("/to", "invalid_address"), ("/scheduled_at", "in_the_past"), ("/expires_at", "in_the_past")},
        ),
        ({"expires_at": PAST["scheduled_at"]}, {("/expires_at", "in_the_past")}),
    ],
)
def test_one_with_a_key_that_repeats_nothing_is_told_that_its_time_has_passed(changes, found):
    refusal = decode(SMALL | PAST | changes, key="key-1")
    assert {(fault.pointer, fault.code.value) for fault in refusal.faults} == found


@pytest.mark.parametrize(
    "name",
    [
        *("From", "Sender", "To", "Cc", "Bcc", "Reply-To", "Date", "Message-ID", "Received", "Return-Path"),
        *("MIME-Version", "Content-Type", "content-x", "DKIM-Signature", "ARC-Seal", "dAtE"),
    ],
)
def test_the_gateways_own_headers_are_refused(name):
    assert faults(SMALL | {"headers": {name: "x"}}) == {(f"/headers/{name}", "invalid_header")}


@pytest.mark.parametrize(
    "value",
    ["=?utf-8?b?7ZWc?=", "=?utf-8?q?=ED=95?=", "=?x?b?!?=", "=?no-such?q?a?=", "=?rot13?q?a?=", "=?utf-8?b?A?="],
)
def test_harmless_encoded_words_pass(value):
    assert taken(SMALL | {"headers": {"X-A": value}, "subject": value})


def test_a_subject_may_stand_among_the_headers():
    content = taken(SMALL | {"headers": {"Subject": "제목"}}).content
    assert message_from_bytes(content, policy=SMTP).get_all("Subject") == ["제목"]


@pytest.mark.parametrize(
    "content",
    ["a", "aG", "aGVsbG8", "aGVs=", "=aGV", "a=Vs", "aG=s", "aGVs bG8=", "aGVsbG8-", "안녕==", "====", "a==="],
)
def test_what_is_no_base64_is_refused(content):
    assert faults(attached(content=content)) == {("/attachments/0/content", "invalid_base64")}


@pytest.mark.parametrize(
    ("changes", "place", "code"),
    [
        ({"filename": "a\r\nb"}, "filename", "control_character"),
        ({"filename": "가" * 86}, "filename", "too_long"),
        ({"content_type": "png"}, "content_type", "invalid_header"),
        ({"content_type": "image/png; x"}, "content_type", "invalid_header"),
        ({"content_type": "image/png\r\nX: y"}, "content_type", "control_character"),
        ({"content_type": "image/" + "x" * 200}, "content_type", "too_long"),
        ({"content_type": "multipart/mixed; boundary=x"}, "content_type", "invalid_header"),
        ({"content_type": "이미지/png"}, "content_type", "invalid_header"),
        ({"content_id": ""}, "content_id", "invalid_header"),
        ({"content_id": "a b"}, "content_id", "invalid_header"),
        ({"content_id": "a>\n"}, "content_id", "control_character"),
        ({"content_id": "x" * 201}, "content_id", "too_long"),
        ({"disposition": "form-data"}, "disposition", "wrong_type"),
        ({"disposition": 5}, "disposition", "wrong_type"),
        ({"size": 5}, "size", "unknown_field"),
    ],
)
def test_an_attachment_can_be_faulty(changes, place, code):
    assert faults(attached(**changes)) == {(f"/attachments/0/{place}", code)}


@pytest.mark.parametrize("body", [b"[]", b"null", b'"text"', b"5"])
def test_a_message_is_an_object(body):
    assert faults(body) == {("", "wrong_type")}


def test_an_empty_object_lacks_everything():
    assert faults({}) == {("/from", "required"), ("/to", "required"), ("/text", "required")}


def test_one_fault_speaks_for_itself_and_many_are_counted():
    one = decode(SMALL | {"to": "bad"})
    assert isinstance(one, Refusal)
    assert one.detail == one.faults[0].detail
    many = decode({f"field{n}": 1 for n in range(500)})
    assert isinstance(many, Refusal)
    assert len(many.faults) == MOST_FAULTS
    assert str(MOST_FAULTS) in many.detail


KINDS = (MessageRequest, MailboxObject, AttachmentObject, EnvelopeObject)

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(
    sorted(
        {field.encode_name for kind in KINDS for field in structs.fields(kind)} | {"x"},
    )
)
requests = st.dictionaries(
    names,
    values | st.dictionaries(names, values, max_size=4) | st.lists(st.dictionaries(names, values), max_size=2),
)


@given(requests, st.booleans())
def test_any_json_is_a_submission_or_told_faults(request, with_sound_parts):
    outcome = decode((SMALL if with_sound_parts else {}) | request)
    if isinstance(outcome, Refusal):
        assert outcome.code in {RefusalCode.VALIDATION_FAILED, RefusalCode.INVALID_JSON}
        assert outcome.faults or outcome.code is RefusalCode.INVALID_JSON
        assert all(isinstance(fault.code, FaultCode) for fault in outcome.faults)


@given(st.binary(max_size=100))
def test_any_octets_are_answered(body):
    assert isinstance(decode(body), Refusal)


def test_a_byte_order_mark_is_passed_over():
    assert taken(b"\xef\xbb\xbf" + json.dumps(SMALL).encode()) == taken(SMALL)

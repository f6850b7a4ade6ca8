"""What a device is told, and how each refusal is told to it."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.wire.lines import Reply, greeting, refused
from mailgate.wire.lines.replies import MAX_REPLY

FINAL = re.compile(rb"[2-5][0-9]{2} [245]\.[0-9]\.[0-9] ([A-Za-z0-9._:-]{1,64}) [ -~]+\n")
DETAIL = re.compile(rb"[2-5][0-9]{2}-[245]\.[0-9]\.[0-9] [ -~]+\n")


def test_a_final_reply_has_a_key_or_a_dash():
    assert Reply(250, "2.0.0", "id=7", key="b7-12").encode() == b"250 2.0.0 b7-12 id=7\n"
    assert Reply(221, "2.0.0", "bye").encode() == b"221 2.0.0 - bye\n"


def test_details_go_before_it():
    reply = refused(
        Refusal(
            RefusalCode.SENDER_NOT_ALLOWED,
            "…",
            (
                Fault("/from", FaultCode.NOT_IN_POLICY, "…", "root@plant.example"),
                Fault("/to", FaultCode.NOT_IN_POLICY, "…", "김@xn--3e0b707e.kr"),
                Fault("/cc/2", FaultCode.NOT_IN_POLICY, "…", "a@x.kr"),
                Fault("/headers/From", FaultCode.NOT_IN_POLICY, "…", "b@x.kr"),
                Fault("/envelope/rcpt_to/0", FaultCode.NOT_IN_POLICY, "…", "c@x.kr"),
                Fault("", FaultCode.TOO_LONG, "the composed message has 9 octets; the limit is 8"),
            ),
        )
    )
    assert reply.of("b7-17").encode().decode().split("\n") == [
        "550-5.7.1 FROM root@plant.example not allowed",
        "550-5.7.1 TO \\x{AE40}@xn--3e0b707e.kr not allowed",
        "550-5.7.1 CC a@x.kr not allowed",
        "550-5.7.1 FROM b@x.kr not allowed",
        "550-5.7.1 #/envelope/rcpt_to/0 c@x.kr not allowed",
        "550-5.7.1 the composed message has 9 octets; the limit is 8",
        "550 5.7.1 b7-17 sender not allowed for this client",
        "",
    ]


@pytest.mark.parametrize(
    ("code", "reply"),
    [
        (RefusalCode.RATE_LIMITED, "450 4.7.0 - retry=10 why"),
        (RefusalCode.QUOTA_EXCEEDED, "450 4.7.0 - retry=10 why"),
        (RefusalCode.IDEMPOTENCY_IN_PROGRESS, "450 4.2.0 - retry=10 why"),
        (RefusalCode.STORAGE_UNAVAILABLE, "451 4.3.0 - retry=10 why"),
        (RefusalCode.QUEUE_FULL, "452 4.3.1 - retry=10 why"),
        (RefusalCode.DISK_LOW, "452 4.3.1 - retry=10 why"),
        (RefusalCode.DRAINING, "421 4.3.2 - retry=10 why"),
        (RefusalCode.CLIENT_UNKNOWN, "535 5.7.8 - unknown client"),
        (RefusalCode.CERTIFICATE_REVOKED, "535 5.7.8 - certificate revoked"),
        (RefusalCode.CLIENT_DISABLED, "535 5.7.8 - client disabled"),
        (RefusalCode.DOOR_NOT_ALLOWED, "535 5.7.8 - this client may not use this door"),
        (RefusalCode.IDEMPOTENCY_KEY_REUSED, "555 5.5.6 - key already used for other content; nothing sent"),
        (RefusalCode.INVALID_JSON, "554 5.6.0 - why"),
        (RefusalCode.MESSAGE_TOO_LARGE, "554 5.6.0 - why"),
    ],
)
def test_a_refusal_without_faults(code, reply):
    assert refused(Refusal(code, "why")).encode().decode() == reply + "\n"
    assert refused(Refusal(code, "why")).reason == code.value


def test_a_size_is_told_with_its_limit_and_a_wait_in_whole_seconds():
    too_large = refused(Refusal(RefusalCode.MESSAGE_TOO_LARGE, "…", limit=10, actual=11))
    assert too_large.encode() == b"552 5.3.4 - too large: 11 octets, limit 10\n"
    for wait, told in ((0.2, 1), (1.0, 1), (1.1, 2)):
        assert (
            f"retry={told} ".encode() in refused(Refusal(RefusalCode.RATE_LIMITED, "x", retry_after=wait)).encode()
        )


@pytest.mark.parametrize(
    ("pointer", "code", "reply"),
    [
        ("/to", FaultCode.TOO_MANY, "550 5.5.3"),
        ("/cc/3", FaultCode.TOO_MANY, "550 5.5.3"),
        ("/envelope/rcpt_to", FaultCode.TOO_MANY, "550 5.5.3"),
        ("/metadata", FaultCode.TOO_MANY, "554 5.6.0"),
        ("/from", FaultCode.REQUIRED, "503 5.5.1"),
        ("/to", FaultCode.REQUIRED, "503 5.5.1"),
        ("/attachments/0/filename", FaultCode.REQUIRED, "501 5.5.4"),
        ("/from", FaultCode.INVALID_ADDRESS, "501 5.5.4"),
        ("/headers/From", FaultCode.INVALID_ADDRESS, "554 5.6.0"),
        ("/headers/From", FaultCode.REQUIRED, "554 5.6.0"),
        ("/scheduled_at", FaultCode.IN_THE_PAST, "501 5.5.4"),
        ("/subject", FaultCode.TOO_LONG, "501 5.5.4"),
        ("/headers", FaultCode.TOO_LONG, "554 5.6.0"),
        ("", FaultCode.TOO_LONG, "554 5.6.0"),
        ("/text", FaultCode.CONTROL_CHARACTER, "554 5.6.0"),
        ("/headers/Date", FaultCode.INVALID_HEADER, "554 5.6.0"),
        ("/attachments/0/content", FaultCode.INVALID_BASE64, "554 5.6.0"),
        ("/x", FaultCode.UNKNOWN_FIELD, "554 5.6.0"),
        ("", FaultCode.WRONG_TYPE, "554 5.6.0"),
    ],
)
def test_a_single_fault_is_the_reply_itself(pointer, code, reply):
    refusal = Refusal(RefusalCode.VALIDATION_FAILED, "why", (Fault(pointer, code, "why"),))
    said = refused(refusal).encode().decode()
    assert said.startswith(f"{reply} - ")
    assert said.endswith("why\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("pointer", "place"),
    [
        ("/to", "TO: "),
        ("/to/0", "TO 1: "),
        ("/reply_to/11", "REPLY 12: "),
        ("/headers", "HDR: "),
        ("/headers/X-Plant", "HDR X-Plant: "),
        ("/headers/From", "FROM: "),
        ("/metadata/plant", "META plant: "),
        ("/metadata/" + "p" * 65, "META: "),
        ("/subject", "SUBJ: "),
        ("/scheduled_at", "AT: "),
        ("/attachments/0/filename", "#/attachments/0/filename: "),
        ("", ""),
    ],
)
def test_a_fault_is_told_with_its_place_in_the_words_of_the_protocol(pointer, place):
    refusal = Refusal(RefusalCode.VALIDATION_FAILED, "why", (Fault(pointer, FaultCode.TOO_LONG, "why"),))
    assert refused(refusal).text == f"{place}why"


def test_several_faults_are_told_with_their_places_and_the_first_decides():
    faults = (Fault("/to", FaultCode.REQUIRED, "no recipient"), Fault("/x", FaultCode.UNKNOWN_FIELD, "no such"))
    assert refused(Refusal(RefusalCode.VALIDATION_FAILED, "2 things", faults)).encode() == (
        b"503-5.5.1 TO: no recipient\n503-5.5.1 #/x: no such\n503 5.5.1 - 2 things\n"
    )


def test_a_shutdown_and_an_unknown_client_close():
    closing = [code for code in RefusalCode if refused(Refusal(code, "x")).closes]
    assert closing == [
        RefusalCode.CLIENT_UNKNOWN,
        RefusalCode.CLIENT_DISABLED,
        RefusalCode.CERTIFICATE_REVOKED,
        RefusalCode.DOOR_NOT_ALLOWED,
        RefusalCode.DRAINING,
    ]


@given(
    st.sampled_from(RefusalCode),
    st.text(min_size=1, max_size=400),
    st.text(max_size=400),
    st.sampled_from(FaultCode),
)
def test_each_line_fits_a_small_buffer_and_is_printable(code, detail, other, fault_code):
    faults = (Fault("/to/0", fault_code, other, other), Fault("/x/" + other, fault_code, detail))
    *details, final = refused(Refusal(code, detail, faults)).of("k" * 64).encode().splitlines(keepends=True)
    assert FINAL.fullmatch(final)
    assert all(DETAIL.fullmatch(line) for line in details)
    assert max(map(len, [final, *details])) <= MAX_REPLY


def test_the_greeting():
    line = greeting("gw.example", "cam3", size=26214400, time=1767225600.9, days=364)
    assert line == b"220 mailgate/1 gw.example id=cam3 size=26214400 time=1767225600 expires=364\n"
    assert b" id=%EC%9E%A5%EC%B9%98-7%20b " in greeting("g", "장치-7 b", size=1, time=0, days=-1)


@given(st.text(max_size=300), st.integers(1, 300))
def test_the_greeting_fits_and_keeps_its_form_whatever_the_names(client, length):
    line = greeting("h" * length, client, size=1024**4, time=4e9, days=36500)
    assert re.fullmatch(
        rb"220 mailgate/1 h+ id=(?:%[0-9A-F]{2}|[!-$&-~])* size=1099511627776 time=4000000000 expires=36500\n",
        line,
    )
    assert len(line) <= MAX_REPLY

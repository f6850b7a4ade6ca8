"""A notice of non-delivery comes out of the standard library's parser again, whatever it has to quote."""

import re
from email import message_from_bytes, message_from_string
from email.header import decode_header
from email.message import EmailMessage, Message
from email.policy import SMTP, compat32
from encodings import _cache as codec_cache

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.model.address import Address, Mailbox
from mailgate.model.outcome import Reply, Status
from mailgate.model.submission import check_content
from mailgate.wire.headers import decoded
from mailgate.wire.mime import Draft, Undelivered, UndeliveredRecipient, compose, compose_report
from mailgate.wire.mime.report import MAX_HEADER_OCTETS
from mailgate.wire.mime.status import MAX_TEXT
from mailgate.wire.smtp.replies import printable

OPS = Address("ops", "x.kr")
KOREAN = Address("운영", "x.kr")
NEVER = Reply(550, "5.1.1", "no such user", "smtp.internal")
LATER = Reply(451, "4.3.0", "나중에 다시", "smtp.internal")
ONE = "kim@y.kr"
GROUP = [
    "Final-Recipient",
    "Action",
    "Status",
    "Remote-MTA",
    "Diagnostic-Code",
    "Last-Attempt-Date",
]


def letter(subject: str = "3번 구역의 온도 경고", **fields: object) -> bytes:
    author = Mailbox(Address("sensor-7", "x.kr"), "온도 센서 7")
    return compose(
        Draft(author=author, to=[Mailbox(Address("kim", "y.kr"))], subject=subject, text="비밀", **fields)
    )


def undelivered(*recipients: UndeliveredRecipient, **changes: object) -> Undelivered:
    values: dict[str, object] = {
        "id": "019ab000-0000-7000-8000-000000000001",
        "message_id": "<019ab@gate.x.kr>",
        "client": "장치-7",
        "sender": "sensor-7@x.kr",
        "accepted_at": 1796083200.0,
        "ended_at": 1796083260.0,
        "attempts": 3,
        "uncertain": False,
        "recipients": recipients or (UndeliveredRecipient(ONE, Status.FAILED, NEVER),),
        "content": letter(),
    }
    return Undelivered(**(values | changes))


def report(about: Undelivered, to: Address = OPS) -> bytes:
    content = compose_report(about, to=to, hostname="gate.x.kr", message_id="<n@gate.x.kr>")
    check_content(content)
    return content


def parts(content: bytes) -> tuple[Message, Message, Message]:
    """Return the text, the status and the header of a notice, and nothing but these three."""
    message = message_from_bytes(content, policy=compat32)
    assert message.get_content_type() == "multipart/report"
    assert message.get_param("report-type") == "delivery-status"
    assert not message.defects
    text, status, header = message.get_payload()
    return text, status, header


def text_of(content: bytes) -> str:
    return parts(content)[0].get_payload(decode=True).decode()


def groups(content: bytes) -> list[Message]:
    """Return the fields about the message, and those about each recipient."""
    status = parts(content)[1]
    if status.get_content_type() == "message/delivery-status":
        return status.get_payload()
    octets = content.partition(b"message/global-delivery-status\r\n")[2].partition(b"\r\n\r\n")[2]
    return [
        message_from_string(each.decode()) for each in octets.partition(b"\r\n--=_")[0].split(b"\r\n\r\n") if each
    ]


def unfolded(value: str) -> str:
    """Return a field's value as its reader sees it."""
    value = re.sub(r"\r?\n(?=[ \t])", "", str(value))
    if "=?" not in value:
        return value
    return "".join(
        piece if isinstance(piece, str) else piece.decode(charset or "ascii")
        for piece, charset in decode_header(value)
    )


def fields(group: Message) -> dict[str, str]:
    return {name: unfolded(value) for name, value in group.items()}


anything = st.text(st.characters(exclude_categories=("Cs",)), max_size=700)
text = st.one_of(
    anything,
    st.text(st.sampled_from("가나 \r\n\t=?:;<>()\\b"), max_size=200),
    st.lists(
        st.sampled_from(
            [
                "\r\n",
                "\r\n\r\n",
                "--=_",
                "Final-Recipient: rfc822; x@y",
                "=?utf-8?q?=0D=0A?=",
                " ",
                "x" * 300,
                "한",
            ]
        )
    ).map("".join),
)
addresses = st.builds(
    lambda local, domain: str(Address(local, domain)),
    st.text(st.sampled_from('abc.!"\\ @<>,+=김😀'), min_size=1, max_size=16),
    st.sampled_from(["x.kr", "xn--3e0b707e.kr", "a" * 60 + "." + "b" * 60 + ".kr"]),
)
replies = st.builds(
    Reply,
    st.integers(400, 599),
    st.one_of(st.just(""), st.from_regex(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}", fullmatch=True)),
    text,
    st.one_of(st.just(""), st.just("smtp.internal"), st.just("10.0.0.5"), st.just("fd00::5"), text),
)
recipients = st.builds(
    UndeliveredRecipient, addresses, st.sampled_from([Status.FAILED, Status.EXPIRED]), st.none() | replies
)
field = st.builds(
    lambda name, lines: name + ": " + "\r\n ".join(lines) + "\r\n",
    st.sampled_from(["Subject", "X-Noise", "From", "--=_0", "Content-Type"]),
    st.lists(
        st.text(
            st.characters(min_codepoint=32, exclude_characters="\x7f\x85", exclude_categories=("Cs", "Zl", "Zp")),
            max_size=200,
        ).map(lambda line: "x" + line),
        min_size=1,
        max_size=3,
    ),
)
contents = st.builds(
    lambda header, body: "".join(header).encode() + body,
    st.lists(field, min_size=1, max_size=6),
    st.sampled_from([b"", b"\r\n", b"\r\nbody\r\n", b"\r\n--=_0--\r\n\r\n"]),
)


@given(st.lists(recipients, min_size=1, max_size=4), contents, text, st.sampled_from([OPS, KOREAN]))
def test_what_others_said_is_quoted_and_makes_no_field_and_no_part(those, content, client, to):
    about = undelivered(*those, content=content, client=client)
    notice = report(about, to)
    _, *each = groups(notice)
    assert len(each) == len(those)
    for recipient, group in zip(those, each, strict=True):
        names = group.keys()
        assert names == [name for name in GROUP if name in names]
        found = fields(group)
        kind, _, address = found["Final-Recipient"].partition("; ")
        if kind == "utf-8" and to is OPS:
            address = re.sub(r"\\x\{([0-9A-F]+)\}", lambda hexpoint: chr(int(hexpoint[1], 16)), address)
        assert address == recipient.address
        assert kind == ("rfc822" if recipient.address.isascii() else "utf-8")
        assert found["Action"] == "failed"
        assert re.fullmatch(r"[45]\.(0|[1-9][0-9]{0,2})\.(0|[1-9][0-9]{0,2})", found["Status"])
        if recipient.reply is None:
            assert len(names) == 3
            continue
        reply = recipient.reply
        shown = printable(reply.text.encode()).strip()
        shown = shown if len(shown) <= MAX_TEXT else shown[: MAX_TEXT - 1] + "…"
        kind, _, diagnostic = found["Diagnostic-Code"].partition("; ")
        told = " ".join(filter(None, [str(reply.code), reply.enhanced, shown]))
        assert diagnostic == told
        assert kind == ("smtp" if reply.host else "X-mailgate")
    header = content.partition(b"\r\n\r\n")[0].removesuffix(b"\r\n") + b"\r\n"
    returned = parts(notice)[2]
    if returned.get_content_type() == "text/rfc822-headers":
        assert returned.get_payload(decode=True) == header
    else:
        assert header in notice


@given(st.lists(recipients, min_size=1, max_size=3), contents)
def test_what_goes_to_an_ascii_address_is_ascii_whatever_it_quotes(those, content):
    assert report(undelivered(*those, content=content)).isascii()


@given(text)
@example("=?utf-8?q?=0D=0ABcc:_x@y?=")
def test_a_subject_is_shown_and_stays_one_line(subject):
    shown = " ".join(subject.split()) or "x"
    header = b"Subject: " + shown.encode()[:900] + b"\r\n\r\n"
    message = message_from_bytes(report(undelivered(content=header)), policy=SMTP)
    assert isinstance(message, EmailMessage)
    assert not message.defects
    assert message.keys() == [
        *("From", "To", "Subject", "Date", "Message-ID", "In-Reply-To", "References", "Auto-Submitted"),
        *("MIME-Version", "Content-Type"),
    ]
    assert str(message["Subject"]).startswith("전달 실패 / Undelivered")


def test_a_person_reads_what_happened_to_what():
    never = UndeliveredRecipient("kim@xn--3e0b707e.kr", Status.FAILED, NEVER)
    late = UndeliveredRecipient("이@y.kr", Status.EXPIRED, LATER)
    content = report(undelivered(never, late))
    message = message_from_bytes(content, policy=SMTP)
    assert message["Subject"] == "전달 실패 / Undelivered: 3번 구역의 온도 경고"
    assert message["From"].addresses[0].addr_spec == "MAILER-DAEMON@gate.x.kr"
    assert message["To"] == "ops@x.kr"
    assert (message["Message-ID"], message["In-Reply-To"]) == ("<n@gate.x.kr>", "<019ab@gate.x.kr>")
    assert message["Auto-Submitted"] == "auto-replied"
    said = text_of(content)
    for words in (
        "다시 시도하지 않습니다",
        "is not tried again",
        "제목 / Subject: 3번 구역의 온도 경고",
        "보낸 사람 / Sender: sensor-7@x.kr",
        "클라이언트 / Client: 장치-7",
        "접수 / Accepted: Tue, 01 Dec 2026 00:00:00 +0000",
        "시도 / Attempts: 3",
        "받는 사람 / Recipient: kim@한국.kr\r\n    거절됨 / refused: smtp.internal: 550 5.1.1 no such user",
        "받는 사람 / Recipient: 이@y.kr\r\n    기한 초과 / not delivered in time: ",
        "in time: smtp.internal: 451 4.3.0 나중에 다시\r\n",
    ):
        assert words in said
    assert "비밀" not in said


def test_a_person_reads_that_it_may_have_arrived():
    late = UndeliveredRecipient("이@y.kr", Status.EXPIRED, LATER)
    content = report(undelivered(late, uncertain=True))
    message = message_from_bytes(content, policy=SMTP)
    assert message["Subject"] == "전달 여부 불명 / Perhaps undelivered: 3번 구역의 온도 경고"
    said = text_of(content)
    assert "may have reached the recipients below" in said
    assert "전달되었을 수도 있습니다" in said
    assert "did not reach" not in said


def test_a_program_reads_the_same():
    late = UndeliveredRecipient("이@y.kr", Status.EXPIRED, LATER)
    whole, one, two = groups(report(undelivered(UndeliveredRecipient(ONE, Status.FAILED, NEVER), late)))
    assert fields(whole) == {
        "Original-Envelope-Id": "019ab000-0000-7000-8000-000000000001",
        "Reporting-MTA": "dns; gate.x.kr",
        "Arrival-Date": "Tue, 01 Dec 2026 00:00:00 +0000",
    }
    assert fields(one) == {
        "Final-Recipient": "rfc822; kim@y.kr",
        "Action": "failed",
        "Status": "5.1.1",
        "Remote-MTA": "dns; smtp.internal",
        "Diagnostic-Code": "smtp; 550 5.1.1 no such user",
        "Last-Attempt-Date": "Tue, 01 Dec 2026 00:01:00 +0000",
    }
    assert fields(two)["Final-Recipient"] == r"utf-8; \x{C774}@y.kr"
    assert fields(two)["Diagnostic-Code"] == "smtp; 451 4.3.0 나중에 다시"


def test_an_address_beyond_ascii_gets_the_eight_bit_form_of_rfc_6533():
    late = UndeliveredRecipient("이@y.kr", Status.EXPIRED, LATER)
    content = report(undelivered(late, content=letter(cc=[Mailbox(Address("박", "y.kr"))])), KOREAN)
    _, status, header = parts(content)
    assert status.get_content_type() == "message/global-delivery-status"
    assert header.get_content_type() == "message/global-headers"
    for words in (
        "Final-Recipient: utf-8; 이@y.kr",
        "smtp; 451 4.3.0 나중에 다시",
        "Cc: 박@y.kr",
        "To: 운영@x.kr",
    ):
        assert f"{words}\r\n" in content.decode()


@pytest.mark.parametrize(
    ("status", "reply", "told"),
    [
        (Status.FAILED, None, "5.0.0"),
        (Status.FAILED, Reply(550, "", "no", "a"), "5.0.0"),
        (Status.FAILED, Reply(550, "5.7.1", "no", "a"), "5.7.1"),
        (Status.FAILED, Reply(550, "5.007.001", "no", "a"), "5.7.1"),
        (Status.EXPIRED, None, "4.4.7"),
        (Status.EXPIRED, Reply(451, "", "later", "a"), "4.4.7"),
        (Status.EXPIRED, Reply(451, "4.3.0", "later", "a"), "4.3.0"),
        (Status.EXPIRED, Reply(554, "5.4.7", "expired"), "4.4.7"),
    ],
)
def test_the_status_is_of_the_class_of_the_outcome(status, reply, told):
    _, group = groups(report(undelivered(UndeliveredRecipient(ONE, status, reply))))
    assert group["Status"] == told


@pytest.mark.parametrize(
    ("host", "told"),
    [
        ("10.0.0.5", "dns; [10.0.0.5]"),
        ("fd00::5", "dns; [fd00::5]"),
        ("fe80::1%\r\nX: y", None),
        ("메일", None),
        ("", None),
    ],
)
def test_a_server_is_named_where_one_spoke(host, told):
    reply = Reply(550, "5.1.1", "no", host)
    _, group = groups(report(undelivered(UndeliveredRecipient(ONE, Status.FAILED, reply))))
    assert group["Remote-MTA"] == told
    assert (group["Last-Attempt-Date"] is None) == (host == "")


def test_the_header_that_goes_back_is_bounded_and_ends_with_a_whole_field():
    field = b"X-Long: " + b"a" * 900 + b"\r\n " + b"b" * 900 + b"\r\n"
    _, _, header = parts(report(undelivered(content=b"Subject: x\r\n" + field * 100 + b"\r\nbody\r\n")))
    returned = header.get_payload(decode=True)
    assert returned == b"Subject: x\r\n" + field * ((MAX_HEADER_OCTETS - 12) // len(field))
    endless = b"X-Long: a\r\n" + b" b\r\n" * MAX_HEADER_OCTETS + b"\r\n"
    assert parts(report(undelivered(content=endless)))[2].get_payload() == ""


def test_a_mail_without_a_body_or_a_subject_is_told_of_too():
    content = report(undelivered(content=b"X-Only: header\r\n"))
    assert message_from_bytes(content, policy=SMTP)["Subject"] == "전달 실패 / Undelivered"
    assert parts(content)[2].get_payload(decode=True) == b"X-Only: header\r\n"
    assert "Subject" not in text_of(content)


@pytest.mark.parametrize("message_id", ["", "no brackets", "<a b>", "<" + "a" * 990 + ">", "<김@x>", "<a>\r\n"])
def test_a_message_id_that_is_none_is_not_referred_to(message_id):
    message = message_from_bytes(report(undelivered(message_id=message_id)), policy=SMTP)
    assert message["In-Reply-To"] is None


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("plain", "plain"),
        ("=?utf-8?b?7ZWc?= =?UTF-8?Q?=EA=B5=AD?= and =?euc-kr?b?x9E=?=", "한국 and 한"),
        ("=?utf-8?b?7Q==?= =?utf-8?b?lZw=?=!", "한!"),
        ("=?ks_c_5601-1987?B?x9GxuQ==?=", "한국"),
        ("=?x-nobody-knows?q?abc?=", "=?x-nobody-knows?q?abc?="),
        ("a =?utf-8?q?b?= c =?utf-8?q?d?=", "a b c d"),
        ("=?hex?q?00?=", ""),
        ("=?utf-8?q?never ended", "=?utf-8?q?never ended"),
    ],
)
def test_encoded_words_are_shown_as_what_they_stand_for(value, shown):
    assert decoded(value) == shown


def test_unknown_charsets_leave_nothing_behind():
    before = len(codec_cache)
    for number in range(20):
        decoded(f"=?x-{number}-{before}?q?abc?=")
    assert len(codec_cache) == before


@given(text)
def test_any_subject_that_is_composed_is_shown_again(subject):
    line = printable(subject.encode()).strip()[:100].strip()
    said = text_of(report(undelivered(content=letter(line))))
    assert (f"제목 / Subject: {line}\r\n" in said) == bool(line)

"""What a client says comes out of the standard library's parser again, whatever it looks like."""

from base64 import b64decode, b64encode
from email import message_from_bytes
from email.header import decode_header, make_header
from email.message import EmailMessage
from email.policy import SMTP, SMTPUTF8
from email.utils import getaddresses

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.model.address import Address, Mailbox
from mailgate.model.submission import check_content
from mailgate.wire.mime import Attachment, Draft, compose, header_fields
from mailgate.wire.mime.bodies import base64_lines

DEVICE = Mailbox(Address("dev", "x.kr"), "장치 7")
KIM = Mailbox(Address("kim", "xn--3e0b707e.kr"), "김철수")

printable = st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp"))
one_line = st.one_of(
    st.text(printable, max_size=300),
    st.text(st.sampled_from('가나 a=?_"\\,;:<>()@.😀\u00e9'), max_size=120),
    st.text(st.sampled_from("abc  "), max_size=400),
)
body = st.one_of(
    st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=400),
    st.lists(
        st.sampled_from(["한국어", "\r", "\n", "\r\n", ".", " ", "\t", "=", "word", "x" * 300, "From ", "--=_"])
    ).map("".join),
)
local_part = st.text(st.sampled_from('abc.!"\\ @<>,김'), min_size=1, max_size=20)


def read(content: bytes, policy=SMTP) -> EmailMessage:
    check_content(content)
    message = message_from_bytes(content, policy=policy)
    assert isinstance(message, EmailMessage)
    assert not any(part.defects for part in message.walk())
    return message


def lines(text: str) -> str:
    """The text with the line ends that mail gives it."""
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    return (text if not text or text.endswith("\n") else text + "\n").replace("\n", "\r\n")


def content_of(part: EmailMessage) -> str:
    return part.get_payload(decode=True).decode()


def attachment(content: bytes, filename: str = "a.bin", **more) -> Attachment:
    return Attachment(filename=filename, content=base64_lines(b64encode(content)), **more)


@given(one_line)
@example("")
@example(" 앞뒤로 빈칸 ")
@example("=?utf-8?b?7ZWc?=")
@example("안녕하세요 " * 60)
@example("a" * 500)
@example("a" + " " * 200 + "b")
@example("word " * 100 + "end")
def test_a_subject_comes_back(subject):
    message = read(compose(Draft(author=DEVICE, to=[KIM], subject=subject, text="본문")))
    assert message["Subject"] == subject


@given(st.lists(one_line.map(str.strip), min_size=1, max_size=5))
@example([("Kim, Lee " * 20).strip()])
@example(["Kim, Lee", 'Say "hi" \\ bye', "J. (Sales) Kim", "=?utf-8?q?x?=", "가" * 300])
def test_names_and_addresses_come_back(names):
    boxes = [Mailbox(Address(f"user{at}", "xn--3e0b707e.kr"), name) for at, name in enumerate(names)]
    content = compose(Draft(author=boxes[0], to=boxes, cc=boxes[::-1], reply_to=boxes, text=""))
    check_content(content)
    message = message_from_bytes(content)
    for field, expected in (("From", boxes[:1]), ("To", boxes), ("Cc", boxes[::-1]), ("Reply-To", boxes)):
        # The modern policies' parser puts a space between the encoded words of one name, so the old one reads.
        found = [(str(make_header(decode_header(name))), spec) for name, spec in getaddresses([message[field]])]
        assert found == [(box.name, str(box.address)) for box in expected]


@given(local_part)
def test_a_local_part_comes_back(local):
    mailbox = Mailbox(Address(local, "x.kr"), "이름")
    content = compose(Draft(author=mailbox, to=[mailbox], text="a"))
    found = read(content, SMTPUTF8)["To"].addresses[0]
    assert found.username.encode("utf-8", "surrogateescape").decode() == local
    assert content.isascii() == local.isascii()


@given(body)
@example("")
@example(".\n..\n.leading\n\n")
@example("trailing \t \nspaces ")
@example("lone\rCR")
@example("가" * 2000)
@example("x" * 5000)
@example("caf\u00e9 " + "plain words " * 50)
@example("\u2028\u0085\x0b\x0c")
def test_a_text_comes_back_with_canonical_line_ends(text):
    alone = read(compose(Draft(author=DEVICE, to=[KIM], text=text)))
    assert content_of(alone) == lines(text)
    beside = read(compose(Draft(author=DEVICE, to=[KIM], text=text, html="<p>" + text)))
    assert [content_of(part) for part in beside.iter_parts()] == [lines(text), lines("<p>" + text)]


@given(st.binary(max_size=500), one_line.filter(bool).filter(lambda name: len(name) < 250))
@example(b"", "a.png")
@example(b"\r\n.\r\n", "보고서 2026년 상반기 최종 수정본 진짜 최종.pdf")
@example(b"x" * 57, 'we "quote" \\ things%20.txt')
@example(b"x", "caf\u00e9.txt")
@example(b"x", "a" * 240)
def test_an_attachment_comes_back(octets, filename):
    sent = Draft(author=DEVICE, to=[KIM], text="첨부", attachments=[attachment(octets, filename)])
    (found,) = read(compose(sent)).iter_attachments()
    assert found.get_payload(decode=True) == octets
    assert found.get_filename() == filename.strip()  # which get_filename itself does


@given(
    st.none() | body,
    st.none() | body,
    st.lists(
        st.builds(
            attachment,
            st.binary(max_size=200),
            st.sampled_from(["a", "사진.png"]),
            content_id=st.sampled_from([None, "logo", "other@x"]),
            inline=st.booleans(),
        ),
        max_size=4,
    ),
)
def test_everything_is_there_once_and_ascii(text, html, attachments):
    content = compose(Draft(author=DEVICE, to=[KIM], text=text, html=html, attachments=attachments))
    assert content.isascii()
    leaves = [part for part in read(content).walk() if not part.is_multipart()]
    bodies = [lines(each) for each in (text, html) if each is not None] or [""]
    found = [content_of(leaf) for leaf in leaves if leaf.get_content_disposition() is None]
    assert found == bodies
    files = sorted(leaf.get_payload(decode=True) for leaf in leaves if leaf.get_content_disposition())
    assert files == sorted(b64decode(each.content) for each in attachments)


@given(st.text(st.sampled_from("=_.-0123456789abcdef\n"), max_size=300))
def test_no_line_passes_its_length_and_equal_drafts_are_equal_octets(noise):
    def draft() -> Draft:
        return Draft(author=DEVICE, to=[KIM] * 30, subject=noise.replace("\n", " "), text=noise, html=noise)

    content = compose(draft())
    assert content == compose(draft())
    header = content[: content.index(b"\r\n\r\n")]
    assert max(map(len, header.split(b"\r\n"))) <= 76


def test_the_shape_of_a_full_message():
    logo = attachment(b"logo", "로고.png", content_type="image/png", content_id="logo", inline=True)
    report = attachment(b"report", "보고서.pdf", content_type="application/pdf")
    message = read(
        compose(Draft(author=DEVICE, to=[KIM], text="글", html="<img src='cid:logo'>", attachments=[report, logo]))
    )
    assert [part.get_content_type() for part in message.walk()] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
        "multipart/related",
        "text/html",
        "image/png",
        "application/pdf",
    ]
    image = next(part for part in message.walk() if part.get_content_type() == "image/png")
    assert (image["Content-ID"], image.get_content_disposition()) == ("<logo>", "inline")


@pytest.mark.parametrize(
    ("text", "html", "inline", "expected"),
    [
        (None, "<p>", True, ["multipart/related", "text/html", "application/octet-stream"]),
        (None, "<p>", False, ["multipart/mixed", "text/html", "application/octet-stream"]),
        ("a", None, True, ["multipart/mixed", "text/plain", "application/octet-stream"]),
        (None, None, False, ["multipart/mixed", "text/plain", "application/octet-stream"]),
    ],
)
def test_an_inline_file_belongs_to_the_html(text, html, inline, expected):
    file = attachment(b"x", content_id="logo" if inline else None, inline=inline)
    message = read(compose(Draft(author=DEVICE, text=text, html=html, attachments=[file])))
    assert [part.get_content_type() for part in message.walk()] == expected


def test_an_attached_mail_is_not_taken_for_a_part_of_this_one():
    mail = attachment(b"From: a@b\r\n\r\n", "원본.eml", content_type="message/rfc822")
    (found,) = read(compose(Draft(author=DEVICE, text="", attachments=[mail]))).iter_attachments()
    assert (found.get_content_type(), found.get_filename()) == ("application/octet-stream", "원본.eml")


def test_a_text_that_holds_a_boundary_gets_another_one():
    text, html = "plain", "<p>"
    stem = read(compose(Draft(author=DEVICE, text=text, html=html))).get_boundary()
    sly = f"--{stem}--\r\nforged"
    message = read(compose(Draft(author=DEVICE, text=sly, html=html)))
    assert [content_of(part) for part in message.iter_parts()] == [lines(sly), lines(html)]


def test_without_visible_recipients_the_header_says_so():
    assert read(compose(Draft(author=DEVICE, text="비밀")))["To"] == "undisclosed-recipients:;"


def test_own_headers_go_as_they_are():
    links = "<https://x.kr/" + "u" * 200 + ">, <mailto:off@x.kr>"
    headers = [
        ("List-Unsubscribe", links),
        ("X-Device", "장치 7번"),
        ("X-Empty", ""),
        ("X-Raw", " =?utf-8?b?7ZWc?= "),
    ]
    content = compose(Draft(author=DEVICE, text="a", headers=headers))
    fields = dict(header_fields(content))
    assert fields["List-Unsubscribe"] == links
    assert fields["X-Raw"] == "=?utf-8?b?7ZWc?="
    message = read(content)
    assert (message["X-Device"], message["X-Empty"], message["X-Raw"]) == ("장치 7번", "", "한")


def test_a_long_header_name_leaves_room_for_its_encoded_words():
    name = "X-" + "n" * 74
    content = compose(Draft(author=DEVICE, text="a", headers=[(name, "한국어 " * 20)]))
    message = read(content)
    assert message[name].strip() == ("한국어 " * 20).strip()
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_header_fields_end_where_the_header_does():
    assert header_fields(b"A: 1\r\n 2\r\nB:3\r\nC:\r\n\r\nD: 4\r\n") == (("A", "1 2"), ("B", "3"), ("C", ""))
    assert header_fields(b"A: 1\r\n") == (("A", "1"),)

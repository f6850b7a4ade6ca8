"""What a message of lines becomes: the very submission that the same JSON would have become."""

import dataclasses
import json
from base64 import b64encode
from email import message_from_bytes
from email.policy import SMTP

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.model.submission import Envelope, Recipient, Submission
from mailgate.wire.json import decode_message, decode_rfc822
from mailgate.wire.lines import LineLimits

NOW = 1796083200.0  # 2026-12-01T00:00:00Z
START = "MAIL k1\nFROM a@x.kr\nTO b@x.kr\n"


def of_json(**request):
    request = {"from": "a@x.kr", "to": ["b@x.kr"], **request}
    made = decode_message(json.dumps(request).encode(), idempotency_key="k1", now=NOW, max_recipients=3)
    return bare(made)


def bare(submission):
    """Return a submission without the places that named its addresses, which are each syntax's own."""
    assert isinstance(submission, Submission), submission
    envelope = submission.envelope
    recipients = tuple(Recipient(each.address, "") for each in envelope.recipients)
    return dataclasses.replace(submission, envelope=Envelope(envelope.sender, recipients))


def counted(verb, octets, *arguments):
    head = " ".join([f"{verb}#{len(octets)}", *arguments])
    return head.encode() + b"\n" + octets + b"\n"


class TestSameAsJson:
    def test_a_whole_message(self, talk):
        picture = bytes(range(256)) * 3
        lines = (
            "mail k1\r\nFROM 장치 7 <a@x.kr>\r\nTO Kim <kim@한국.kr>\nCC c@x.kr\nBCC kim@xn--3e0b707e.kr\n"
            "REPLY d@x.kr\nREPLY 답장 <e@x.kr>\nSUBJ 온도 경고, 81 °C\nHDR X-Device: 7\nHDR X-Zone:4\n"
            "TEXT 3번 구역이 뜨겁습니다.\nTEXT 팬이 꺼져 있습니다.\nMETA order=42\nMETA 구역=4=b\n"
            "AT 2026-12-01T18:00:00+09:00\n"
        ).encode()
        octets = (
            lines
            + counted("HTML", b"<p>hot</p>\n")
            + counted("EMBED", b"logo", "image/png", "<logo>")
            + counted("FILE", picture, "image/jpeg", "그림 1.jpg")
            + b"SEND\n"
        )
        assert bare(talk.submission(octets)) == of_json(
            **{"from": "장치 7 <a@x.kr>"},
            to=["Kim <kim@한국.kr>"],
            cc=["c@x.kr"],
            bcc=["kim@한국.kr"],
            reply_to=["d@x.kr", "답장 <e@x.kr>"],
            subject="온도 경고, 81 °C",
            headers={"X-Device": "7", "X-Zone": "4"},
            text="3번 구역이 뜨겁습니다.\n팬이 꺼져 있습니다.\n",
            html="<p>hot</p>\n",
            metadata={"order": "42", "구역": "4=b"},
            scheduled_at="2026-12-01T09:00:00Z",
            attachments=[
                {
                    "filename": "logo",
                    "content": b64encode(b"logo").decode(),
                    "content_type": "image/png",
                    "content_id": "logo",
                },
                {"filename": "그림 1.jpg", "content": b64encode(picture).decode(), "content_type": "image/jpeg"},
            ],
        )

    def test_recipients_come_in_the_order_of_the_header_whatever_that_of_the_lines(self, talk):
        submission = bare(talk.submission("MAIL k1\nBCC d@x.kr\nCC c@x.kr\nFROM a@x.kr\nTO b@x.kr\nSEND\n"))
        assert submission.envelope == of_json(cc=["c@x.kr"], bcc=["d@x.kr"], text="").envelope

    def test_counted_text_is_appended_as_it_is(self, talk):
        lines = "TEXT one\nTEXT#3\ntwo\nTEXT#7\n\nSEND\n\n\nMORE#1\n!\nTEXT end\nSEND\n"
        assert bare(talk.submission(START, lines)) == of_json(text="one\ntwo\nSEND\n\n!end\n")

    def test_without_any_text_it_is_an_empty_one(self, talk):
        assert bare(talk.submission(START, "SUBJ hot\nSEND\n")) == of_json(subject="hot", text="")

    def test_a_file_may_come_in_pieces(self, talk):
        octets = START.encode() + counted("FILE", b"a" * 100, "text/plain", "a.txt")
        octets += b"".join(counted("MORE", piece) for piece in (b"b", b"", b"c" * 57)) + b"SUBJ x\nSEND\n"
        content = b64encode(b"a" * 100 + b"b" + b"c" * 57).decode()
        file = {"filename": "a.txt", "content": content, "content_type": "text/plain"}
        assert bare(talk.submission(octets)) == of_json(subject="x", text="", attachments=[file])

    def test_more_goes_on_with_the_part_before_it(self, talk):
        octets = START.encode() + counted("FILE", b"1", "a/b", "c") + b"HTML <p>\n" + counted("MORE", b"2\n")
        file = {"filename": "c", "content": b64encode(b"1").decode(), "content_type": "a/b"}
        assert bare(talk.submission(octets, b"SEND\n")) == of_json(text=None, html="<p>\n2\n", attachments=[file])

    def test_any_field_may_be_counted(self, talk):
        octets = (
            b"MAIL k1\n" + counted("FROM", b"a@x.kr") + counted("TO", b"b@x.kr") + counted("SUBJ", "더움".encode())
        )
        octets += counted("HDR", b"X-A: b") + counted("META", b"a=b") + counted("DRYRUN", b"") + b"SEND\n"
        expected = of_json(subject="더움", headers={"X-A": "b"}, metadata={"a": "b"}, text="", dry_run=True)
        assert bare(talk.submission(octets)) == bare(expected)

    def test_a_whole_json_message(self, talk):
        body = {"from": "a@x.kr", "to": ["b@x.kr"], "text": "안녕", "subject": "인사", "dry_run": True}
        octets = counted("JSON", json.dumps(body, ensure_ascii=False).encode())
        assert bare(talk.submission(b"MAIL k1\n", octets, b"SEND\n")) == of_json(
            text="안녕", subject="인사", dry_run=True
        )

    def test_a_whole_rfc_5322_message(self, talk):
        mail = "From: a@x.kr\nTo: b@x.kr\nBcc: c@x.kr\nSubject: 인사\n\n안녕\n.\n".encode()
        expected = decode_rfc822(
            mail, mail_from=["a@x.kr"], rcpt_to=["b@x.kr", "c@x.kr"], idempotency_key="k1", max_recipients=3
        )
        octets = START.encode() + counted("RAW", mail[:20]) + counted("MORE", mail[20:]) + b"TO c@x.kr\nSEND\n"
        assert bare(talk.submission(octets)) == bare(expected)
        assert dataclasses.asdict(expected)["content"].endswith(b"\r\n.\r\n")


class TestBadFields:
    @pytest.mark.parametrize(
        ("line", "code"),
        [
            ("TO kim", 501),
            ("CC a@x.kr, b@x.kr", 501),
            ("REPLY @", 501),
            ("BCC a\x01@x.kr", 554),
            ("SUBJ a\x07b", 554),
            ("SUBJ =?utf-8?q?=0A?=", 554),
            ("HDR X-A", 501),
            ("HDR Date: today", 554),
            ("HDR X A: b", 554),
            ("HDR X-A: a\x0bb", 554),
            ("HDR X-A: 1\nHDR x-a: 2", 554),
            ("SUBJ x\nHDR Subject: y", 554),
            ("HDR Subject: y\nSUBJ x", 554),
            ("AT tomorrow", 501),
            ("AT 2026-12-01T09:00:00", 501),
            ("META a", 501),
            ("META a=1\nMETA a=1", 501),
            ("META =1", 501),
            ("META a=\x1b", 554),
            ("FILE a/b c", 501),
            ("EMBED a/b c", 501),
            ("RAW x", 501),
            ("MORE x", 503),
            ("FILE#1 a/b\nx", 501),
            ("FILE#1\nx", 501),
            ("FILE#1 image c\nx", 501),
            ("FILE#1 a/b c\x01\nx", 554),
            ("FILE#1 multipart/mixed c\nx", 501),
            ("EMBED#1 a/b c d\nx", 501),
            ("TEXT#1 x\ny", 501),
            ("MORE#1\nx", 503),
            ("SUBJ#3 x\nabc", 501),
            ("TO#6 x\nb@x.kr", 501),
        ],
    )
    def test_each_dooms_the_message_and_keeps_the_step(self, talk, line, code):
        assert talk.reply(f"{START}{line}\nTEXT x\nSEND\n").code == code
        assert talk.reply("PING\n").code == 250

    @pytest.mark.parametrize("field", [b"SUBJ \xff", b"FILE#1 a/b \xff\nx", b"TEXT \xff", b"TEXT#2\n\xea\xb9"])
    def test_what_is_not_utf8(self, talk, field):
        octets = START.encode() + field + b"\nSEND\n"
        reply = talk.send(octets) if field.startswith(b"TEXT#") else talk.reply(octets)
        assert (reply.code, reply.reason) == (554, "validation_failed")
        assert "UTF-8" in reply.text

    def test_json_without_a_count(self, talk):
        assert talk.reply("MAIL k\nJSON {}\nSEND\n").code == 501

    def test_a_nul_in_a_text(self, talk):
        assert "NUL" in talk.reply(START, "HTML#3\na\0b\nSEND\n").text

    def test_a_character_may_come_in_two_pieces(self, talk):
        assert bare(talk.submission(START, b"TEXT#1\n\xea\nMORE#2\n\xb9\x80\nSEND\n")) == of_json(text="김")

    @pytest.mark.parametrize(
        ("lines", "code"),
        [
            ("JSON#2\n{}\nTO b@x.kr\n", 503),
            ("FROM a@x.kr\nJSON#2\n{}\n", 503),
            ("JSON#2\n{}\nJSON#2\n{}\n", 503),
            ("JSON#2\n{}\nRAW#2\n{}\n", 503),
            ("RAW#1\nx\nSUBJ x\n", 503),
            ("SUBJ x\nRAW#1\nx\n", 503),
            ("RAW#1\nx\nRAW#1\nx\n", 503),
            ("RAW#1\nx\nTEXT x\n", 503),
            ("RAW#1\nx\nCC a@x.kr\n", 503),
        ],
    )
    def test_a_whole_message_stands_alone(self, talk, lines, code):
        assert talk.reply(f"MAIL k\n{lines}SEND\n").code == code

    @pytest.mark.parametrize("body", ["{", "[]", '{"from": 1}', '{"from": "a@x.kr", "text": "x"}'])
    def test_a_bad_json_message(self, talk, body):
        made = talk.send(f"MAIL k\nJSON#{len(body)}\n{body}\nSEND\n")
        assert made.code in {554, 503}

    def test_a_raw_message_without_envelope_or_from(self, talk):
        assert talk.send("MAIL k\nRAW#4\na: b\nSEND\n").code == 503
        assert talk.send(START, "RAW#4\na: b\nSEND\n").code == 554


class TestLimits:
    def test_recipients(self, talk):
        many = "".join(f"{verb} {at}@x.kr\n" for at, verb in enumerate(["TO", "CC", "BCC"]))
        assert len(talk.submission(f"MAIL k\nFROM a@x.kr\n{many}SEND\n").envelope.recipients) == 3
        reply = talk.reply(f"MAIL k\nFROM a@x.kr\n{many}CC 4@x.kr\nSEND\n")
        assert reply.encode().startswith(b"550 5.5.3 k ")
        assert talk.reply(START + "REPLY c@x.kr\n" * 4 + "SEND\n").code == 554

    def test_a_counted_field(self, talk):
        assert talk.reply(START, f"SUBJ#8192\n{'x' * 8192}\nSEND\n").code == 501
        reply = talk.reply(START, f"SUBJ#8193\n{'x' * 8193}\nSEND\n")
        assert reply.encode() == b"552 5.3.4 k1 too large: 8193 octets, limit 8192\n"

    def test_parts(self, talk):
        octets = START + "FILE#1 a/b c\nx\n" * 20
        assert len(list(message_from_bytes(talk.submission(octets, "SEND\n").content, policy=SMTP).walk())) == 22
        reply = talk.reply(octets, "EMBED#1 a/b c\nx\nSEND\n")
        assert reply.encode() == b"552 5.3.4 k1 too large: 21 parts, limit 20\n"

    def test_labels(self, talk):
        many = "".join(f"META {at}=x\n" for at in range(50))
        assert len(talk.submission(f"{START}{many}SEND\n").metadata) == 50
        assert talk.reply(f"{START}{many}META y=x\nSEND\n").code == 554

    def test_headers(self, talk):
        many = "".join(f"HDR X-{at}: x\n" for at in range(100))
        talk.submission(f"{START}{many}SEND\n")
        assert talk.reply(f"{START}{many}HDR Y: x\nSEND\n").code == 554
        large = "".join(f"HDR#4010 X-{at}: {'한 ' * 1001}\n" for at in range(10, 29))
        assert "longer" in talk.reply(START, large.encode(), "SEND\n").text

    def test_size_counts_files_as_they_will_be_sent(self, talk):
        fits = 14_616  # 19,488 characters in 257 lines of base64, 512 octets of line ends between them
        octets = START.encode() + counted("FILE", b"x" * fits, "a/b", "c")
        assert isinstance(talk.send(octets, b"SEND\n"), Submission)
        assert talk.reply(START.encode() + counted("FILE", b"x" * (fits + 1), "a/b", "c"), b"SEND\n").code == 552

    @pytest.mark.parametrize("line", ["TEXT x\n", "TEXT#2\nx\n\n", "HTML x\n", "MORE#1\nx\n", "FILE#1 a/b c\nx\n"])
    def test_all_parts_count_together(self, talk, line):
        talk.say(START, "FILE#14616 a/b c\n", b"x" * 14616, b"\n")
        assert talk.reply(line, "SEND\n").encode().startswith(b"552 5.3.4 k1 too large: 2000")

    def test_a_raw_message(self, talk):
        assert talk.reply(START, b"RAW#20001\n", b"x" * 20001, b"\nSEND\n").code == 552

    def test_a_json_message_may_be_as_large_as_a_body(self, talk):
        body = json.dumps({"from": "a@x.kr", "to": "b@x.kr", "text": "x"}).ljust(40_000).encode()
        assert isinstance(talk.send(b"MAIL k\n", counted("JSON", body), b"SEND\n"), Submission)
        reply = talk.reply(b"MAIL k\n", counted("JSON", body + b" "), b"SEND\n")
        assert reply.text == "too large: 40001 octets, limit 40000"

    def test_a_json_message_has_a_limit_beside_its_attachments(self, Talk):
        talk = Talk(LineLimits(size=2_000_000, body=3_000_000, recipients=3))
        file = {"filename": "a", "content": "A" * 600_000}
        body = {"from": "a@x.kr", "to": "b@x.kr", "text": "x", "attachments": [file]}
        assert isinstance(
            talk.send(b"MAIL k\n", counted("JSON", json.dumps(body).encode()), b"SEND\n"), Submission
        )
        body["text"] = "x" * 262_144
        reply = talk.send(b"MAIL k\n", counted("JSON", json.dumps(body).encode()), b"SEND\n")
        assert (reply.code, reply.text.endswith("limit 262144")) == (552, True)


class TestStores:
    def test_a_store_without_room_dooms_the_message(self, talk):
        talk.room = Refusal(RefusalCode.DISK_LOW, "no room", retry_after=60)
        reply = talk.reply(START, "TEXT x\nSEND\n")
        assert reply.encode() == b"452 4.3.1 k1 retry=60 no room\n"
        assert talk.reply(START, "FILE#60 a/b c\n", "x" * 60, "\nSEND\n").code == 452

    def test_a_store_that_has_no_room_for_a_files_end(self, talk):
        talk.say(START, "FILE#1 a/b c\nx\n")
        talk.stores[0].room = Refusal(RefusalCode.DISK_LOW, "no room", retry_after=60)
        assert talk.reply("FILE#1 a/b d\nx\nSEND\n").code == 452

    def test_a_store_that_fails_when_the_message_is_composed(self, talk):
        talk.say(START, "FILE#1 a/b c\nx\n")
        talk.stores[0].room = Refusal(RefusalCode.STORAGE_UNAVAILABLE, "broken", retry_after=9)
        assert talk.send("SEND\n").code == 451

    def test_a_message_that_is_doomed_lets_go_of_its_octets(self, talk):
        talk.say(START, "TEXT x\nFILE#1 a/b c\nx\nJSON#1\n{\n")
        assert [store.closed for store in talk.stores] == [True, True]


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=4))
def test_a_file_arrives_as_it_was_sent_however_it_was_cut(Talk, octets, cuts):
    talk = Talk()
    places = sorted(min(cut, len(octets)) for cut in cuts)
    pieces = [octets[a:b] for a, b in zip([0, *places], [*places, len(octets)], strict=True)]
    sent = counted("FILE", pieces[0], "a/b", "c") + b"".join(counted("MORE", piece) for piece in pieces[1:])
    submission = talk.submission(START.encode() + sent + b"SEND\n")
    [file] = message_from_bytes(submission.content, policy=SMTP).iter_attachments()
    assert file.get_payload(decode=True) == octets

"""Verbs, order and bad input: each row of the protocol's tables."""

import pytest

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.model.submission import Outline, Parties
from mailgate.wire.lines import Answer, Check, Send, Stat, StoreError

START = "MAIL k1\nFROM a@x.kr\nTO b@x.kr\n"


class TestAnyTime:
    def test_ping_tells_the_time(self, talk):
        assert talk.reply("PING\n").encode() == b"250 2.0.0 - time=1796083200 here\n"

    def test_help_is_one_line_with_every_verb(self, talk):
        line = talk.reply("help\n").encode()
        assert line.startswith(b"214 2.0.0 - ")
        assert line.count(b"\n") == 1
        for (
            verb
        ) in b"MAIL FROM TO CC BCC REPLY SUBJ HDR TEXT HTML FILE EMBED MORE AT META DRYRUN JSON RAW CHECK".split():
            assert verb in line.split()

    def test_exit_is_the_last_word(self, talk):
        assert talk.say("EXIT\nPING\n", "PING\n") == [Answer(talk.events[0].reply, closes=True)]
        assert talk.events[0].reply.encode() == b"221 2.0.0 - bye\n"

    def test_exit_drops_the_open_message(self, talk):
        talk.say(START, "TEXT hot\n", "EXIT\n")
        assert [store.closed for store in talk.stores] == [True]

    @pytest.mark.parametrize("octets", ["STAT b7-12\n", "STAT#5\nb7-12\n"])
    def test_stat_asks_for_a_key(self, talk, octets):
        assert talk.say(octets) == [Stat("b7-12")]

    @pytest.mark.parametrize("octets", ["STAT\n", "STAT a b\n", f"STAT {'k' * 65}\n", "STAT#3 k\nabc\n"])
    def test_stat_with_what_is_no_key(self, talk, octets):
        assert talk.reply(octets).code == 501

    def test_a_count_is_skipped_and_the_message_kept(self, talk):
        counted = "PING#5\nSEND\n\nHELP#0\n\nEXIT"[:-4]
        assert [event.reply.code for event in talk.say(START + counted)] == [250, 214]
        assert len(talk.submission("SEND#3 now\nabc\n").envelope.recipients) == 1

    def test_a_message_goes_on_around_them(self, talk):
        events = talk.say("MAIL k\nPING\nFROM a@x.kr\nSTAT other\nTO b@x.kr\nSEND\n")
        assert [type(event) for event in events] == [Answer, Stat, Send]


class TestOrder:
    @pytest.mark.parametrize("verb", ["SEND", "DROP", "CHECK"])
    def test_without_a_message(self, talk, verb):
        [answer] = talk.say(f"{verb}\n")
        assert (answer.reply.code, answer.closes) == (503, False)
        assert talk.reply("PING\n").code == 250

    def test_send_ends_the_message_and_so_does_drop(self, talk):
        assert isinstance(talk.say(START, "SEND\n")[0], Send)
        assert talk.reply("SEND\n").code == 503
        assert talk.reply(START, "TEXT x\nDROP\n").encode() == b"250 2.0.0 k1 dropped\n"
        assert talk.stores[-1].closed
        assert talk.reply("DROP\n").code == 503

    def test_a_second_mail_dooms_the_first(self, talk):
        assert talk.reply(START, "MAIL k2\nSEND\n").encode().startswith(b"503 5.5.1 k1 ")
        assert talk.submission("MAIL k2\nFROM a@x.kr\nTO b@x.kr\nSEND\n").idempotency_key == "k2"

    def test_a_field_before_mail_begins_a_doomed_message_without_key(self, talk):
        assert talk.reply("TO b@x.kr\nMAIL k2\nFROM a@x.kr\nSEND\n").encode().startswith(b"503 5.5.1 - ")

    def test_a_part_before_mail_is_skipped_and_doomed(self, talk):
        assert talk.reply("FILE#5 a/b c\nSEND\n\nSEND\n").code == 503
        assert talk.stores == []

    def test_a_doomed_message_can_be_dropped(self, talk):
        assert talk.reply("TO b@x.kr\nDROP\n").encode() == b"250 2.0.0 - dropped\n"

    @pytest.mark.parametrize("verb", ["FROM a@x.kr", "SUBJ x", "AT 2026-12-01T09:00:00+09:00"])
    def test_what_is_there_once(self, talk, verb):
        start = "MAIL k\n" + ("" if verb.startswith("FROM") else "FROM a@x.kr\n")
        reply = talk.reply(f"{start}TO b@x.kr\n{verb}\n{verb}\nSEND\n")
        assert (reply.code, reply.reason) == (503, "bad_request")

    @pytest.mark.parametrize("fields", ["FROM a@x.kr\n", "TO b@x.kr\n", ""])
    def test_without_sender_or_recipient(self, talk, fields):
        assert talk.send(f"MAIL k\n{fields}TEXT x\nSEND\n").code == 503

    def test_the_first_fault_is_the_one_that_is_told(self, talk):
        reply = talk.reply("MAIL k\nFROM a\nSUBJ x\nSUBJ x\nWHAT\nFILE x\nSEND\n")
        assert reply.code == 501
        assert "name@domain" in reply.text


class TestUnknownVerbs:
    @pytest.mark.parametrize("line", ["EHLO x", "GET / HTTP/1.1", "POST#5 x", "4711", "TEXTE x", "", "한국"])
    def test_when_idle_it_ends_and_reflects_nothing(self, talk, line):
        [answer] = talk.say(f"{line or ':'}\nPING\n")
        assert (answer.reply.code, answer.closes) == (502, True)
        assert line.partition(" ")[0] not in answer.reply.text or not line

    @pytest.mark.parametrize("lines", ["WHAT is this\n", "WHAT#7 x\nSEND\n\n\n\n", "Zone 4 is hot.\n"])
    def test_in_a_message_it_dooms_that_and_keeps_the_step(self, talk, lines):
        assert talk.reply(f"{START}{lines}SEND\n").encode().startswith(b"502 5.5.1 k1 ")
        assert talk.reply("PING\n").code == 250


class TestFraming:
    @pytest.mark.parametrize(
        "octets",
        ["FROM#x\n", "SUBJ a\0b\n", "TEXT " + "x" * 1020, "TEXT#1\nab\n"],
    )
    def test_a_break_ends_the_session_and_drops_the_message(self, talk, octets):
        [answer] = talk.say(START, "TEXT x\n", octets, "SEND\nPING\n")
        assert (answer.reply.code, answer.reply.enhanced, answer.closes) == (500, "5.5.2", True)
        assert [store.closed for store in talk.stores] == [True]
        assert talk.session.message is None

    def test_a_count_over_four_times_the_size_ends_it(self, talk):
        [answer] = talk.say(START, "FILE#80001 a/b c\n", "SEND\n")
        assert answer.closes
        assert answer.reply.encode() == b"552 5.3.4 k1 too large: 80001 octets, limit 20000\n"

    @pytest.mark.parametrize("verb", ["PING", "EHLO", "FROM"])
    def test_a_count_too_large_ends_it_whatever_the_verb(self, talk, verb):
        [answer] = talk.say(f"{verb}#80001\n")
        assert (answer.reply.code, answer.closes) == (552, True)

    def test_a_count_over_the_size_is_skipped(self, talk):
        octets = b"FILE#80000 a/b c\n" + b"SEND\n" * 16_000 + b"\nSEND\n"
        assert talk.reply(START, octets).encode() == (b"552 5.3.4 k1 too large: 109474 octets, limit 20000\n")
        assert talk.reply("PING\n").code == 250
        assert [store.size for store in talk.stores] == [0]


class TestKeys:
    @pytest.mark.parametrize("key", ["a", "k" * 64, "A.b_c:d-9"])
    def test_a_key(self, talk, key):
        assert talk.submission(f"MAIL {key}\nFROM a@x.kr\nTO b@x.kr\nSEND\n").idempotency_key == key

    def test_none(self, talk):
        assert talk.submission("MAIL\nFROM a@x.kr\nTO b@x.kr\nSEND\n").idempotency_key is None

    def test_a_counted_one(self, talk):
        assert talk.submission("MAIL#2\nk1\nFROM a@x.kr\nTO b@x.kr\nSEND\n").idempotency_key == "k1"

    @pytest.mark.parametrize(
        "mail",
        [
            "MAIL a b\n",
            "MAIL " + "k" * 65 + "\n",
            "MAIL 열쇠\n",
            "MAIL#9000\n" + "k" * 9000 + "\n",
            "MAIL#1 k\nk\n",
        ],
    )
    def test_what_is_no_key(self, talk, mail):
        reply = talk.reply(mail + "FROM a@x.kr\nTO b@x.kr\nSEND\n")
        assert reply.encode().startswith(b"501 5.5.4 - ")


class TestCheck:
    def test_what_was_sent_so_far(self, talk):
        assert talk.say("MAIL k\nCHECK\n") == [Check("k", Outline(Parties((), ()), 0, "k"))]
        [check] = talk.say("FROM a@x.kr\nTO b@x.kr\nCC c@x.kr\nTEXT hot\nFILE#3 a/b c\nabc\nCHECK\n")
        assert [(place, str(address)) for place, address in check.outline.parties.senders] == [("/from", "a@x.kr")]
        assert [str(each.address) for each in check.outline.parties.recipients] == ["b@x.kr", "c@x.kr"]
        assert check.outline.size == 4 + 4

    def test_a_doomed_message_is_told_and_stays_doomed(self, talk):
        first = talk.reply(START, "SUBJ a\rb\nCHECK\n")
        assert first.encode().startswith(b"554 5.6.0 k1 ")
        assert talk.reply("CHECK\n").encode() == first.encode()
        assert talk.reply("SEND\n").encode() == first.encode()

    def test_the_journal_is_given_the_reason_once(self, talk):
        reasons = [talk.reply(octets).reason for octets in (START + "SUBJ a\rb\nCHECK\n", "CHECK\n", "SEND\n")]
        assert reasons == ["validation_failed", "", ""]
        assert talk.reply(START + "SUBJ a\rb\nSEND\n").reason == "validation_failed"
        unfit = "MAIL k\nJSON#1\n{\nCHECK\n"
        assert [talk.reply(octets).reason for octets in (unfit, "CHECK\n")] == ["invalid_json", ""]

    def test_a_time_that_has_passed_is_for_those_to_judge_who_know_whether_this_is_a_repeat(self, talk):
        [check] = talk.say(START, "AT 2026-11-30T09:00:00+09:00\nCHECK\n")
        assert (check.outline.idempotency_key, check.outline.scheduled_at) == ("k1", 1795996800.0)
        assert talk.submission("SEND\n").scheduled_at == 1795996800.0

    def test_a_message_in_json_is_looked_into_once(self, talk):
        assert talk.reply("MAIL k\nJSON#1\n{\nCHECK\n").code == 554
        assert talk.reply("CHECK\n").code == 554
        rest = '"from": "a@x.kr", "to": "b@x.kr", "text": "x"}'
        assert talk.reply(f"MORE#{len(rest)}\n{rest}\nCHECK\n").code == 503
        assert str(talk.submission("SEND\n").envelope.sender) == "a@x.kr"

    def test_one_that_can_not_be_read_right_now_is_looked_into_again(self, talk):
        body = '{"from": "a@x.kr", "to": "b@x.kr", "text": "x"}'
        talk.say(f"MAIL k\nJSON#{len(body)}\n{body}\n")
        [store] = talk.stores
        read = store.read

        def fail():
            raise StoreError(Refusal(RefusalCode.STORAGE_UNAVAILABLE, "not now"))

        store.read = fail
        assert talk.reply("CHECK\n").code == 451
        store.read = read
        [check] = talk.say("CHECK\n")
        assert check.outline.size > 0

    def test_a_message_in_json_is_asked_about_with_its_parties(self, talk):
        body = '{"from": "a@x.kr", "to": "b@x.kr", "text": "x"}'
        [check] = talk.say(f"MAIL k\nJSON#{len(body)}\n{body}\nCHECK\n")
        assert [str(each.address) for each in check.outline.parties.recipients] == ["b@x.kr"]
        assert check.outline.size == len(talk.submission("SEND\n").content)

    def test_a_raw_message_is_asked_about_by_its_envelope(self, talk):
        [check] = talk.say(START, "RAW#3\nabc\nCHECK\n")
        outline = check.outline
        assert (len(outline.parties.senders), len(outline.parties.recipients), outline.size) == (1, 1, 3)


def test_a_session_is_at_rest_between_lines_and_messages(Talk):
    for octets, at_rest in (
        ("", True),
        ("PING\n\r\n", True),
        ("PIN", False),
        ("PING#2\n", False),
        ("PING#2\nab", False),
        ("PING#2\nab\n", True),
        (START, False),
        (START + "SEND\n", True),
        ("EXIT\n", False),
    ):
        talk = Talk()
        talk.say(octets)
        assert talk.session.at_rest == at_rest


def test_closing_a_session_drops_what_is_open_and_nothing_follows(talk):
    talk.say(START, "TEXT x\n")
    talk.session.close()
    assert talk.say("SEND\n") == []
    assert talk.stores[0].closed

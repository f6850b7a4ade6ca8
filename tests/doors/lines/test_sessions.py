"""A device's session over real TLS, with intake behind it."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.model.outcome import Status
from mailgate.model.refusal import Refusal, RefusalCode

START = "MAIL b7-12\nFROM cam3@x.kr\nTO ops@x.kr\n"


class Sessions(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()

    def device(self, client="장치-7", **more):
        return self.house.connect_device(client, **more).greeted()

    def stored(self):
        [message] = self.house.queue.messages.values()
        return message


class GreetingTests(Sessions):
    def test_it_tells_who_the_client_is_its_limit_the_time_and_the_days_left(self):
        [line] = self.house.connect_device("other", days=30).lines()
        now = int(self.house.clock.seconds())
        self.assertEqual(line, f"220 mailgate/1 gate.example.com id=other size=100000 time={now} expires=30")

    def test_the_size_is_the_clients_own(self):
        [line] = self.house.connect_device("small").lines()
        self.assertIn(" size=1000 ", line)

    def test_its_protocol_is_named_by_alpn_and_need_not_be(self):
        self.assertIsNone(self.device().tls.selected_alpn_protocol())

    def test_a_stranger_is_given_the_reason_and_the_journal_too(self):
        for client, words, code in (
            ("stranger", "unknown client", "client_unknown"),
            ("disabled", "client disabled", "client_disabled"),
            ("https-only", "this client may not use this door", "door_not_allowed"),
        ):
            device = self.house.connect_device(client)
            self.assertEqual(device.lines(), [f"535 5.7.8 - {words}"])
            self.assertTrue(device.ended)
            event = self.house.journal.events[-1]
            told = (event["event"], event["reason"], event["subject"], event["door"])
            self.assertEqual(told, ("request.refused", code, f"CN={client}", "lines"))

    def test_what_a_stranger_writes_is_thrown_away(self):
        device = self.house.connect_device("stranger", stubborn=True)
        device.send(START.encode() + b"SEND\n")
        self.assertEqual(device.lines(), ["535 5.7.8 - unknown client"])
        self.assertEqual(self.house.queue.messages, {})


class MessageTests(Sessions):
    def test_a_message_is_on_disk_before_it_is_acknowledged(self):
        self.house.queue.hold = True
        device = self.device()
        self.assertEqual(device.say(START, "SUBJ 더움\nTEXT Zone 4\nSEND\n"), [])
        self.house.queue.release()
        message = self.stored()
        self.assertEqual(device.lines(), [f"250 2.0.0 b7-12 id={message.id}"])
        self.assertEqual((message.client, message.door, message.idempotency_key), ("장치-7", "lines", "b7-12"))
        self.assertIn(b" with LINES", message.content)
        accepted = self.house.journal.of("message.accepted")
        self.assertEqual([(event["door"], event["address"]) for event in accepted], [("lines", "192.0.2.7")])

    def test_a_repeat_is_answered_with_dup_also_of_what_came_over_https(self):
        device = self.device()
        first = device.say(START, "TEXT x\nSEND\n")
        self.assertEqual(device.say(START, "TEXT x\nSEND\n"), [f"{first[0]} dup"])
        self.assertEqual(self.device().say(START, "TEXT x\nSEND\n"), [f"{first[0]} dup"])
        body = {"from": "cam3@x.kr", "to": "ops@x.kr", "text": "x\n"}
        answer = self.house.connect().request("POST", "/v1/messages", body, idempotency_key="b7-12")
        self.assertEqual(answer.headers["Idempotent-Replayed"], "true")
        self.assertEqual(len(self.house.queue.messages), 1)

    def test_a_key_with_other_content(self):
        device = self.device()
        device.say(START, "TEXT x\nSEND\n")
        [line] = device.say(START, "TEXT y\nSEND\n")
        self.assertEqual(line, "555 5.5.6 b7-12 key already used for other content; nothing sent")

    def test_the_same_key_twice_in_one_breath(self):
        self.house.queue.hold = True
        device = self.device()
        device.say(START, "SEND\n", START, "SEND\n", "STAT b7-12\n")
        self.house.queue.release()
        device.turn()
        self.house.queue.release()
        first, second, third = device.lines()
        self.assertEqual(second, f"{first} dup")
        self.assertEqual(third, f"{first} state=queued")

    def test_a_refusal_of_policy_names_each_address(self):
        device = self.house.connect_device("narrow").greeted()
        lines = device.say("MAIL b7-17\nFROM root@plant.example\nTO a@x.kr\nCC ops@y.kr\nCHECK\nSEND\n")
        told = [
            "550-5.7.1 FROM root@plant.example not allowed",
            "550-5.7.1 CC ops@y.kr not allowed",
            "550 5.7.1 b7-17 sender not allowed for this client",
        ]
        self.assertEqual(lines, told * 2)
        events = [event["event"] for event in self.house.journal.events[-2:]]
        self.assertEqual(events, ["request.refused", "message.refused"])

    def test_a_check_stores_nothing_and_a_drop_ends_it(self):
        device = self.device()
        lines = device.say(START, "CHECK\nTEXT x\nCHECK\nDROP\n")
        self.assertEqual(lines, ["250 2.0.0 b7-12 acceptable so far"] * 2 + ["250 2.0.0 b7-12 dropped"])
        self.assertEqual(self.house.queue.messages, {})

    def test_a_dry_run(self):
        lines = self.device().say(START, "DRYRUN\nTEXT x\nSEND\n")
        self.assertEqual(lines[0], "250-2.0.0 rule=\\x{C7A5}\\x{CE58}-7")
        self.assertRegex(lines[1], r"250-2\.0\.0 size=\d+")
        self.assertEqual(lines[2], "250 2.0.0 b7-12 dry run: nothing is queued")
        self.assertEqual(self.house.queue.messages, {})

    def test_a_rate_that_is_used_up(self):
        device = self.device("limited")
        self.assertRegex(device.say("MAIL\nFROM a@x.kr\nTO b@x.kr\nSEND\n")[0], r"^250 2\.0\.0 - id=")
        [line] = device.say("MAIL k\nFROM a@x.kr\nTO b@x.kr\nSEND\n")
        self.assertEqual(line, "450 4.7.0 k retry=60 more than 1/minute messages")

    def test_a_full_disk(self):
        self.house.refusal = Refusal(RefusalCode.DISK_LOW, "the disk is nearly full", retry_after=60)
        [line] = self.device().say(START, "SEND\n")
        self.assertEqual(line, "452 4.3.1 b7-12 retry=60 the disk is nearly full")

    def test_too_large_for_the_client(self):
        [line] = self.device("small").say("MAIL k\nFROM a@x.kr\nTO b@x.kr\nTEXT ", "x" * 900, "\nSEND\n")
        self.assertRegex(line, r"552 5\.3\.4 k too large: 1\d\d\d octets, limit 1000")

    def test_one_that_asks_for_it_again_and_again_does_not_fill_the_journal(self):
        device, unfit = self.device(), "SUBJ#3\na\rb\n"
        device.say(START, unfit, "CHECK\n" * 50, "SEND\n")
        self.assertEqual(len(self.house.journal.of("request.refused")), 1)
        for _ in range(50):
            device.say(START, unfit, "SEND\n")
        self.assertEqual(len(self.house.journal.of("request.refused")), 10)
        self.house.pass_time(60)
        self.assertEqual([event["count"] for event in self.house.journal.of("refusals.omitted")], [41])

    def test_a_message_that_is_none_is_told_to_the_journal(self):
        [line] = self.device().say("MAIL k\nTO b@x.kr\nSEND\n")
        self.assertEqual(line, "503 5.5.1 k FROM: this field is missing")
        event = self.house.journal.events[-1]
        told = (event["event"], event["reason"], event["client"], event["detail"])
        self.assertEqual(told, ("request.refused", "validation_failed", "장치-7", "FROM: this field is missing"))

    def test_a_queue_that_fails(self):
        def fail(_message):
            raise ZeroDivisionError

        self.house.queue.accept = fail
        [line] = self.device().say(START, "SEND\n")
        self.assertTrue(line.startswith("451 4.3.0 b7-12 retry=30 "))

    def test_a_defect_is_answered_and_logged(self):
        def fail(*_):
            raise ZeroDivisionError

        self.house.intake.submit = fail
        lines = self.device().say(START, "SEND\nPING\n")
        self.assertEqual(lines[0], "451 4.3.0 b7-12 retry=30 the gateway failed at this message")
        self.assertTrue(lines[1].startswith("250 "))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class StatTests(Sessions):
    def test_what_became_of_a_key(self):
        device = self.device()
        self.assertEqual(device.say("STAT b7-12\n"), ["450 4.2.0 b7-12 never accepted"])
        device.say(START, "SEND\n")
        message = self.stored()
        self.house.queue.records[message.id] = (Status.DEFERRED, 1)
        self.assertEqual(device.say("STAT b7-12\n"), [f"250 2.0.0 b7-12 id={message.id} state=deferred"])
        self.assertEqual(self.device("other").say("STAT b7-12\n"), ["450 4.2.0 b7-12 never accepted"])

    def test_a_message_on_its_way_on_another_connection(self):
        self.house.queue.hold = True
        first, second = self.device(), self.device()
        first.say(START, "SEND\n")
        [line] = second.say("STAT b7-12\n")
        self.assertTrue(line.startswith("450 4.2.0 b7-12 retry=1 "))
        [line] = second.say(START, "SEND\n")
        self.assertTrue(line.startswith("450 4.2.0 b7-12 retry=1 "))
        self.house.queue.release()
        self.assertEqual(len(first.lines()), 1)


class MistakeTests(Sessions):
    def test_what_ends_a_connection(self):
        for octets, code in (
            ("EHLO x\n", "502 5.5.1 - "),
            ("GET / HTTP/1.1\r\nHost: x\r\n\r\n", "502 5.5.1 - "),
            ("TEXT#1\nab\n", "500 5.5.2 - "),
            ("PING#400001\n", "552 5.3.4 - "),
            ("EXIT\n", "221 2.0.0 - "),
        ):
            device = self.device()
            [line] = device.say(octets)
            self.assertTrue(line.startswith(code), line)
            self.assertTrue(device.ended)

    def test_replies_that_are_owed_come_before_the_end(self):
        self.house.queue.hold = True
        device = self.device()
        self.assertEqual(device.say(START, "SEND\nEXIT\n", "PING\n"), [])
        self.house.queue.release()
        first, last = device.lines()
        self.assertTrue(first.startswith("250 "))
        self.assertEqual(last, "221 2.0.0 - bye")
        self.assertTrue(device.ended)

    def test_ten_mistakes(self):
        device = self.device()
        lines = device.say("SEND\n" * 12)
        self.assertEqual([line[:3] for line in lines], ["503"] * 10 + ["421"])
        self.assertTrue(device.ended)

    def test_the_client_reads_its_reply_although_it_goes_on_writing(self):
        device = self.device(stubborn=True)
        device.send(b"EHLO x\n")
        device.send(b"x" * 200_000)
        self.assertEqual([line[:3] for line in device.lines()], ["502"])
        self.assertEqual(device.wire.producerState, "producing")
        device.send(b"x" * 100_000)
        self.assertEqual(device.wire.producerState, "paused")
        self.house.pass_time(4)
        self.assertFalse(device.wire.aborted)
        self.house.pass_time(2)
        self.assertTrue(device.wire.aborted)


class ClientsThatAreNoneAnyMoreTests(Sessions):
    def test_a_removed_client_is_told_at_its_next_question(self):
        for question in (START + "SEND\n", "STAT k\n", START + "CHECK\n"):
            device = self.device()
            directory = self.house.intake.directory
            self.house.intake.directory = type(directory)([])
            [line] = device.say(question + "PING\n")
            self.assertEqual(line.partition(" - ")[2] or line[-14:], "unknown client")
            self.assertTrue(line.startswith("535 5.7.8 "))
            self.assertTrue(device.ended)
            self.house.intake.directory = directory
        self.assertEqual(self.house.queue.messages, {})

    def test_it_may_say_nothing_further_and_its_message_is_forgotten(self):
        self.house.queue.hold = True
        device = self.device()
        device.send((START + "TEXT a\nSEND\n").encode())
        self.house.intake.directory = type(self.house.intake.directory)([])
        device.send((START + "TEXT b\nSEND\nPING\nSTAT k1\n").encode())
        self.assertEqual([spool.closed for spool in self.house.spools], [True, True])
        self.house.queue.release()
        self.assertEqual([line[:12] for line in device.lines()], ["250 2.0.0 b7", "535 5.7.8 - "])
        self.assertEqual(len(self.house.journal.of("request.refused")), 1)

    def test_a_certificate_that_expires_meanwhile(self):
        device = self.device("other", days=1)
        for _ in range(150):
            self.house.clock.advance(600 - 1)
            device.say("PING\n")
        [line] = device.say(START, "SEND\n")
        self.assertTrue(line.startswith("535 5.7.8 "))

"""How long a device may take, and how it is told that it took longer."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

START = "MAIL k1\nFROM a@x.kr\nTO b@x.kr\n"


class TimeTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()
        self.device = self.house.connect_device().greeted()

    def test_an_idle_connection_ends_after_ten_minutes(self):
        self.house.pass_time(599)
        self.assertEqual(len(self.device.say("PING\n")), 1)
        self.house.pass_time(599)
        self.assertEqual(self.device.lines(), [])
        self.house.pass_time(2)
        self.assertEqual(self.device.lines(), ["421 4.4.2 - closing: idle for 600 seconds"])
        self.assertTrue(self.device.ended)

    def test_a_line_that_does_not_end_is_no_message(self):
        self.device.send(b"PIN")
        self.house.pass_time(120)
        self.assertEqual(len(self.device.say("G\n")), 1)

    def test_a_message_may_not_stop_for_a_minute(self):
        self.device.send(START.encode() + b"FILE#100 a/b c\n")
        for _ in range(3):
            self.house.pass_time(59)
            self.device.send(b"x")
        self.house.pass_time(61)
        self.assertEqual(self.device.lines(), ["421 4.4.2 - closing: silent for 60 seconds within a message"])
        self.assertTrue(all(spool.closed for spool in self.house.spools))

    def test_a_message_may_not_take_more_than_fifteen_minutes(self):
        self.device.send(START.encode() + b"FILE#100 a/b c\n")
        for _ in range(17):
            self.house.pass_time(50)
            self.device.send(b"x")
        self.house.pass_time(49)
        self.assertEqual(self.device.lines(), [])
        self.house.pass_time(2)
        self.assertEqual(self.device.lines(), ["421 4.4.2 - closing: a message may take 15 minutes"])

    def test_each_message_has_its_own_fifteen_minutes(self):
        for _ in range(40):
            self.house.pass_time(50)
            self.assertEqual(len(self.device.say(START + "DROP\n")), 1)

    def test_a_commit_that_takes_too_long_is_answered_and_may_still_succeed(self):
        self.house.queue.hold = True
        self.device.send(START.encode() + b"SEND\nPING\n")
        self.house.pass_time(29)
        self.assertEqual(self.device.lines(), [])
        self.house.pass_time(2)
        late, ping = self.device.lines()
        self.assertEqual(late, "451 4.3.0 k1 retry=30 not on disk within 30 seconds")
        self.assertTrue(ping.startswith("250 "))
        self.house.queue.hold = False
        self.house.queue.release()
        self.assertEqual(self.device.lines(), [])
        [line] = self.device.say(START, "SEND\n")
        self.assertTrue(line.endswith(" dup"))

    def test_what_waits_for_memory_when_the_time_is_over_is_not_sent(self):
        self.house.queue.hold = True
        self.house.lines._desk.room._octets = 1
        self.device.send(b"MAIL k0\nFROM a@x.kr\nTO b@x.kr\nTEXT x\nSEND\n" + START.encode() + b"TEXT y\nSEND\n")
        self.house.pass_time(31)
        self.assertEqual([line[:12] for line in self.device.lines()], ["451 4.3.0 k0", "451 4.3.0 k1"])
        self.assertEqual([spool.closed for spool in self.house.spools], [True, True])
        self.house.queue.release()
        self.assertEqual([each.idempotency_key for each in self.house.queue.messages.values()], ["k0"])
        self.house.queue.hold = False
        self.assertNotIn("dup", self.device.say(START, "TEXT y\nSEND\n")[0])

    def test_what_gives_up_its_room_may_let_another_in_and_the_replies_stay_in_order(self):
        self.house.queue.hold = True
        self.house.lines._desk.room._octets = 5000
        self.device.send(b"MAIL k0\nFROM a@x.kr\nTO b@x.kr\nTEXT#600\n" + b"x" * 600 + b"\nSEND\n")
        self.device.send(b"MAIL k1\nFROM a@x.kr\nTO b@x.kr\nTEXT#3000\n" + b"x" * 3000 + b"\nSEND\n")
        self.house.pass_time(20)
        self.device.send(b"MAIL k2\nFROM a@x.kr\nTO b@x.kr\nRAW#1\nx\nSEND\n")
        self.house.pass_time(11)
        codes = [line[:12] for line in self.device.lines() if line[3] == " "]
        self.assertEqual(codes, ["451 4.3.0 k0", "451 4.3.0 k1", "554 5.6.0 k2"])

    def test_a_connection_that_does_not_end_is_cut(self):
        stubborn = self.house.connect_device(stubborn=True).greeted()
        stubborn.say("EXIT\n")
        self.assertTrue(stubborn.ended)
        self.assertFalse(stubborn.wire.gone)
        self.house.pass_time(6)
        self.assertTrue(stubborn.wire.aborted)

    def test_tcp_asks_whether_the_peer_is_there_before_nats_forget(self):
        self.assertTrue(self.device.wire.kept_alive)
        self.assertLess(min(self.device.wire.options.values()), 240)


class StopTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()

    def test_without_connections_at_once(self):
        self.assertIsNone(self.successResultOf(self.house.lines.stop()))

    def test_idle_connections_and_messages_that_are_not_complete_end_at_once(self):
        idle, writing = (self.house.connect_device().greeted() for _ in range(2))
        writing.send(START.encode() + b"TEXT#5\nx")
        stopped = self.house.lines.stop()
        for device in (idle, writing):
            self.assertEqual(device.lines(), ["421 4.3.2 - closing: the gateway is shutting down"])
        self.successResultOf(stopped)

    def test_what_is_owed_is_answered_and_nothing_further_read(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(START.encode() + b"SEND\n")
        stopped = self.house.lines.stop()
        self.assertEqual(device.say("PING\n"), [])
        self.house.pass_time(5)
        self.assertNoResult(stopped)
        self.house.queue.release()
        first, last = device.lines()
        self.assertTrue(first.startswith("250 2.0.0 k1 id="))
        self.assertTrue(last.startswith("421 4.3.2 "))
        self.successResultOf(stopped)

    def test_a_client_that_was_just_heard_of_has_time_to_read(self):
        self.house.queue.hold = True
        idle, owed, recent = (self.house.connect_device(stubborn=True).greeted() for _ in range(3))
        owed.send(START.encode() + b"SEND\n")
        self.house.pass_time(6)
        recent.say("PING\n")
        self.house.lines.stop()
        self.house.queue.release()
        self.house.pass_time(2.5)
        self.assertEqual([device.wire.aborted for device in (idle, owed, recent)], [True, False, False])
        self.house.pass_time(3)
        self.assertEqual([device.wire.aborted for device in (owed, recent)], [True, True])

    def test_a_client_that_has_gone_is_waited_for_until_its_messages_are_stored(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(b"".join(START.replace("k1", f"k{number}").encode() + b"SEND\n" for number in range(200)))
        device.leave()
        stopped = self.house.lines.stop()
        self.house.pass_time(5)
        self.assertNoResult(stopped)
        self.house.queue.release()
        self.successResultOf(stopped)
        self.assertEqual(len(self.house.queue.messages), 128)

    def test_but_not_for_more_than_ten_seconds(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(START.encode() + b"SEND\n")
        device.leave()
        stopped = self.house.lines.stop()
        self.house.pass_time(11)
        self.successResultOf(stopped)

    def test_what_was_not_begun_with_is_dropped_when_a_client_goes_during_the_stop(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(b"".join(START.replace("k1", f"k{number}").encode() + b"SEND\n" for number in range(200)))
        stopped = self.house.lines.stop()
        device.leave()
        self.house.queue.release()
        self.successResultOf(stopped)
        self.assertEqual(len(self.house.queue.messages), 128)

    def test_a_handshake_under_way_and_a_new_one(self):
        self.house.lines._desk.draining = True
        self.assertEqual(
            self.house.connect_device().lines(), ["421 4.3.2 - closing: the gateway is shutting down"]
        )
        protocol = self.house.lines.factory.buildProtocol(None)
        wire = type(self.house.connect_device().wire)("192.0.2.9", self.house.clock)
        wire.protocol = protocol
        protocol.makeConnection(wire)
        self.house.lines.stop()
        self.house.clock.advance(0)
        self.assertTrue(wire.gone)

    def test_all_after_ten_seconds(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(START.encode() + b"SEND\n")
        stopped = self.house.lines.stop()
        self.house.pass_time(9)
        self.assertFalse(device.wire.gone)
        self.house.pass_time(2)
        self.assertTrue(device.wire.aborted)
        self.successResultOf(stopped)
        self.house.queue.release()
        self.assertEqual(len(self.house.queue.messages), 1)

    def test_a_message_that_intake_refuses_because_it_closes(self):
        self.house.intake.drain()
        device = self.house.connect_device().greeted()
        lines = device.say(START + "SEND\nPING\n")
        self.assertEqual([line[:12] for line in lines], ["421 4.3.2 k1"])
        self.assertTrue(device.ended)

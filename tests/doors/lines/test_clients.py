"""A device that reboots never locks itself out."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.trust.counts import OwnCounts


class ClientTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house(connections_per_client=3)

    def device(self, client="장치-7"):
        return self.house.connect_device(client).greeted()

    def test_the_connection_that_was_idle_for_longest_gives_way(self):
        devices = []
        for _ in range(3):
            devices.append(self.device())
            self.house.pass_time(1)
        devices[0].say("PING\n")
        self.device("other")
        fourth = self.device()
        [line] = devices[1].lines()
        self.assertTrue(line.startswith("421 4.7.0 - closing: "))
        self.assertTrue(devices[1].ended)
        for device in (devices[0], devices[2], fourth):
            self.assertEqual(len(device.say("PING\n")), 1)
        [event] = self.house.journal.of("connection.displaced")
        self.assertEqual((event["client"], event["door"]), ("장치-7", "lines"))

    def test_one_at_work_does_not_give_way(self):
        writing, owed, idle = self.device(), self.device(), self.device()
        self.house.queue.hold = True
        writing.send(b"MAIL k\n")
        owed.send(b"MAIL k\nFROM a@x.kr\nTO b@x.kr\nSEND\n")
        self.house.pass_time(1)
        self.device()
        self.assertEqual([line[:3] for line in idle.lines()], ["421"])
        self.assertEqual((writing.lines(), owed.lines()), ([], []))

    def test_what_a_client_holds_at_other_processes_counts_and_they_are_asked_for_room(self):
        counts, asked = OwnCounts(), []
        for _ in range(2):
            counts.add("장치-7")
        self.house.lines.count_clients_with(counts, asked.append)
        held = self.device()
        held.send(b"MAIL k\n")
        refused = self.house.connect_device()
        self.assertIn(" all connections ", refused.lines()[0])
        self.assertEqual(asked, ["장치-7"])
        counts.remove("장치-7")
        self.device()
        self.assertEqual((counts.of("장치-7"), asked), (3, ["장치-7"]))

    def test_one_gives_way_for_one_at_another_process(self):
        first = self.device()
        self.house.pass_time(1)
        others = [self.device(), self.device()]
        self.house.lines.make_room("장치-7")
        self.assertTrue(first.lines()[0].startswith("421 4.7.0 - closing: "))
        # There is room by now, whoever asks once more.
        self.house.lines.make_room("장치-7")
        self.house.lines.make_room("nobody")
        for other in others:
            self.assertEqual(len(other.say("PING\n")), 1)
            other.send(b"MAIL k\n")
        self.device().send(b"MAIL k\n")
        self.house.lines.make_room("장치-7")
        for other in others:
            self.assertEqual(other.lines(), [])

    def test_a_new_one_is_refused_while_all_are_at_work(self):
        for _ in range(3):
            self.device().send(b"MAIL k\n")
        refused = self.house.connect_device()
        [line] = refused.lines()
        self.assertTrue(line.startswith("421 4.7.0 - closing: all connections"), line)
        self.assertTrue(refused.ended)
        [event] = self.house.journal.of("connection.refused")
        self.assertEqual(event["client"], "장치-7")

    def test_one_that_has_been_silent_for_long_within_its_message_gives_way(self):
        stalled, writing, owed = self.device(), self.device(), self.device()
        self.house.queue.hold = True
        for device in (stalled, writing):
            device.send(b"MAIL k\n")
        owed.send(b"MAIL k\nFROM a@x.kr\nTO b@x.kr\nSEND\n")
        self.house.pass_time(9)
        writing.send(b"FROM a@x.kr\n")
        self.assertIn(" all connections ", self.house.connect_device().lines()[0])
        self.house.pass_time(2)
        self.device()
        self.assertEqual([line[:3] for line in stalled.lines()], ["421"])
        self.assertEqual((writing.lines(), owed.lines()), ([], []))

    def test_one_that_went_holds_its_place_until_its_messages_are_stored(self):
        self.house.queue.hold = True
        for number in range(3):
            device = self.device()
            device.send(b"MAIL k%d\nFROM a@x.kr\nTO b@x.kr\nSEND\n" % number)
            device.leave()
        self.house.pass_time(60)
        self.assertIn(" all connections ", self.house.connect_device().lines()[0])
        self.house.queue.release()
        self.device()
        self.assertEqual(len(self.house.queue.messages), 3)

    def test_a_connection_that_ended_makes_room(self):
        for _ in range(5):
            self.device().say("EXIT\n")
        for _ in range(5):
            self.device().leave()
        devices = [self.device() for _ in range(3)]
        self.assertEqual([device.lines() for device in devices], [[], [], []])
        self.assertEqual(self.house.journal.of("connection.displaced"), [])


class AddressTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house(connections=3, connections_per_address=2)

    def test_caps_hold_outside_of_tls_and_for_both_doors_together(self):
        self.house.connect()
        device = self.house.connect_device()
        self.assertIsNone(self.house.lines.factory.buildProtocol(device.wire.getPeer()))
        self.house.connect_device(address="192.0.2.8")
        self.assertIsNone(self.house.lines.factory.buildProtocol(None))
        reasons = [event["reason"] for event in self.house.journal.of("connection.refused")]
        self.assertEqual([("one address" in reason) for reason in reasons], [True, False])

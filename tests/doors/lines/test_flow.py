"""What one client can make the gateway hold in memory, and how much it can have under way."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.doors.lines.answering import MOST_OWED
from mailgate.doors.lines.connection import LINES_A_TURN
from mailgate.doors.lines.spool import IN_MEMORY

MANY = 10_000
BUFFER = 64 * 1024
LINES = 5
"""Of `message`."""


def message(number, text="x"):
    return f"MAIL k{number}\nFROM a@x.kr\nTO b@x.kr\nTEXT {text}\nSEND\n".encode()


class FlowTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()

    def test_ten_thousand_messages_in_one_breath_are_stored_in_groups_and_answered_in_order(self):
        queue = self.house.queue
        queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(b"".join(message(number) for number in range(MANY)))
        groups = []
        while queue.waiting:
            groups.append(len(queue.waiting))
            queue.release()
            device.turn()
        self.assertEqual(max(groups), MOST_OWED)
        self.assertLess(len(groups), MANY // 100)
        lines = device.lines()
        self.assertEqual([line.split()[2] for line in lines], [f"k{number}" for number in range(MANY)])
        self.assertEqual({line[:3] for line in lines}, {"250"})
        self.assertEqual(len(queue.messages), MANY)

    def test_replies_keep_their_order_whatever_is_known_first(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(message(1) + b"PING\nSTAT k1\nCHECK\n" + message(2) + b"HELP\n")
        self.assertEqual(device.lines(), [])
        self.house.queue.release()
        replies = [line[:9] for line in device.lines()]
        self.assertEqual(replies, ["250 2.0.0", "250 2.0.0", "250 2.0.0", "503 5.5.1", "250 2.0.0", "214 2.0.0"])

    def test_nothing_is_read_while_enough_is_owed(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(b"".join(message(number) for number in range(MOST_OWED - 1)))
        self.assertEqual(device.wire.producerState, "producing")
        device.send(message(MOST_OWED) * 3)
        self.assertEqual(device.wire.producerState, "paused")
        self.assertEqual(len(self.house.queue.waiting), MOST_OWED)
        self.house.queue.release()
        device.turn()
        self.assertEqual(device.wire.producerState, "producing")

    def test_a_client_that_reads_no_replies_is_not_listened_to(self):
        device = self.house.connect_device().greeted()
        wire, full = device.wire, device.read_nothing(BUFFER)
        device.send(b"HELP\n" * MANY)
        self.assertTrue(full)
        self.assertEqual(wire.producerState, "paused")
        before = len(device.received)
        self.assertLess(before, 4 * BUFFER)
        wire.producer.resumeProducing()
        self.assertEqual(len(device.lines()), MANY)
        self.assertEqual(wire.producerState, "producing")

    def test_one_that_asks_a_little_at_a_time_and_reads_no_replies_is_noticed_too(self):
        device = self.house.connect_device().greeted()
        full = device.read_nothing(BUFFER)
        asked = 0
        while not full and asked < MANY:
            device.send(b"HELP\n" * 20)
            asked += 20
        self.assertTrue(full)
        self.assertEqual(device.wire.producerState, "paused")
        device.wire.producer.resumeProducing()
        self.assertEqual(device.wire.producerState, "producing")
        self.assertEqual(len(device.say("PING\n")), asked + 1)

    def test_one_that_read_many_replies_is_closed_as_any_other(self):
        device = self.house.connect_device().greeted()
        lines = device.say("HELP\n" * 1000 + "EXIT\n")
        self.assertEqual([line[:3] for line in lines[-2:]], ["214", "221"])
        self.assertTrue(device.wire.gone)
        self.assertFalse(device.wire.aborted)

    def test_one_that_reads_no_replies_is_closed_like_an_idle_one(self):
        device = self.house.connect_device(stubborn=True).greeted()
        device.read_nothing(BUFFER)
        device.send(b"HELP\n" * MANY)
        self.house.pass_time(601)
        self.assertEqual(device.wire.producerState, "producing")
        self.assertFalse(device.wire.aborted)
        self.house.pass_time(6)
        self.assertTrue(device.wire.aborted)

    def test_what_came_before_it_went_is_stored_although_it_read_no_replies(self):
        device = self.house.connect_device().greeted()
        device.read_nothing(BUFFER)
        device.send(b"HELP\n" * 1000 + message(1) + message(2))
        self.assertEqual(self.house.queue.messages, {})
        device.leave()
        self.assertEqual(len(self.house.queue.messages), 2)

    def test_nothing_is_read_after_the_last_word_of_the_client(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(message(1) + b"EXIT\n")
        self.assertEqual(device.wire.producerState, "paused")
        self.house.queue.release()
        self.assertEqual([line[:3] for line in device.lines()], ["250", "221"])
        self.assertTrue(device.ended)

    def test_one_client_leaves_the_others_their_turn(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.hand_over(b"".join(message(number) for number in range(100)))
        self.assertEqual(len(self.house.queue.waiting), LINES_A_TURN // LINES)
        self.assertEqual(device.wire.producerState, "paused")
        device.hand_over(b"PING\n")
        self.assertEqual(len(self.house.queue.waiting), LINES_A_TURN // LINES)
        self.house.clock.advance(0)
        self.assertEqual(len(self.house.queue.waiting), 100)
        self.assertEqual(device.wire.producerState, "producing")

    def test_lines_that_ask_nothing_count_too(self):
        device, other = (self.house.connect_device().greeted() for _ in range(2))
        for octets in (b"MAIL k\n" + b"TEXT a\n" * 2000, b"TEXT#0\n\n" * 1000):
            device.hand_over(octets)
            self.assertEqual(device.wire.producerState, "paused")
            self.house.clock.advance(0)
            self.assertEqual(device.wire.producerState, "producing")
        device.hand_over(b"\n" * 10_000 + b"DROP\n")
        self.assertEqual([line[:12] for line in device.lines()], ["250 2.0.0 k "])
        self.assertEqual(len(other.say("PING\n")), 1)

    def test_one_that_went_before_its_turn_came_again_is_served_to_the_end(self):
        device = self.house.connect_device().greeted()
        device.hand_over(b"".join(message(number) for number in range(100)))
        device.leave()
        self.assertEqual(len(self.house.queue.messages), 100)

    def test_one_whose_turn_comes_again_after_the_end_has_none(self):
        device = self.house.connect_device().greeted()
        device.hand_over(b"".join(message(number) for number in range(100)))
        device._server.wrappedProtocol.abort()
        self.house.clock.advance(0)
        self.assertEqual(len(self.house.queue.messages), LINES_A_TURN // LINES)
        self.assertEqual(self.house.lines._desk.connections._open.watched, set())

    def test_what_was_sent_completely_is_stored_although_the_client_has_gone(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(b"".join(message(number) for number in range(300)) + b"MAIL k300\nFROM a@x.kr\nTEXT#3\nab")
        device.leave()
        while self.house.queue.waiting:
            self.house.queue.release()
        self.assertEqual(len(self.house.queue.messages), 300)
        self.assertTrue(all(spool.closed for spool in self.house.spools))

    def test_a_large_part_is_not_kept_in_memory(self):
        device = self.house.connect_device().greeted()
        device.send(b"MAIL k\nFROM a@x.kr\nTO b@x.kr\nFILE#60000 a/b c\n")
        for _ in range(6):
            device.send(b"x" * 10_000)
            [spool] = self.house.spools
            self.assertLessEqual(len(spool._tail), IN_MEMORY)
        self.assertGreater(spool._written, 50_000)
        [line] = device.say("\nSEND\n")
        self.assertTrue(line.startswith("250 "))
        self.assertIsNone(spool._file)

    def test_large_messages_wait_for_their_turn_in_memory(self):
        self.house.queue.hold = True
        room = self.house.lines._desk.room
        room._octets = 1000
        devices = [self.house.connect_device().greeted() for _ in range(3)]
        for number, device in enumerate(devices):
            device.send(message(number, "x" * 600))
        self.assertEqual(len(self.house.queue.waiting), 1)
        for device in devices:
            self.house.queue.release()
            [line] = device.lines()
            self.assertTrue(line.startswith("250 "))
        self.assertEqual(room._taken, 0)


class ManyOctetsTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house(max_message=2_000_000)

    def test_waiting_messages_count_by_their_octets_too(self):
        self.house.lines._desk.room._octets = 1
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        for number in range(4):
            text = b"x" * 66_000
            device.send(b"MAIL k%d\nFROM a@x.kr\nTO b@x.kr\nTEXT#%d\n%b\nSEND\n" % (number, len(text), text))
        # One is enough: it is larger than what may be owed about.
        self.assertEqual(device.wire.producerState, "paused")
        self.assertEqual(len(self.house.queue.waiting), 1)
        for _ in range(4):
            self.house.queue.release()
            device.turn()
        self.assertEqual(len(device.lines()), 4)

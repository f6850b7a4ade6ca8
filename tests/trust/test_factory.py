"""Limits, deadlines and the journal around a handshake."""

import pytest
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase

from mailgate.trust.factory import CLOSE_SECONDS, HANDSHAKE_SECONDS
from mailgate.trust.refusals import LINES_PER_ADDRESS, MAX_ADDRESSES, PERIOD, RefusalLog


class Base(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, pki, make_gate):
        self.pki = pki
        self.make_gate = make_gate
        self.path = pki.client("kim", *pki.ca.issue("kim"))

    def refusals(self, gate):
        return [entry["reason"] for entry in gate.journal.of("handshake.refused")]


class LimitTests(Base):
    def test_in_all(self):
        gate = self.make_gate(total=2)
        first = gate.connect(self.path, address="192.0.2.1")
        gate.connect(self.path, address="192.0.2.2")
        self.assertTrue(gate.connect(self.path, address="192.0.2.3").refused)
        (entry,) = gate.journal.of("connection.refused")
        self.assertEqual((entry["address"], entry["door"]), ("192.0.2.3", "https"))
        self.assertIn("limit of 2", entry["reason"])
        first.wire.lose(ConnectionLost())
        gate.clock.advance(0)
        self.assertFalse(gate.connect(self.path, address="192.0.2.3").refused)

    def test_of_one_address(self):
        gate = self.make_gate(per_address=1)
        first = gate.connect(self.path)
        self.assertTrue(gate.connect(self.path).refused)
        self.assertTrue(gate.connect(self.path, address="::ffff:192.0.2.7").refused)
        self.assertFalse(gate.connect(self.path, address="192.0.2.8").refused)
        first.wire.lose(ConnectionLost())
        gate.clock.advance(0)
        self.assertFalse(gate.connect(self.path).refused)


class DeadlineTests(Base):
    def test_a_handshake_that_never_ends(self):
        gate = self.make_gate()
        client = gate.connect(self.path)
        gate.clock.advance(HANDSHAKE_SECONDS - 1)
        self.assertFalse(client.wire.gone)
        gate.clock.advance(1)
        gate.clock.advance(0)
        self.assertTrue(client.wire.gone)
        self.assertEqual(self.refusals(gate), ["it did not finish the handshake in time"])
        self.assertEqual(gate.clock.getDelayedCalls(), [])

    def test_garbage_is_looked_at_once(self):
        gate = self.make_gate()
        client = gate.connect(self.path)
        before = client.server._steps
        client.server.dataReceived(b"garbage " * 8192)
        self.assertEqual(client.server._steps - before, 1)
        gate.clock.advance(0)
        self.assertTrue(client.wire.gone)

    def test_no_deadline_once_it_is_complete(self):
        gate = self.make_gate()
        client = gate.connect(self.path).handshake()
        gate.clock.advance(10 * HANDSHAKE_SECONDS)
        self.assertEqual(client.send(b"x").received, b"hello kim\nx")
        self.assertEqual(gate.clock.getDelayedCalls(), [])

    def test_a_peer_that_does_not_answer_the_end_of_the_stream(self):
        gate = self.make_gate()
        client = gate.connect(self.path).handshake()
        client.server.loseConnection()
        gate.clock.advance(CLOSE_SECONDS - 1)
        self.assertFalse(client.wire.gone)
        gate.clock.advance(1)
        gate.clock.advance(0)
        self.assertTrue(client.wire.gone)
        self.assertEqual(gate.clock.getDelayedCalls(), [])
        self.assertEqual(gate.factory.connections, ())


class JournalTests(Base):
    def test_connecting_and_leaving_is_no_refusal(self):
        gate = self.make_gate()
        gate.connect(self.path).wire.lose(ConnectionLost())
        gate.clock.advance(0)
        self.assertEqual(self.refusals(gate), [])

    def test_a_completed_handshake_is_no_refusal(self):
        gate = self.make_gate()
        gate.connect(self.path).handshake().wire.lose(ConnectionLost())
        gate.clock.advance(0)
        self.assertEqual(self.refusals(gate), [])

    def test_leaving_in_the_middle(self):
        gate = self.make_gate()
        client = gate.connect(self.path)
        client.begin()
        client.wire.lose(ConnectionLost())
        gate.clock.advance(0)
        self.assertEqual(self.refusals(gate), ["it left in the middle of the handshake"])

    def test_plain_http(self):
        self.assert_noise(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "it spoke plain HTTP, not TLS")

    def test_something_else(self):
        self.assert_noise(b"EHLO device.example\r\n" * 3, "it did not speak TLS")

    def assert_noise(self, octets, reason):
        gate = self.make_gate()
        client = gate.connect(self.path)
        client.server.dataReceived(octets)
        gate.clock.advance(0)
        self.assertTrue(client.wire.gone)
        self.assertEqual(self.refusals(gate), [reason])

    def test_a_client_that_does_not_trust_the_gateway(self):
        gate = self.make_gate()
        client = gate.connect(self.path, trusting=False).handshake()
        self.assertTrue(client.wire.gone)
        (reason,) = self.refusals(gate)
        self.assertEqual(reason, "it ended the handshake with the alert: unknown ca")


class AlpnTests(Base):
    def negotiated(self, offered, ours=(b"http/1.1",)):
        client = self.make_gate(alpn=ours).connect(self.path, alpn=offered).handshake()
        self.assertEqual(client.received, b"hello kim\n")
        return client.tls.selected_alpn_protocol()

    def test_choice(self):
        self.assertEqual(self.negotiated(["h2", "http/1.1"]), "http/1.1")
        self.assertEqual(self.negotiated(["a", "b"], (b"b", b"a")), "b")
        self.assertIsNone(self.negotiated(["h2"]))
        self.assertIsNone(self.negotiated([]))
        self.assertIsNone(self.negotiated(["http/1.1"], ()))


class RefusalLogTests(Base):
    def setUp(self):
        gate = self.make_gate()
        self.clock, self.journal = gate.clock, gate.journal
        self.journal.events.clear()
        self.log = RefusalLog(self.journal, self.clock)

    def test_a_scanner_gets_ten_lines_and_a_count(self):
        for _ in range(1000):
            self.log.record("handshake.refused", address="192.0.2.7", reason="x")
        self.assertEqual(len(self.journal.events), LINES_PER_ADDRESS)
        self.clock.advance(PERIOD)
        (entry,) = self.journal.of("refusals.omitted")
        self.assertEqual((entry["address"], entry["count"]), ("192.0.2.7", 1000 - LINES_PER_ADDRESS))
        self.log.record("handshake.refused", address="192.0.2.7", reason="x")
        self.assertEqual(len(self.journal.of("handshake.refused")), LINES_PER_ADDRESS + 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_others_keep_their_lines(self):
        for _ in range(100):
            self.log.record("handshake.refused", address="192.0.2.7", reason="x")
        self.log.record("handshake.refused", address="192.0.2.8", reason="y")
        self.assertEqual(self.journal.events[-1]["address"], "192.0.2.8")
        self.log.close()

    def test_ever_new_addresses_are_bounded_too(self):
        for number in range(5 * MAX_ADDRESSES):
            self.log.record("handshake.refused", address=f"2001:db8::{number:x}", reason="x")
        self.assertEqual(len(self.journal.events), MAX_ADDRESSES)
        self.log.close()
        (entry,) = self.journal.of("refusals.omitted")
        self.assertEqual((entry["address"], entry["count"]), ("others", 4 * MAX_ADDRESSES))
        self.assertEqual(self.clock.getDelayedCalls(), [])

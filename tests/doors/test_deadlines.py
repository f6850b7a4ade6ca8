"""A slow client gets a bounded time, however it drips."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.doors.channel import IDLE_SECONDS

HEAD = b"POST /v1/messages HTTP/1.1\r\nHost: gate.example.com\r\nContent-Type: application/json\r\n"


class DeadlineTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.house = open_house(request_head=30.0, max_message=10 * 1024 * 1024)
        self.raw = http_request
        self.client = self.house.connect()

    def drip(self, octets, seconds):
        """Send one octet a second."""
        for at in range(seconds):
            if not self.client.ended:
                self.client.send(octets[at : at + 1])
            self.house.clock.advance(1)
            self.client.turn()

    def assert_timed_out(self):
        response = self.client.turn().response()
        self.assertEqual((response.status, response.json["code"]), (408, "request_timeout"))
        self.assertEqual(response.headers["Connection"], "close")
        self.assertTrue(self.client.ended)
        self.assertEqual(self.client.received, b"")
        (entry,) = self.house.journal.of("request.refused")
        self.assertEqual((entry["reason"], entry["address"]), ("request_timeout", "192.0.2.7"))

    def test_a_dripped_request_line(self):
        self.drip(b"G" * 40, 29)
        self.assertEqual(self.client.received, b"")
        self.drip(b"G" * 40, 2)
        self.assert_timed_out()

    def test_dripped_fields(self):
        self.client.send(HEAD)
        self.drip(b"X-A: b\r\n" * 10, 31)
        self.assert_timed_out()

    def test_the_second_request_has_its_own_time(self):
        self.client.request("GET", "/v1/whoami")
        self.house.pass_time(40)
        self.client.send(HEAD)
        self.house.pass_time(29)
        self.assertEqual(self.client.turn().received, b"")
        self.house.pass_time(2)
        self.assert_timed_out()

    def test_a_dripped_body(self):
        self.client.send(HEAD + b"Content-Length: 100\r\n\r\n")
        self.drip(b"{" * 40, 29)
        self.assertEqual(self.client.received, b"")
        self.drip(b"{" * 40, 2)
        self.assert_timed_out()

    def test_a_large_body_has_a_second_more_for_each_64_kib(self):
        self.client.send(HEAD + b"Content-Length: %d\r\n\r\n" % (20 * 64 * 1024))
        self.house.pass_time(49)
        self.assertEqual(self.client.turn().received, b"")
        self.house.pass_time(2)
        self.assert_timed_out()

    def test_chunks_earn_time_as_they_come(self):
        self.client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
        self.client.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
        self.house.pass_time(30)
        self.assertEqual(self.client.turn().received, b"")
        self.house.pass_time(2)
        self.assert_timed_out()

    def test_a_handler_may_take_its_time(self):
        self.house.queue.hold = True
        message = {"from": "a@x.kr", "to": ["b@x.kr"], "text": "늦은 답"}
        self.client.send(self.raw("POST", "/v1/messages", message))
        self.house.pass_time(200)
        self.house.queue.release()
        self.assertEqual(self.client.turn().response().status, 202)

    def test_an_idle_connection_is_closed_without_a_word(self):
        self.client.request("GET", "/v1/whoami")
        self.house.pass_time(IDLE_SECONDS - 1)
        self.assertFalse(self.client.turn().ended)
        self.house.pass_time(2)
        self.assertTrue(self.client.turn().ended)
        self.assertEqual(self.client.received, b"")
        self.assertEqual(self.house.journal.of("request.refused"), [])

    def test_a_client_that_never_asks_is_closed_too(self):
        self.house.pass_time(IDLE_SECONDS + 1)
        self.assertTrue(self.client.turn().ended)

    def test_a_client_that_ignores_the_end_is_cut(self):
        self.client.stubborn = True
        self.house.pass_time(IDLE_SECONDS + 1)
        self.client.turn()
        self.house.pass_time(15)
        self.assertTrue(self.client.wire.aborted)

    def test_nothing_is_scheduled_where_nobody_is(self):
        self.client.leave()
        self.assertEqual(self.house.clock.getDelayedCalls(), [])

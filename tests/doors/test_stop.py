"""How the door closes."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

MESSAGE = {"from": "a@x.kr", "to": ["b@x.kr"], "text": "마지막 편지"}


class StopTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.house = open_house()
        self.raw = http_request

    def test_without_connections_at_once(self):
        self.assertIsNone(self.successResultOf(self.house.door.stop()))

    def test_idle_connections_at_once(self):
        client = self.house.connect()
        client.request("GET", "/v1/whoami")
        stopped = self.house.door.stop()
        self.assertTrue(client.turn().ended)
        self.successResultOf(stopped)

    def test_what_is_under_way_is_answered(self):
        self.house.queue.hold = True
        client = self.house.connect().send(self.raw("POST", "/v1/messages", MESSAGE))
        stopped = self.house.door.stop()
        self.house.pass_time(5)
        self.assertNoResult(stopped)
        self.house.queue.release()
        response = client.turn().response()
        self.assertEqual((response.status, response.headers["Connection"]), (202, "close"))
        self.successResultOf(stopped)

    def test_a_body_under_way_is_taken(self):
        octets = self.raw("POST", "/v1/messages", MESSAGE)
        client = self.house.connect().send(octets[:-5])
        stopped = self.house.door.stop()
        self.house.intake.drain()
        response = client.send(octets[-5:]).response()
        self.assertEqual((response.status, response.json["code"]), (503, "draining"))
        self.successResultOf(stopped)

    def test_a_request_that_begins_too_late(self):
        client = self.house.connect().send(b"GET /v1/whoami HTTP/1.1\r\n")
        stopped = self.house.door.stop()
        response = client.send(b"Host: x\r\n\r\n").response()
        self.assertEqual((response.status, response.json["code"]), (503, "draining"))
        self.assertEqual(response.headers["Connection"], "close")
        self.assertIn("Retry-After", response.headers)
        self.successResultOf(stopped)

    def test_all_after_ten_seconds(self):
        self.house.queue.hold = True
        waiting = self.house.connect().send(self.raw("POST", "/v1/messages", MESSAGE))
        slow = self.house.connect().send(b"GET /v1/who")
        stopped = self.house.door.stop()
        self.house.pass_time(9)
        self.assertFalse(waiting.wire.aborted)
        self.assertNoResult(stopped)
        self.house.pass_time(1)
        self.house.clock.advance(0)
        self.assertTrue(waiting.wire.aborted)
        self.assertTrue(slow.wire.aborted)
        self.successResultOf(stopped)
        self.house.queue.release()
        self.assertEqual(len(self.house.queue.messages), 1)

    def test_a_connection_that_still_came_in(self):
        first = self.house.connect().send(b"GET /v1/who")
        stopped = self.house.door.stop()
        late = self.house.connect()
        self.assertTrue(late.turn().ended)
        first.leave()
        self.successResultOf(stopped)

    def test_twice(self):
        client = self.house.connect().send(b"GET /v1/who")
        first, second = self.house.door.stop(), self.house.door.stop()
        client.leave()
        self.successResultOf(first)
        self.successResultOf(second)
        self.assertEqual(self.house.clock.getDelayedCalls(), [])

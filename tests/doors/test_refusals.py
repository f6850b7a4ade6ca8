"""Requests that are refused by their head, their path or their size, in the contract's form."""

import pytest
from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import SynchronousTestCase

from mailgate.model.refusal import Refusal, RefusalCode

SMALL_LIMIT = 1000 * 14 // 10 + 64 * 1024
LIMIT = 100_000 * 14 // 10 + 64 * 1024


class Base(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.open_house = open_house
        self.house = open_house()
        self.raw = http_request
        self.client = self.house.connect()

    def assert_problem(self, response, status, code):
        self.assertEqual((response.status, response.json["code"]), (status, code))
        self.assertEqual(response.headers["Content-Type"], "application/problem+json")
        self.assertEqual(response.json["request_id"], response.headers["X-Request-Id"])
        (entry,) = self.house.journal.of("request.refused")
        self.assertEqual((entry["reason"], entry["request"]), (code, response.headers["X-Request-Id"]))


class PathTests(Base):
    def test_no_such_path(self):
        for path in ("/", "/v1", "/v1/messages/", "/v1//messages", "/v1/../v1/whoami", "/v2/messages", "/docs"):
            self.house.journal.events.clear()
            self.assert_problem(self.client.request("GET", path), 404, "not_found")

    def test_other_method(self):
        for method in ("DELETE", "PUT", "PATCH", "TRACE", "BREW"):
            self.house.journal.events.clear()
            response = self.client.request(method, "/v1/messages")
            self.assert_problem(response, 405, "method_not_allowed")
            self.assertEqual(response.headers["Allow"], "OPTIONS, POST")

    def test_get_on_the_collection(self):
        self.assertEqual(self.client.request("GET", "/v1/messages").status, 405)

    def test_options(self):
        response = self.client.request("OPTIONS", "/v1/whoami")
        self.assertEqual((response.status, response.headers["Allow"]), (204, "GET, HEAD, OPTIONS"))
        self.assertNotIn("Content-Length", response.headers)

    def test_options_of_the_server(self):
        self.assertEqual(self.client.request("OPTIONS", "*").status, 204)

    def test_the_connection_goes_on(self):
        self.client.request("GET", "/nothing")
        self.assertEqual(self.client.request("GET", "/v1/whoami").status, 200)


class MediaTypeTests(Base):
    def test_other_types(self):
        headers = [
            {"content_type": "text/plain"},
            {"content_type": "application/x-www-form-urlencoded"},
            {"content_type": "multipart/form-data; boundary=x"},
            {"content_type": "application/json; charset=euc-kr"},
            {"content_type": "application/json", "content_encoding": "gzip"},
            {},
        ]
        for fields in headers:
            self.house.journal.events.clear()
            response = self.client.request("POST", "/v1/messages", b"{}", **fields)
            self.assert_problem(response, 415, "unsupported_media_type")

    def test_parameters_are_fine(self):
        response = self.client.request(
            "POST", "/v1/messages", b"{", content_type="Application/JSON ; charset=UTF-8"
        )
        self.assertEqual(response.status, 400)

    def test_query_at_the_collection(self):
        response = self.client.request("POST", "/v1/messages?dry_run=1", b"{}", content_type="application/json")
        self.assert_problem(response, 422, "validation_failed")


class SizeTests(Base):
    def head(self, **headers):
        return self.raw("POST", "/v1/messages", content_type="application/json", **headers)

    def test_refused_before_the_body_is_read(self):
        response = self.client.send(self.head(content_length=str(LIMIT + 1))).response()
        self.assert_problem(response, 413, "message_too_large")
        self.assertEqual((response.json["limit"], response.json["actual"]), (LIMIT, LIMIT + 1))
        self.assertEqual(response.headers["Connection"], "close")

    def test_up_to_the_limit_it_is_read(self):
        self.client.send(self.head(content_length=str(LIMIT)))
        self.assertEqual(self.client.received, b"")

    def test_a_client_s_own_limit(self):
        client = self.house.connect("small")
        response = client.send(self.head(content_length=str(SMALL_LIMIT + 1))).response()
        self.assertEqual((response.status, response.json["limit"]), (413, SMALL_LIMIT))

    def test_a_stranger_s_body_is_not_read(self):
        response = self.house.connect("stranger").send(self.head(content_length="1000")).response()
        self.assert_problem(response, 403, "client_unknown")
        self.assertEqual(response.headers["Connection"], "close")

    def test_chunks_are_counted(self):
        self.client.send(self.head(transfer_encoding="chunked"))
        chunk = b"8000\r\n" + b" " * 0x8000 + b"\r\n"
        for _ in range(LIMIT // 0x8000):
            self.client.send(chunk)
            self.assertEqual(self.client.received, b"")
        self.client.send(chunk + chunk + b"0\r\n\r\n")
        response = self.client.response()
        self.assert_problem(response, 413, "message_too_large")
        self.assertEqual(response.headers["Connection"], "close")
        self.assertEqual(self.client.received, b"")

    def test_expect_is_answered_where_the_body_is_wanted(self):
        self.client.send(self.head(content_length="2", expect="100-continue"))
        self.assertEqual(self.client.received, b"HTTP/1.1 100 Continue\r\n\r\n")
        self.client.received = b""
        self.assertEqual(self.client.send(b"{}").response().status, 422)

    def test_expect_is_not_answered_where_the_body_is_refused(self):
        self.client.send(self.head(content_length=str(LIMIT + 1), expect="100-continue"))
        self.assertTrue(self.client.received.startswith(b"HTTP/1.1 413 "))

    def test_what_still_comes_is_thrown_away_for_a_while(self):
        """The answer must not be lost to a reset, which closing a socket with unread octets would send."""
        self.client.stubborn = True
        self.client.send(self.head(content_length=str(10 * LIMIT)))
        self.client.send(b"x" * 200_000)
        self.assertEqual(self.client.response().status, 413)
        self.assertFalse(self.client.wire.gone)
        self.assertEqual(self.client.wire.producerState, "producing")
        self.client.send(b"x" * 200_000)
        self.assertEqual(self.client.wire.producerState, "paused")
        self.assertFalse(self.client.wire.gone)
        self.house.pass_time(6)
        self.assertTrue(self.client.wire.aborted)

    def test_for_five_seconds_at_most(self):
        self.client.stubborn = True
        self.client.send(self.head(content_length=str(10 * LIMIT)))
        self.house.pass_time(4)
        self.assertFalse(self.client.wire.gone)
        self.house.pass_time(2)
        self.assertTrue(self.client.wire.aborted)

    def test_a_client_that_has_read_it_is_let_go_at_once(self):
        self.client.send(self.head(content_length=str(10 * LIMIT)))
        self.assertTrue(self.client.wire.gone)
        self.assertFalse(self.client.wire.aborted)


class MemoryTests(Base):
    """Bodies in flight are bounded in all, whatever number of connections there is."""

    def begin(self, client, octets):
        return client.send(self.raw("POST", "/v1/messages", content_length=str(octets)) + b" " * octets)

    def test_no_room(self):
        self.house = self.open_house(max_message=60 * 1024 * 1024)
        largest = self.house.limits.max_body
        self.house.door.desk.bodies.hold("others", 4 * largest - 100)
        response = self.begin(self.house.connect(), 101).response()
        self.assert_problem(response, 503, "queue_full")
        self.assertGreaterEqual(int(response.headers["Retry-After"]), 1)
        client = self.house.connect()
        self.assertEqual(self.begin(client, 100).response().status, 415)

    def test_room_that_is_taken_meanwhile(self):
        bodies = self.house.door.desk.bodies
        self.client.send(self.raw("POST", "/v1/messages", transfer_encoding="chunked") + b"1\r\na\r\n")
        self.assertEqual(self.client.received, b"")
        bodies.hold("others", 256 * 1024 * 1024)
        # What follows in the same octets is neither taken nor answered again.
        self.client.send(b"1\r\nb\r\n" * 3 + b"nonsense\r\n")
        self.assert_problem(self.client.response(), 503, "queue_full")
        self.assertEqual(self.client.received, b"")
        self.assertEqual(bodies.held, 256 * 1024 * 1024)

    def test_room_is_given_back(self):
        bodies = self.house.door.desk.bodies
        self.assertEqual(self.client.request("POST", "/v1/messages", b" " * 1000).status, 415)
        self.client.send(self.raw("POST", "/v1/messages", content_length="1000") + b" " * 500)
        self.assertEqual(bodies.held, 500)
        self.client.leave()
        self.assertEqual(bodies.held, 0)


class DefectTests(Base):
    """A defect of ours is answered too, and told in the log, not to the client."""

    def assert_told(self, response):
        self.assert_problem(response, 503, "storage_unavailable")
        self.assertIn("Retry-After", response.headers)
        self.assertNotIn("secret", response.body.decode())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(self.client.request("GET", "/v1/nothing").status, 404)

    def test_at_once(self):
        def describe(identity):
            raise ZeroDivisionError("secret")

        self.house.intake.describe = describe
        self.assert_told(self.client.request("GET", "/v1/whoami"))

    def test_later(self):
        failing = Deferred()
        self.house.intake.describe = lambda identity: failing
        self.client.send(self.raw("GET", "/v1/whoami"))
        failing.errback(ZeroDivisionError("secret"))
        self.assert_told(self.client.turn().response())

    def test_a_look_up_that_fails_does_not_take_back_an_acceptance(self):
        self.house.intake.wait = lambda identity, message, seconds: fail(ZeroDivisionError())
        message = {"from": "a@x.kr", "to": ["b@x.kr"], "text": "받았습니다"}
        response = self.client.request("POST", "/v1/messages", message, prefer="wait=5")
        self.assertEqual(response.status, 202)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_storage_trouble_at_a_look_up(self):
        trouble = Refusal(RefusalCode.STORAGE_UNAVAILABLE, "the queue can't be used", retry_after=30)
        self.house.intake.describe = lambda identity: succeed(trouble)
        response = self.client.request("GET", "/v1/whoami")
        self.assertEqual((response.status, response.headers["Retry-After"]), (503, "30"))

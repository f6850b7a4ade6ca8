"""What the routes answer to a client in good standing."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.model.outcome import Status
from mailgate.model.refusal import Refusal, RefusalCode

MESSAGE = {
    "from": {"email": "dev@x.kr", "name": "장치 7"},
    "to": ["김 <kim@한국.kr>", {"email": "lee@x.kr"}],
    "subject": "온도 경보",
    "text": "3층 서버실 온도가 40도를 넘었습니다.",
}


class Base(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.house = open_house()
        self.raw = http_request
        self.client = self.house.connect()

    def post(self, body=MESSAGE, **headers):
        return self.client.request("POST", "/v1/messages", body, **headers)

    def post_waiting(self, seconds):
        return self.client.send(self.raw("POST", "/v1/messages", MESSAGE, prefer=f"wait={seconds}"))

    def only_message(self):
        (message,) = self.house.queue.messages.values()
        return message


class SubmitTests(Base):
    def test_accepted_once_durable(self):
        response = self.post()
        message = self.only_message()
        self.assertEqual(response.status, 202)
        self.assertEqual(response.json["id"], message.id)
        self.assertEqual(response.json["status"], "queued")
        self.assertEqual(response.headers["Location"], f"/v1/messages/{message.id}")
        self.assertEqual(response.headers["Content-Type"], "application/json")
        self.assertNotIn("Connection", response.headers)
        self.assertEqual(message.client, "장치-7")
        self.assertEqual(message.recipients, ("kim@xn--3e0b707e.kr", "lee@x.kr"))

    def test_no_answer_before_it_is_durable(self):
        self.house.queue.hold = True
        self.client.send(self.raw("POST", "/v1/messages", MESSAGE))
        self.assertEqual(self.client.received, b"")
        self.house.queue.release()
        self.assertEqual(self.client.turn().response().status, 202)

    def test_chunked(self):
        octets = self.raw("POST", "/v1/messages", MESSAGE).partition(b"\r\n\r\n")[2]
        head = self.raw("POST", "/v1/messages", content_type="application/json", transfer_encoding="chunked")
        half = len(octets) // 2
        for part in (head, *(b"%x\r\n%b\r\n" % (len(o), o) for o in (octets[:half], octets[half:])), b"0\r\n\r\n"):
            self.client.send(part)
        self.assertEqual(self.client.response().status, 202)

    def test_a_client_that_vanishes_cancels_nothing(self):
        self.house.queue.hold = True
        self.client.send(self.raw("POST", "/v1/messages", MESSAGE))
        self.client.leave()
        self.house.queue.release()
        self.only_message()
        self.assertEqual(len(self.house.journal.of("message.accepted")), 1)

    def test_pipelined_requests_are_answered_in_order(self):
        self.house.queue.hold = True
        octets = self.raw("POST", "/v1/messages", MESSAGE)
        self.client.send(octets + self.raw("GET", "/v1/whoami") + self.raw("GET", "/v1/nothing"))
        self.assertEqual(self.client.received, b"")
        self.house.queue.release()
        self.client.turn()
        self.assertEqual([self.client.response().status for _ in range(3)], [202, 200, 404])

    def test_many_pipelined_at_once(self):
        self.client.send(self.raw("GET", "/v1/whoami") * 50)
        self.assertEqual({self.client.response().status for _ in range(50)}, {200})

    def test_dry_run_queues_nothing(self):
        response = self.post({**MESSAGE, "dry_run": True})
        self.assertEqual(response.status, 200)
        self.assertEqual(response.json["status"], "dry_run")
        self.assertEqual(self.house.queue.messages, {})

    def test_what_intake_refuses(self):
        self.house.refusal = Refusal(RefusalCode.STORAGE_UNAVAILABLE, "the queue can't be used", retry_after=12.2)
        response = self.post()
        self.assertEqual((response.status, response.headers["Retry-After"]), (503, "13"))
        self.assertEqual(len(self.house.journal.of("message.refused")), 1)
        self.assertEqual(self.house.journal.of("request.refused"), [])

    def test_rate_limit_says_when(self):
        self.client = self.house.connect("limited")
        self.assertEqual(self.post().status, 202)
        response = self.post()
        self.assertEqual((response.status, response.json["code"]), (429, "rate_limited"))
        self.assertGreaterEqual(int(response.headers["Retry-After"]), 1)

    def test_every_fault_of_a_message(self):
        response = self.post({"from": "nobody", "to": ["also not"], "text": "x", "colour": "red"})
        self.assertEqual(response.status, 422)
        pointers = {error["pointer"] for error in response.json["errors"]}
        self.assertLessEqual({"#/from", "#/to/0", "#/colour"}, pointers)
        (entry,) = self.house.journal.of("request.refused")
        self.assertEqual((entry["reason"], entry["client"]), ("validation_failed", "장치-7"))

    def test_a_body_that_is_no_json(self):
        response = self.client.request("POST", "/v1/messages", b"{", content_type="application/json")
        self.assertEqual((response.status, response.json["code"]), (400, "invalid_json"))


class Rfc822Tests(Base):
    MAIL = "From: 장치 <dev@x.kr>\r\nTo: kim@y.kr\r\nSubject: 온도\r\n\r\n3층\r\n.\r\n".encode()

    def post_mail(self, query, **headers):
        return self.client.request(
            "POST", "/v1/messages?" + query, self.MAIL, content_type="message/rfc822", **headers
        )

    def test_accepted_with_the_envelope_of_the_query(self):
        response = self.post_mail("from=bounce@x.kr&to=kim%2Balarm@y.kr&to=lee@%ED%95%9C%EA%B5%AD.kr")
        self.assertEqual(response.status, 202)
        message = self.only_message()
        self.assertEqual(message.sender, "bounce@x.kr")
        self.assertEqual(message.recipients, ("kim+alarm@y.kr", "lee@xn--3e0b707e.kr"))
        self.assertIn("Subject: 온도".encode(), message.content)
        self.assertTrue(message.content.endswith("\r\n\r\n3층\r\n.\r\n".encode()))

    def test_an_envelope_is_required(self):
        response = self.post_mail("to=kim@y.kr")
        self.assertEqual((response.status, response.json["code"]), (422, "validation_failed"))

    def test_other_parameters(self):
        response = self.post_mail("from=a@x.kr&to=b@y.kr&bcc=c@y.kr")
        self.assertEqual(response.status, 422)
        self.assertIn("bcc", str(response.json))


class IdempotencyTests(Base):
    def test_replay(self):
        first = self.post(idempotency_key="주문-42".encode().hex())
        again = self.post(idempotency_key="주문-42".encode().hex())
        self.assertEqual((again.status, again.json["id"]), (202, first.json["id"]))
        self.assertNotIn("Idempotent-Replayed", first.headers)
        self.assertEqual(again.headers["Idempotent-Replayed"], "true")
        self.only_message()

    def test_other_content(self):
        self.post(idempotency_key="k")
        response = self.post({**MESSAGE, "subject": "다른 것"}, idempotency_key="k")
        self.assertEqual((response.status, response.json["code"]), (422, "idempotency_key_reused"))

    def test_the_first_is_still_in_progress(self):
        self.house.queue.hold = True
        octets = self.raw("POST", "/v1/messages", MESSAGE, idempotency_key="k")
        self.client.send(octets)
        response = self.house.connect().send(octets).response()
        self.assertEqual((response.status, response.json["code"]), (409, "idempotency_in_progress"))
        self.house.queue.release()
        self.assertEqual(self.client.turn().response().status, 202)

    def test_two_keys_are_none(self):
        octets = self.raw("POST", "/v1/messages", MESSAGE, idempotency_key="a\r\nIdempotency-Key: b")
        response = self.client.send(octets).response()
        self.assertEqual((response.status, response.json["code"]), (400, "invalid_idempotency_key"))

    def test_bad_key(self):
        response = self.post(idempotency_key='"open')
        self.assertEqual((response.status, response.json["code"]), (400, "invalid_idempotency_key"))


class WaitTests(Base):
    def test_decided_in_time(self):
        self.post_waiting(10)
        self.assertEqual(self.client.received, b"")
        message = self.only_message()
        self.house.queue.records[message.id] = (Status.ACCEPTED, 1)
        self.house.intake.settled(message.id)
        response = self.client.turn().response()
        self.assertEqual((response.status, response.json["status"]), (200, "accepted"))
        self.assertEqual(response.headers["Preference-Applied"], "wait=10")
        self.assertEqual(response.headers["Location"], f"/v1/messages/{message.id}")

    def test_not_decided_in_time(self):
        self.post_waiting(10)
        self.house.clock.advance(10)
        response = self.client.turn().response()
        self.assertEqual((response.status, response.json["status"]), (202, "queued"))
        self.assertNotIn("Preference-Applied", response.headers)

    def test_nobody_waits_longer_than_a_minute(self):
        self.post_waiting(86400)
        self.house.clock.advance(60)
        self.assertEqual(self.client.turn().response().status, 202)

    def test_a_closing_door_lets_nobody_wait(self):
        self.post_waiting(60)
        stopped = self.house.door.stop()
        response = self.client.turn().response()
        self.assertEqual((response.status, response.headers["Connection"]), (202, "close"))
        self.assertIsNone(self.successResultOf(stopped))
        self.house.clock.advance(60)  # intake's own timer


class LookUpTests(Base):
    def test_own_message(self):
        location = self.post().headers["Location"]
        response = self.client.request("GET", location)
        self.assertEqual((response.status, response.json["status"]), (200, "queued"))

    def test_head_has_no_body(self):
        location = self.post().headers["Location"]
        self.client.send(self.raw("HEAD", location))
        head, _, rest = self.client.received.partition(b"\r\n\r\n")
        self.assertTrue(head.startswith(b"HTTP/1.1 200 "))
        self.assertNotIn(b"Content-Length: 0\r\n", head + b"\r\n")
        self.assertEqual(rest, b"")

    def test_someone_else_s_message_is_not_found(self):
        location = self.post().headers["Location"]
        response = self.house.connect("other").request("GET", location)
        self.assertEqual((response.status, response.json["code"]), (404, "not_found"))

    def test_what_is_no_identifier_is_not_found(self):
        for path in ("/v1/messages/42", "/v1/messages/%00", "/v1/messages/%ff", "/v1/messages/%EA%B0%80"):
            self.assertEqual(self.client.request("GET", path).status, 404)

    def test_unknown_query_parameter(self):
        location = self.post().headers["Location"]
        response = self.client.request("GET", location + "?verbose=1")
        self.assertEqual((response.status, response.json["code"]), (422, "validation_failed"))
        self.assertIn("verbose", str(response.json))


class WhoamiTests(Base):
    def test_who(self):
        response = self.client.request("GET", "/v1/whoami")
        self.assertEqual(response.status, 200)
        self.assertEqual((response.json["client"], response.json["door"]), ("장치-7", "https"))


class HeadersTests(Base):
    def test_on_every_answer(self):
        answers = [
            self.client.request("GET", "/v1/whoami"),
            self.client.request("GET", "/nowhere"),
            self.client.request("OPTIONS", "/v1/messages"),
            self.post({}),
        ]
        for answer in answers:
            self.assertEqual(answer.headers["Cache-Control"], "no-store")
            date = parsedate_to_datetime(answer.headers["Date"])
            self.assertLess(abs((datetime.now(UTC) - date).total_seconds()), 300)
            self.assertNotIn("Mailgate-Certificate-Expires", answer.headers)
        identifiers = {answer.headers["X-Request-Id"] for answer in answers}
        self.assertEqual(len(identifiers), len(answers))
        self.assertEqual(answers[1].json["request_id"], answers[1].headers["X-Request-Id"])
        self.assertEqual(answers[1].headers["Content-Type"], "application/problem+json")

    def test_certificate_in_its_last_days(self):
        response = self.house.connect(days=20).request("GET", "/v1/whoami")
        expires = parsedate_to_datetime(response.headers["Mailgate-Certificate-Expires"])
        self.assertEqual((expires - datetime.now(UTC)).days, 19)

    def test_http_1_0_is_answered_and_closed(self):
        self.client.send(b"GET /v1/whoami HTTP/1.0\r\n\r\n")
        response = self.client.response()
        self.assertEqual((response.status, response.headers["Connection"]), (200, "close"))
        self.assertTrue(self.client.ended)

    def test_connection_close_is_honoured(self):
        response = self.client.request("GET", "/v1/whoami", connection="close")
        self.assertEqual((response.status, response.headers["Connection"]), (200, "close"))
        self.assertTrue(self.client.ended)

    def test_only_http_1_1_is_negotiated(self):
        self.assertEqual(self.client.tls.selected_alpn_protocol(), "http/1.1")

    def test_absolute_target(self):
        response = self.client.request("GET", "https://gate.example.com/v1/whoami")
        self.assertEqual(response.status, 200)

"""Octets that are no proper HTTP/1.1: one problem, then the end, and never a second request."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

SMUGGLED = b"GET /v1/whoami HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /v1/messages HTTP/1.1\r\nHost: gate.example.com\r\nContent-Type: application/json\r\n"
GET = b"GET /v1/whoami HTTP/1.1\r\n"
HOST = b"Host: gate.example.com\r\n"

MALFORMED = {
    "no request line at all": b"\x16\x03\x01 hello\r\n\r\n",
    "a request line of two words": b"GET /v1/whoami\r\n" + HOST + b"\r\n",
    "a request line of four words": b"GET /v1/whoami x HTTP/1.1\r\n" + HOST + b"\r\n",
    "two spaces": b"GET  /v1/whoami HTTP/1.1\r\n" + HOST + b"\r\n",
    "a method that is no token": b"G(T /v1/whoami HTTP/1.1\r\n" + HOST + b"\r\n",
    "HTTP/2.0": b"GET /v1/whoami HTTP/2.0\r\n" + HOST + b"\r\n",
    "HTTP/1.2": b"GET /v1/whoami HTTP/1.2\r\n" + HOST + b"\r\n",
    "HTTP/2's preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "http/1.1": b"GET /v1/whoami http/1.1\r\n" + HOST + b"\r\n",
    "octets above 127 in the target": b"GET /v1/\xaa HTTP/1.1\r\n" + HOST + b"\r\n",
    "a target that is a bare name": b"GET whoami HTTP/1.1\r\n" + HOST + b"\r\n",
    "the authority form": b"CONNECT smtp.internal:25 HTTP/1.1\r\n" + HOST + b"\r\n",
    "no Host": GET + b"\r\n",
    "two Hosts": GET + HOST + HOST + b"\r\n",
    "an empty Host": GET + b"Host: \r\n\r\n",
    "a Host with a path": GET + b"Host: a/b\r\n\r\n",
    "a Host with an at sign": GET + b"Host: a@b\r\n\r\n",
    "a Host with a space": GET + b"Host: a b\r\n\r\n",
    "a Host with octets above 127": GET + "Host: 메일.kr\r\n\r\n".encode(),
    "a field without a colon": GET + HOST + b"Nonsense\r\n\r\n",
    "a field without a name": GET + HOST + b": value\r\n\r\n",
    "a space before the colon": GET + HOST + b"Content-Length : 0\r\n\r\n",
    "a folded line": GET + HOST + b"X-Folded: a\r\n b\r\n\r\n",
    "a fold instead of a first field": GET + b" Host: x\r\n" + HOST + b"\r\n",
    "a bare LF in a field": GET + HOST + b"X-A: a\nX-B: b\r\n\r\n",
    "a bare CR in a field": GET + HOST + b"X-A: a\rX-B: b\r\n\r\n",
    "a NUL in a field": GET + HOST + b"X-A: a\x00b\r\n\r\n",
    "a bad field before good ones": GET + b"Bad Name: x\r\n" + HOST + b"\r\n",
    "Content-Length with a sign": POST + b"Content-Length: +5\r\n\r\n{}   ",
    "a negative Content-Length": POST + b"Content-Length: -5\r\n\r\n",
    "Content-Length in hex": POST + b"Content-Length: 0x5\r\n\r\n{}   ",
    "an empty Content-Length": POST + b"Content-Length: \r\n\r\n",
    "a list in Content-Length": POST + b"Content-Length: 5, 5\r\n\r\n{}   ",
    "two Content-Lengths": POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n{}   " + SMUGGLED,
    "two equal Content-Lengths": POST + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\n{}   " + SMUGGLED,
    "thousands of digits": POST + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
    "Content-Length, then Transfer-Encoding": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "Transfer-Encoding, then Content-Length": POST
    + b"Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n"
    + SMUGGLED,
    "Content-Length with Transfer-Encoding: identity": POST
    + b"Content-Length: 4\r\nTransfer-Encoding: identity\r\n\r\n{}  "
    + SMUGGLED,
    "Transfer-Encoding: identity": POST + b"Transfer-Encoding: identity\r\n\r\n" + SMUGGLED,
    "Transfer-Encoding: gzip, chunked": POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding: xchunked": POST + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    "Transfer-Encoding twice": POST + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding with a fold": POST + b"Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    "Transfer-Encoding in HTTP/1.0": POST.replace(b"HTTP/1.1", b"HTTP/1.0")
    + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a chunk size that is no number": POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n" + SMUGGLED,
    "a negative chunk size": POST + b"Transfer-Encoding: chunked\r\n\r\n-1\r\n" + SMUGGLED,
    "a chunk size with 0x": POST + b"Transfer-Encoding: chunked\r\n\r\n0x2\r\n{}\r\n0\r\n\r\n",
    "a chunk that is longer than it says": POST + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}{}\r\n0\r\n\r\n",
    "a chunk size line without end": POST + b"Transfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
    "a chunk ended by a bare LF": POST + b"Transfer-Encoding: chunked\r\n\r\n2\n{}\n0\n\n" + b" " * 2000,
    "trailers without end": POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: y\r\n" * 20_000,
}

TOO_LARGE = {
    "a request line that is too long": b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n",
    "a request line without end": b"GET /" + b"x" * 20_000,
    "a field that is too long": GET + HOST + b"X-Long: " + b"x" * 20_000 + b"\r\n\r\n",
    "a field without end": GET + HOST + b"X-Long: " + b"x" * 20_000,
    "too many fields": GET + HOST + b"".join(b"X-%d: y\r\n" % n for n in range(101)) + b"\r\n",
    "too many octets in all": GET
    + HOST
    + b"".join(b"X-%d: %b\r\n" % (n, b"y" * 1000) for n in range(20))
    + b"\r\n",
}


class MalformedTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()

    def assert_one_problem_then_the_end(self, octets, status, code, pieces):
        self.house.journal.events.clear()
        client = self.house.connect()
        for at in range(0, len(octets), pieces):
            client.send(octets[at : at + pieces])
            if client.ended:
                break
        response = client.response()
        self.assertEqual((response.status, response.json["code"]), (status, code))
        self.assertEqual(response.headers["Content-Type"], "application/problem+json")
        self.assertEqual(response.headers["Connection"], "close")
        self.assertEqual(response.json["request_id"], response.headers["X-Request-Id"])
        self.assertEqual(client.received, b"")
        self.assertTrue(client.ended)
        (entry,) = self.house.journal.of("request.refused")
        self.assertEqual((entry["reason"], entry["address"]), (code, "192.0.2.7"))
        self.assertEqual(self.house.queue.messages, {})

    def check(self, inputs, status, code, pieces):
        for title, octets in inputs.items():
            try:
                self.assert_one_problem_then_the_end(octets, status, code, pieces)
            except (AssertionError, ValueError) as error:
                raise AssertionError(title) from error

    def test_malformed_at_once(self):
        self.check(MALFORMED, 400, "bad_request", 1_000_000)

    def test_malformed_in_small_pieces(self):
        inputs = {title: octets for title, octets in MALFORMED.items() if len(octets) < 1000}
        self.check(inputs, 400, "bad_request", 3)

    def test_too_large_at_once(self):
        self.check(TOO_LARGE, 431, "headers_too_large", 1_000_000)

    def test_too_large_in_pieces(self):
        self.check(TOO_LARGE, 431, "headers_too_large", 1000)

    def test_after_good_requests_on_the_same_connection(self):
        client = self.house.connect()
        client.send(SMUGGLED + SMUGGLED + b"nonsense\r\n\r\n" + SMUGGLED)
        self.assertEqual([client.response().status for _ in range(3)], [200, 200, 400])
        self.assertEqual(client.received, b"")

    def test_a_body_that_looks_like_a_request_is_a_body(self):
        client = self.house.connect()
        client.send(POST + b"Content-Length: %d\r\n\r\n%b" % (len(SMUGGLED), SMUGGLED))
        self.assertEqual(client.response().json["code"], "invalid_json")
        self.assertEqual(client.received, b"")

    def test_an_empty_line_before_a_request_is_forgiven(self):
        """RFC 9112 section 2.2."""
        self.assertEqual(self.house.connect().send(b"\r\n" + SMUGGLED).response().status, 200)

"""Nobody reaches a route as nobody."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.doors.answers import Answer
from mailgate.doors.authorise import AuthorisedRoutes
from mailgate.model.refusal import Refusal, RefusalCode


class StrangersTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.house = open_house()
        self.raw = http_request

    def every_route(self):
        """Yield each method and a path of each rule that Klein knows."""
        rules = list(self.house.door.routes.rules.iter_rules())
        self.assertGreaterEqual(len(rules), 3)
        for rule in rules:
            values = dict.fromkeys(rule.arguments, "0198c0de-0000-7000-8000-000000000000")
            _, path = rule.build(values, append_unknown=False)
            for method in rule.methods:
                yield method, path

    def assert_refused_everywhere(self, client, code):
        for method, path in self.every_route():
            connection = self.house.connect(client)
            connection.send(self.raw(method, path, b"{}" if method == "POST" else None))
            response = connection.response(body=method != "HEAD")
            self.assertEqual(response.status, 403, path)
            if method != "HEAD":
                self.assertEqual(response.json["code"], code)

    def test_no_route_without_an_identity(self):
        self.assert_refused_everywhere("stranger", "client_unknown")

    def test_no_route_for_a_disabled_client(self):
        self.assert_refused_everywhere("disabled", "client_disabled")

    def test_no_route_for_a_client_of_another_door(self):
        self.assert_refused_everywhere("lines-only", "door_not_allowed")

    def test_no_route_for_a_certificate_that_expired_on_a_live_connection(self):
        connection = self.house.connect(days=10)
        self.assertEqual(connection.request("GET", "/v1/whoami").status, 200)
        for _ in range(60):
            self.house.clock.advance(1)
            self.assertEqual(connection.request("GET", "/v1/whoami").status, 200)
        self.house.clock.advance(10 * 86400)
        again = self.house.connect(days=10)
        response = again.request("GET", "/v1/whoami")
        self.assertEqual((response.status, response.json["code"]), (403, "client_unknown"))

    def test_a_path_without_a_route_tells_strangers_nothing_else(self):
        response = self.house.connect("stranger").request("GET", "/v1/nothing")
        self.assertEqual((response.status, response.json["code"]), (403, "client_unknown"))

    def test_the_journal_says_who(self):
        self.house.connect("stranger", address="198.51.100.9").request("GET", "/v1/whoami")
        (entry,) = self.house.journal.of("request.refused")
        self.assertEqual(entry["reason"], "client_unknown")
        self.assertEqual(entry["subject"], "CN=stranger")
        self.assertEqual(entry["address"], "198.51.100.9")
        self.assertEqual(entry["door"], "https")
        self.assertIn("serial", entry)
        self.assertIn("request", entry)

    def test_a_client_that_is_removed_is_refused_on_its_live_connection(self):
        connection = self.house.connect()
        self.assertEqual(connection.request("GET", "/v1/whoami").status, 200)
        self.house.intake.directory = type(self.house.intake.directory)([])
        self.assertEqual(connection.request("GET", "/v1/whoami").json["code"], "client_unknown")


class DispatchTests(SynchronousTestCase):
    def test_a_handler_is_given_who_asks_and_never_called_for_nobody(self):
        called = []
        routes = AuthorisedRoutes()

        @routes.route("/things/<name>", "GET")
        def thing(request, identity, name):
            called.append((identity, name))
            return Answer(200)

        request = _Request("somebody")
        self.assertEqual(routes.dispatch(request), Answer(200))
        self.assertEqual(called, [("somebody", "가")])
        nobody = Refusal(RefusalCode.CLIENT_UNKNOWN, "no client entry names this certificate")
        self.assertIs(routes.dispatch(_Request(nobody)), nobody)
        self.assertEqual(len(called), 1)


class _Request:
    """As much of a request as a route looks at."""

    method = b"GET"
    path = b"/things/%EA%B0%80"

    def __init__(self, identity):
        self._identity = identity

    def identify(self):
        return self._identity

"""A client that asks and asks and reads no answer is not listened to any more."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

MANY = 1000
BUFFER = 64 * 1024


class SlowReaderTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house, http_request):
        self.house = open_house()
        self.requests = http_request("GET", "/v1/whoami") * MANY

    def test_reading_stops_when_the_buffer_is_full_and_goes_on_when_it_is_empty(self):
        client = self.house.connect()
        wire, full = client.wire, client.read_nothing(BUFFER)
        client.send(self.requests)
        self.assertTrue(full)
        self.assertEqual(wire.producerState, "paused")
        wire.producer.resumeProducing()
        self.assertEqual(wire.producerState, "producing")
        self.assertEqual([client.response().status for _ in range(MANY)], [200] * MANY)
        self.assertEqual(client.request("GET", "/v1/whoami").status, 200)

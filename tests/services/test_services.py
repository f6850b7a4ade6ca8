"""The service tree: order of start and stop, and sockets that can't be bound."""

import socket

from twisted.application.service import Service
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import Factory, Protocol
from twisted.trial.unittest import SynchronousTestCase, TestCase

from mailgate.services import Part, Ports, Stages, StartError


class Recorder(Service):
    def __init__(self, name, told, stopping=None):
        self.told, self.stopping = told, stopping
        self.label = name

    def privilegedStartService(self):
        self.told.append(f"bind {self.label}")

    def startService(self):
        super().startService()
        self.told.append(f"start {self.label}")

    def stopService(self):
        super().stopService()
        self.told.append(f"stop {self.label}")
        return self.stopping


class StagesTests(SynchronousTestCase):
    def test_stages_start_in_order_and_stop_in_reverse_each_awaited(self):
        told, slow = [], Deferred()
        stages = Stages([Recorder("queue", told), Recorder("door", told, slow)])
        stages.privilegedStartService()
        stages.startService()
        stopped = stages.stopService()
        self.assertEqual(told, ["bind queue", "bind door", "start queue", "start door", "stop door"])
        self.assertNoResult(stopped)
        slow.callback(None)
        self.successResultOf(stopped)
        self.assertEqual(told[-1], "stop queue")

    def test_a_stage_that_fails_to_stop_is_logged_and_the_next_is_stopped(self):
        told = []
        stages = Stages([Recorder("queue", told), Recorder("door", told, fail(ValueError("stuck")))])
        stages.startService()
        self.successResultOf(stages.stopService())
        self.assertEqual(told[-1], "stop queue")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_a_part_starts_and_stops_what_it_was_given(self):
        told, done = [], Deferred()
        part = Part(lambda: told.append("up"), lambda: done)
        part.startService()
        self.assertEqual(told, ["up"])
        stopped = part.stopService()
        self.assertNoResult(stopped)
        done.callback(None)
        self.successResultOf(stopped)

    def test_a_text_that_is_no_endpoint_is_refused_in_words(self):
        for text in ("", "tcp", "tcp:eighty", "smoke:signals", "tcp:8443:colour=red", "ssl:0:privateKey=none"):
            with self.assertRaisesRegex(StartError, f'^the https door: "{text}" is no endpoint'):
                Ports(reactor, "https", [text], Factory())


class PortsTests(TestCase):
    def test_a_port_in_use_keeps_the_gateway_from_starting_in_words(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            ports = Ports(reactor, "https", [f"tcp:{number}:interface=127.0.0.1"], Factory())
            with self.assertRaisesRegex(StartError, f"^the https door can't listen on tcp:{number}:.*in use"):
                ports.privilegedStartService()

    async def test_a_bound_port_serves_until_it_is_stopped(self):
        with socket.create_server(("127.0.0.1", 0)) as probe:
            number = probe.getsockname()[1]
        ports = Ports(reactor, "https", [f"tcp:{number}:interface=127.0.0.1"], Factory.forProtocol(Protocol))
        ports.privilegedStartService()
        ports.startService()
        client = clientFromString(reactor, f"tcp:127.0.0.1:{number}")
        connection = await connectProtocol(client, Protocol())
        connection.transport.abortConnection()
        await ports.stopService()
        with socket.socket() as again:
            self.assertNotEqual(again.connect_ex(("127.0.0.1", number)), 0)

"""A reload ends the connections of clients that may not be here any more, and those alone."""

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailgate.doors.settings import LimitSettings
from mailgate.trust.authorities import Objection

START = "MAIL k1\nFROM a@x.kr\nTO b@x.kr\n"
BODY = {"from": "a@x.kr", "to": "b@x.kr", "text": "x"}


class Rechecks(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, open_house):
        self.house = open_house()
        self.limits = self.house.limits

    def remove(self, *labels):
        directory = self.house.intake.directory
        kept = [rules for label, rules in directory._entries.items() if label not in labels]
        self.house.intake.directory = type(directory)(kept)
        self.reload()

    def revoke(self, client):
        """Have every certificate of that name be revoked, as the next CRL would."""
        trust = self.house.trust
        before = trust.generation.authorities.object_to

        def object_to(peer, now):
            return (
                Objection("it is revoked", "…", revoked=True) if peer.common_name == client else before(peer, now)
            )

        trust.generation.authorities.object_to = object_to
        self.reload()

    def reload(self):
        for door in (self.house.door, self.house.lines):
            door.reload(self.limits)

    def cut(self):
        return [
            (event["door"], event["subject"], event["reason"]) for event in self.house.journal.of("connection.cut")
        ]


class LineTests(Rechecks):
    def test_the_device_of_a_removed_client_is_told_and_ended(self):
        device, other = self.house.connect_device().greeted(), self.house.connect_device("other").greeted()
        self.remove("장치-7")
        self.assertEqual(device.lines(), ["535 5.7.8 - unknown client"])
        self.assertTrue(device.ended)
        self.assertEqual(len(other.say("PING\n")), 1)
        self.assertEqual(self.cut(), [("lines", "CN=장치-7", "no client entry names this certificate")])

    def test_the_device_of_a_revoked_certificate(self):
        device = self.house.connect_device().greeted()
        self.revoke("장치-7")
        self.assertEqual(device.lines(), ["535 5.7.8 - certificate revoked"])
        self.assertTrue(device.ended)

    def test_a_message_on_its_way_to_the_disk_is_not_lost(self):
        self.house.queue.hold = True
        device = self.house.connect_device().greeted()
        device.send(START.encode() + b"SEND\nMAIL k2\nFROM a@x.kr\n")
        self.remove("장치-7")
        self.assertEqual([line[:3] for line in device.lines()], ["535"])
        self.house.queue.release()
        self.assertEqual([each.idempotency_key for each in self.house.queue.messages.values()], ["k1"])

    def test_a_certificate_that_is_another_client_from_now_on(self):
        device = self.house.connect_device().greeted()
        directory = self.house.intake.directory
        entries = dict(directory._entries)
        moved = entries.pop("장치-7")
        renamed = type(moved)(label="moved", certificates=moved.certificates, senders=moved.senders)
        self.house.intake.directory = type(directory)([*entries.values(), renamed])
        self.reload()
        self.assertEqual([line[:9] for line in device.lines()], ["421 4.3.2"])

    def test_fewer_connections_of_a_client_hold_from_now_on(self):
        devices = [self.house.connect_device().greeted() for _ in range(3)]
        self.limits = LimitSettings(connections_per_client=2)
        self.reload()
        self.assertEqual([len(device.say("PING\n")) for device in devices], [1, 1, 1])
        self.house.connect_device().greeted()
        self.assertEqual([line[:3] for line in devices[0].lines()], ["421"])

    def test_each_cut_is_told_however_many_there_are(self):
        self.house.lines._desk.clients.most = 25
        for _ in range(25):
            self.house.connect_device().greeted()
        self.remove("장치-7")
        self.assertEqual(len(self.cut()), 25)

    def test_one_that_does_not_end_has_a_second(self):
        device = self.house.connect_device(stubborn=True).greeted()
        self.remove("장치-7")
        self.house.pass_time(2.5)
        self.assertTrue(device.wire.aborted)


class HttpsTests(Rechecks):
    def test_an_idle_connection_ends_and_others_go_on(self):
        client, other = self.house.connect(), self.house.connect("other")
        for each in (client, other):
            self.assertEqual(each.request("GET", "/v1/whoami").status, 200)
        self.remove("장치-7")
        self.assertTrue(client.turn().ended)
        self.assertEqual(other.request("GET", "/v1/whoami").status, 200)
        self.assertEqual([door for door, *_ in self.cut()], ["https"])

    def test_a_request_that_is_being_read_is_refused(self):
        client = self.house.connect()
        client.send(self.whole()[:-5])
        self.revoke("장치-7")
        response = client.turn().response()
        self.assertEqual((response.status, response.json["code"]), (403, "certificate_revoked"))
        self.assertTrue(client.ended)
        self.assertEqual(self.house.queue.messages, {})

    def test_one_that_is_being_read_from_a_client_that_does_not_end_has_a_second(self):
        client = self.house.connect(stubborn=True)
        client.send(self.whole()[:-5])
        self.remove("장치-7")
        self.house.pass_time(2.5)
        self.assertTrue(client.wire.aborted)

    def test_one_that_is_being_answered_is_stored_and_has_a_second(self):
        self.house.queue.hold = True
        client = self.house.connect()
        client.send(self.whole())
        self.remove("장치-7")
        self.house.pass_time(3)
        self.assertTrue(client.wire.gone)
        self.house.queue.release()
        self.assertEqual(len(self.house.queue.messages), 1)

    def test_one_whose_answer_comes_within_that_second_is_answered_and_ended(self):
        self.house.queue.hold = True
        client = self.house.connect()
        client.send(self.whole())
        self.remove("장치-7")
        self.house.queue.release()
        self.assertEqual(client.turn().response().status, 202)
        self.assertTrue(client.ended)

    def test_one_whose_certificate_is_another_clients_meanwhile_is_that_clients(self):
        client = self.house.connect()
        whole = self.whole()
        client.send(whole[:-5])
        directory = self.house.intake.directory
        entries = dict(directory._entries)
        moved = entries.pop("장치-7")
        renamed = type(moved)(label="moved", certificates=moved.certificates, senders=moved.senders)
        self.house.intake.directory = type(directory)([*entries.values(), renamed])
        self.reload()
        client.send(whole[-5:])
        self.assertEqual(client.response().status, 202)
        self.assertEqual([each.client for each in self.house.queue.messages.values()], ["moved"])

    def test_larger_bodies_have_room_from_now_on(self):
        client = self.house.connect()
        self.limits = LimitSettings(max_message=200 * 1024 * 1024)
        self.reload()
        self.house.intake.limits = type(self.house.intake.limits)(self.limits.max_message, 3600.0)
        client.send(self.raw("POST", "/v1/messages", content_length=str(150 * 1024 * 1024), content_type="text/x"))
        self.assertEqual(self.house.door.desk.bodies.refuse("장치-7", 150 * 1024 * 1024), None)

    def test_more_recipients_hold_from_now_on(self):
        client = self.house.connect()
        many = BODY | {"to": [f"a{number}@x.kr" for number in range(101)]}
        self.assertEqual(client.request("POST", "/v1/messages", many).status, 422)
        self.limits = LimitSettings(recipients=101)
        self.reload()
        self.assertEqual(client.request("POST", "/v1/messages", many).status, 202)

    def whole(self):
        return self.raw("POST", "/v1/messages", BODY)

    @pytest.fixture(autouse=True)
    def _raw(self, http_request):
        self.raw = http_request

"""What an operator's monitoring sees."""

import json
import os
import re
import signal

import pytest
from harness.gateway import SENDER, message
from harness.monitor import ask, metric
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.revoking import Revoking
from mailgate.demo.stage import CLIENT, free_port


@pytest.fixture
def watched(new_gateway, internal):
    gateway = new_gateway(internal.port)
    gateway.ops_port = free_port()
    gateway.tables["ops"] = {"listen": [f"tcp:{gateway.ops_port}:interface=127.0.0.1"]}
    Revoking(CertificateAuthority(gateway.stage.certificates)).renew(6, only_if_due=False)
    gateway.tables["tls"]["client_crl"] = "certs/ca.crl"
    return gateway.start()


def found(gateway, name):
    """Return labels and value of each series of a metric."""
    _, text = ask(gateway, "/metrics")
    return [(labels, float(value)) for labels, value in re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)]


def test_it_lives_and_is_ready(watched):
    assert ask(watched, "/livez") == (200, "ok\n")
    status, body = ask(watched, "/readyz")
    [(upstream, state)] = json.loads(body)["upstreams"].items()
    assert (status, json.loads(body)) == (200, {"ready": True, "reason": None, "upstreams": {upstream: "up"}})
    assert (upstream.startswith("localhost:"), state) == (True, "up")
    assert ask(watched, "/")[0] == 404


def test_mail_is_counted(watched, internal):
    with watched.client() as client:
        for _ in range(3):
            assert client.submit(message()).status == 202
        assert client.submit(message(**{"from": "another@example.net"})).status == 403
    until(lambda: metric(watched, "mailgate_recipients_delivered_total") == 3, "three deliveries")
    assert metric(watched, "mailgate_messages_accepted_total") == 3
    assert metric(watched, 'mailgate_messages_refused_total{reason="sender_not_allowed"}') == 1
    assert len(internal.files()) == 3


def test_a_queue_that_is_full_takes_no_more_until_it_has_drained(new_gateway, internal):
    gateway = new_gateway(internal.port)
    gateway.ops_port = free_port()
    gateway.tables["ops"] = {"listen": [f"tcp:{gateway.ops_port}:interface=127.0.0.1"]}
    gateway.tables["queue"]["maximum_messages"] = 3
    internal.stop()
    gateway.start()
    with gateway.client() as client, gateway.device() as device:
        for _ in range(3):
            assert client.submit(message()).status == 202
        until(lambda: metric(gateway, 'mailgate_queue_messages{status="queued"}') == 3, "the count")
        answer = client.submit(message())
        assert (answer.status, answer["code"]) == (503, "queue_full")
        assert int(answer.headers["Retry-After"]) > 0
        told = device.say(f"MAIL k1\nFROM {SENDER}\nTO kim@example.com\nTEXT 가득 찼나요\nSEND\n")
        assert told.startswith("452 4.3.1 k1 ")
        status, body = ask(gateway, "/readyz")
        assert status == 503
        assert "3 messages wait for delivery" in json.loads(body)["reason"]
        [state] = json.loads(body)["upstreams"].values()
        assert state == "down"
        assert metric(gateway, "mailgate_queue_oldest_seconds") > 0
        internal.start()
        until(lambda: client.submit(message()).status == 202, "a queue with room")
        assert ask(gateway, "/readyz")[0] == 200
        until(lambda: len(internal.files()) == 4, "all four messages")
    gateway.stop()


def test_a_reload_that_fails_is_counted_and_takes_nothing_away(watched):
    watched.stage.settings.write_text("nonsense")
    os.kill(watched.program.pid, signal.SIGHUP)
    until(lambda: metric(watched, 'mailgate_reloads_total{outcome="failed"}') == 1, "the failure")
    assert ask(watched, "/readyz")[0] == 200
    watched.write_settings()
    os.kill(watched.program.pid, signal.SIGHUP)
    until(lambda: metric(watched, 'mailgate_reloads_total{outcome="done"}') == 1, "the reload")


def test_handshakes_and_what_expires(watched):
    with watched.device(), watched.client() as client:
        assert client.request("GET", "/v1/whoami").status == 200
    for door, count in (("lines", 1), ("https", 1)):
        assert metric(watched, f'mailgate_handshakes_total{{door="{door}",outcome="completed"}}') == count
    assert metric(watched, f'mailgate_certificate_expiry_days{{client="{CLIENT}"}}') > 300
    assert metric(watched, 'mailgate_server_certificate_expiry_days{subject="CN=localhost"}') > 300
    [(labels, count)] = found(watched, "mailgate_clients_seen_total")
    assert 'issuer="CN=mailgate demo CA",key="' in labels
    assert count == 2
    [(_, ca)] = found(watched, "mailgate_client_ca_expiry_days")
    [(labels, crl)] = found(watched, "mailgate_crl_expiry_days")
    assert 5 < crl <= 6
    assert ca > 3000
    assert 'issuer="CN=mailgate demo CA"' in labels


def test_a_client_that_is_gone_is_measured_no_more(watched):
    with watched.device():
        assert found(watched, "mailgate_certificate_expiry_days")
    watched.tables["clients.other"] = watched.tables.pop(f"clients.{CLIENT}")
    watched.write_settings()
    os.kill(watched.program.pid, signal.SIGHUP)
    until(lambda: not found(watched, "mailgate_certificate_expiry_days"), "the end of the series")

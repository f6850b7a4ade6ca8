"""Another generation of settings and certificates, while clients are connected."""

import os
import re
import shutil
import signal
import ssl

import pytest
from harness.gateway import message
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.ca.revoking import Revoking
from mailgate.demo.stage import CLIENT


def reload(gateway):
    """Have the gateway read its files, and return the event that tells the outcome."""
    before = len(outcomes(gateway))
    gateway.write_settings()
    os.kill(gateway.program.pid, signal.SIGHUP)
    until(lambda: len(outcomes(gateway)) > before, "the reload", 15)
    return outcomes(gateway)[before]


def outcomes(gateway):
    return [event for event in gateway.events() if str(event["event"]).startswith("reload.")]


def test_a_removed_client_is_cut_at_once_and_others_go_on(gateway, internal):
    gateway.tables["clients.other"] = {"senders": ["*@example.com"], "certificates": [f"CN:{CLIENT}"]}
    with gateway.device() as device, gateway.client() as client:
        assert client.request("GET", "/v1/whoami").status == 200
        del gateway.tables[f"clients.{CLIENT}"]
        event = reload(gateway)
        assert event["event"] == "reload.done"
        # The same certificate is another client now: its line connection ends, its next request is that client's.
        assert device.line() == "421 4.3.2 - closing: the gateway knows you by another name from now on"
        assert client.request("GET", "/v1/whoami")["client"] == "other"
        gateway.tables["clients.nobody"] = gateway.tables.pop("clients.other") | {"certificates": ["CN:nobody"]}
        reload(gateway)
        assert {event["door"] for event in gateway.events("connection.cut")} == {"https"}
        with pytest.raises((ConnectionError, ssl.SSLError)):
            client.request("GET", "/v1/whoami")
    with gateway.device() as refused:
        assert refused.greeting == "535 5.7.8 - unknown client"


def test_a_file_that_changes_is_taken_without_a_signal_and_a_wrong_one_is_not(gateway, internal):
    settings = gateway.stage.settings
    whole = settings.read_text()
    settings.write_text(whole + "nonsense")
    until(lambda: outcomes(gateway), "the refusal", 15)
    [refused] = outcomes(gateway)
    assert refused["event"] == "reload.failed"
    assert "mailgate.toml" in str(refused["reason"])
    with gateway.client() as client:
        assert client.submit(message()).status == 202
    settings.write_text(whole.replace("example.com", "example.org"))
    until(lambda: len(outcomes(gateway)) == 2, "the reload", 15)
    done = outcomes(gateway)[1]
    assert (done["event"], done["needs_restart"]) == ("reload.done", ["hostname"])
    with gateway.client() as client:
        assert client.submit(message()).status == 403


def test_a_new_certificate_of_the_gateway_for_new_connections_alone(gateway, internal):
    certificates = gateway.stage.certificates

    def serial(device):
        return ssl.DER_cert_to_PEM_cert(device.tls.getpeercert(binary_form=True))

    with gateway.device() as live:
        before = serial(live)
        authority = CertificateAuthority(certificates)
        authority.issue_server(["localhost"], [], "next", KeyType.EC, 30, force=False)
        shutil.move(certificates / "next.crt", certificates / "server.crt")
        assert reload(gateway)["event"] == "reload.failed"
        shutil.move(certificates / "next.key", certificates / "server.key")
        assert reload(gateway)["event"] == "reload.done"
        assert live.say("PING\n").startswith("250 ")
        with gateway.device() as fresh:
            assert serial(fresh) != before
    assert re.search(r'"reason":"[^"]*doesn\'t fit', gateway.log)


def test_another_ca_takes_over_without_a_gap(gateway, internal, tmp_path):
    new = CertificateAuthority(tmp_path / "new-ca")
    new.create("새 회사 CA", KeyType.EC, 3650, force=False)
    [issued] = new.issue_clients([ClientRequest(CLIENT)], KeyType.EC, 30, force=False)
    certificates = gateway.stage.certificates
    for file in (issued.certificate_file, issued.key_file):
        shutil.copy(file, certificates / f"next{file.suffix}")
    both = (certificates / "ca.crt").read_text() + new.certificate_file.read_text()
    (certificates / "clients-ca.crt").write_text(both)
    gateway.tables["tls"]["client_ca"] = "certs/clients-ca.crt"
    assert reload(gateway)["event"] == "reload.done"
    with gateway.device() as old, gateway.device("next") as fresh:
        assert [each.say("PING\n")[:3] for each in (old, fresh)] == ["250", "250"]
        (certificates / "clients-ca.crt").write_text(new.certificate_file.read_text())
        assert reload(gateway)["event"] == "reload.done"
        assert old.line() == "535 5.7.8 - unknown client"
        assert fresh.say("PING\n").startswith("250 ")


def test_a_revoked_device_is_cut_on_both_doors_and_what_it_sent_is_delivered(gateway, internal):
    certificates = gateway.stage.certificates
    authority = CertificateAuthority(certificates)
    authority.issue_clients([ClientRequest("other")], KeyType.EC, 30, force=False)
    revoking = Revoking(authority)
    revoking.renew(30, only_if_due=False)
    gateway.tables["clients.other"] = {"senders": ["*@example.com"]}
    gateway.tables["tls"]["client_crl"] = "certs/ca.crl"
    assert reload(gateway)["event"] == "reload.done"
    with gateway.device() as device, gateway.client() as client, gateway.device("other") as other:
        assert client.submit(message("하나")).status == 202
        assert device.say("MAIL k\nFROM sensor-7@example.com\nTO kim@example.com\nSEND\n").startswith("250 ")
        revoking.revoke(CLIENT, "key-compromise", 30)
        # Nobody tells the gateway: it looks at the file itself.
        assert device.line() == "535 5.7.8 - certificate revoked"
        with pytest.raises((ConnectionError, ssl.SSLError)):
            client.request("GET", "/v1/whoami")
        assert other.say("PING\n").startswith("250 ")
    assert {event["door"] for event in gateway.events("connection.cut")} == {"https", "lines"}
    with pytest.raises((ConnectionError, ssl.SSLError)):
        gateway.device()
    until(lambda: gateway.events("handshake.refused"), "the journal")
    [refused] = gateway.events("handshake.refused")
    assert refused["reason"] == "its certificate was not accepted: it is revoked"
    until(lambda: len(internal.files()) == 2, "the deliveries")

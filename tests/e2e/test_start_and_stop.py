"""A start that can't be says why in one sentence; a stop settles what is in flight and gives back the rest."""

import socket

import pytest
from harness.gateway import message
from harness.load import Stream
from harness.waiting import until


def fails_with(gateway):
    """Start what can't start; return its one sentence."""
    program = gateway.launch()
    until(lambda: not program.running, "the end of a gateway that can't start")
    assert program.stop() == 1
    lines = [line for line in gateway.log.splitlines() if not line.startswith("{")]
    assert len(lines) == 1, gateway.log
    assert "Traceback" not in gateway.log
    return lines[0]


@pytest.fixture
def unstarted(new_gateway):
    return new_gateway(1)


def test_a_port_that_is_in_use(unstarted):
    with socket.create_server(("127.0.0.1", unstarted.port)):
        sentence = fails_with(unstarted)
    assert str(unstarted.port) in sentence
    assert "in use" in sentence


def test_a_key_that_does_not_fit_its_certificate(unstarted):
    unstarted.tables["tls"]["private_key"] = "certs/internal.key"
    assert "internal.key" in fails_with(unstarted)


def test_a_certificate_that_is_missing(unstarted):
    unstarted.tables["tls"]["certificate"] = "certs/nowhere.crt"
    assert "nowhere.crt" in fails_with(unstarted)


def test_a_client_ca_that_is_no_certificate(unstarted):
    (unstarted.stage.certificates / "ca.txt").write_text("no certificate\n")
    unstarted.tables["tls"]["client_ca"] = "certs/ca.txt"
    assert "ca.txt" in fails_with(unstarted)


def test_a_ca_of_the_internal_server_that_is_missing(unstarted):
    unstarted.upstreams[0]["ca"] = "certs/nowhere.crt"
    assert "nowhere.crt" in fails_with(unstarted)


def test_a_queue_that_is_no_database(unstarted):
    (unstarted.stage.folder / "queue" / "mailgate.db").write_bytes(
        b"not a database, but long enough for one" * 100
    )
    assert "mailgate.db" in fails_with(unstarted)


def test_a_queue_whose_directory_is_missing(unstarted):
    unstarted.tables["queue"]["url"] = "sqlite:///nowhere/mailgate.db"
    assert "nowhere" in fails_with(unstarted)


def test_a_setting_that_nobody_knows(unstarted):
    unstarted.tables["https"]["listne"] = ["tcp:1"]
    assert "listne" in fails_with(unstarted)


def test_settings_that_are_missing(unstarted):
    unstarted.write_settings()
    program = unstarted.stage.start_gateway()
    unstarted.stage.settings.unlink()
    unstarted.programs.append(program)
    until(lambda: not program.running, "the end of a gateway without settings")
    assert program.stop() == 1
    assert "mailgate.toml" in program.printed


def test_sigterm_with_messages_in_flight_ends_cleanly_and_loses_nothing(new_gateway, internal):
    gateway = new_gateway(internal.port).start()
    stream = Stream(gateway.client, lambda number: message(f"{number}번 알림")).start()
    until(lambda: len(stream.accepted) >= 100, "the first messages")
    gateway.stop()
    stream.stop()
    assert "Traceback" not in gateway.log
    # What is left over was not leased to a process that is gone: the next one delivers it at once.
    gateway.start()
    promised = set(stream.accepted)
    until(lambda: promised <= set(internal.message_ids()), "what was accepted before the stop", 15)
    gateway.stop()
    received = internal.message_ids()
    assert len(received) == len(set(received)), "a clean stop repeats nothing"


def test_a_stop_gives_back_what_could_not_be_delivered(new_gateway, internal):
    gateway = new_gateway(internal.port)
    internal.stop()
    gateway.start()
    with gateway.client() as client:
        receipt = client.submit(message())
    gateway.stop()
    internal.start()
    gateway.start()
    until(lambda: internal.message_ids() == [receipt["message_id"]], "the delivery", 15)


def test_an_idle_keep_alive_connection_does_not_hold_up_a_stop(gateway):
    with gateway.client() as client:
        assert client.request("GET", "/v1/whoami").status == 200
        gateway.stop(seconds=10)

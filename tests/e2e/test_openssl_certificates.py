"""Certificates as the operator's own openssl commands make them get mail through, just as they are."""

import importlib.util
import shutil
from pathlib import Path

import pytest
from harness.client import Client
from harness.gateway import message
from harness.waiting import until

README_COMMANDS = Path(__file__).parents[1] / "ca" / "readme_commands.py"


@pytest.fixture
def made(tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("the openssl program is not installed")
    spec = importlib.util.spec_from_file_location("readme_commands", README_COMMANDS)
    commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(commands)
    directory = tmp_path / "openssl"
    directory.mkdir()
    commands.make_openssl_certificates(directory)
    return directory


def test_a_hundred_year_certificate_of_that_making_sends_mail(made, new_gateway, internal):
    gateway = new_gateway(internal.port)
    gateway.tables["tls"] = {
        "certificate": str(made / "server.crt"),
        "private_key": str(made / "server.key"),
        "client_ca": str(made / "ca.crt"),
    }
    gateway.tables["clients.unique_client"] = {
        "certificates": ["CN:unique_client", "DNS:unique_client.example.com"],
        "senders": ["*@example.com"],
    }
    gateway.start()
    with Client(gateway.port, made / "ca.crt", made / "client.crt", made / "client.key") as client:
        me = client.request("GET", "/v1/whoami")
        assert me["client"] == "unique_client"
        assert me["certificate"]["days_left"] > 36000
        assert client.submit(message()).status == 202
    until(lambda: len(internal.kept()) == 1, "the delivery")

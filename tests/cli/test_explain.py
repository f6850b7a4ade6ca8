"""mailgate explain says what would happen to a certificate, and why."""

import datetime

import pytest
from click.testing import CliRunner

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.ca.revoking import Revoking
from mailgate.cli import main

SETTINGS = """
hostname = "gate.example.com"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"
client_crl = "certs/ca.crl"
[lines]
[queue]
url = "sqlite:///queue.db"
[[upstream]]
host = "localhost"
[clients.cam]
senders = ["*@example.com"]
rate = "60/minute"
bounces = "운영@example.com"
doors = ["lines"]
[clients.off]
senders = ["*"]
enabled = false
"""


@pytest.fixture
def explain(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    authority = CertificateAuthority(tmp_path / "certs")
    authority.create("Test CA", KeyType.EC, 300, force=False)
    authority.issue_server(["localhost"], [], "server", KeyType.EC, 100, force=False)
    names = ("cam", "off", "unknown", "stolen")
    authority.issue_clients([ClientRequest(name) for name in names], KeyType.EC, 100, force=False)
    Revoking(authority).revoke("stolen", "key-compromise", 30)
    (tmp_path / "mailgate.toml").write_text(SETTINGS, "utf-8")

    def run(name, *options):
        result = CliRunner().invoke(main, ["explain", f"certs/{name}.crt", *options])
        assert isinstance(result.exception, SystemExit | None), result.exception
        return result.exit_code, result.output

    return run


def test_a_client_that_is_let_in(explain):
    status, output = explain("cam")
    assert status == 0
    lines = output.splitlines()
    assert lines[0].startswith("certs/cam.crt: CN=cam, serial ")
    assert [line[:18].rstrip() for line in lines[1:5]] == [
        *("  ok  dates:", "  ok  chain:", "  ok  purpose:", "  ok  revocation:"),
    ]
    assert lines[5] == '  NO  https:       the client "cam" may not use the door "https"'
    assert lines[6] == '  ok  lines:       the client "cam", by the entry [clients."cam"]'
    assert lines[7:] == [
        "      named by:     cam",
        "      senders:     *@example.com",
        "      recipients:  *",
        "      rate:        60/minute",
        "      bounces:     운영@example.com",
    ]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("unknown", "no client entry names this certificate"),
        ("off", 'the client "off" is disabled'),
        ("stolen", "its certificate was not accepted: it is revoked"),
        ("server", "its extendedKeyUsage lacks clientAuth"),
    ],
)
def test_one_that_is_not(explain, name, words):
    status, output = explain(name)
    assert status == 1
    assert words in output


def test_as_of_another_day(explain):
    day = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=200)
    status, output = explain("cam", "--at", day.date().isoformat())
    assert status == 1
    assert "it has expired" in output
    assert explain("cam", "--at", "soon")[0] == 2


def test_what_is_no_certificate_and_settings_that_are_wrong(explain, tmp_path):
    (tmp_path / "certs/noise.crt").write_text("noise")
    assert "no certificate that can be read" in explain("noise")[1]
    (tmp_path / "certs/ca.crl").write_text("noise")
    status, output = explain("cam")
    assert (status, "certs/ca.crl" in output) == (1, True)

"""mailgate check says what the start would say, and leaves no trace."""

import pytest
from click.testing import CliRunner

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.issue import KeyType
from mailgate.cli import main

SETTINGS = """
hostname = "gate.example.com"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"
[https]
listen = ["tcp:0:interface=127.0.0.1"]
[queue]
url = "sqlite:///queue.db"
[[upstream]]
host = "localhost"
ca = "certs/ca.crt"
[clients.cam]
senders = ["*@example.com"]
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    authority = CertificateAuthority(tmp_path / "certs")
    authority.create("Test CA", KeyType.EC, 30, force=False)
    authority.issue_server(["localhost"], [], "server", KeyType.EC, 10, force=False)
    (tmp_path / "mailgate.toml").write_text(SETTINGS, "utf-8")
    return tmp_path


def check(*arguments):
    return CliRunner().invoke(main, ["check", *arguments])


def test_good_settings_are_told_so_and_nothing_is_made(folder):
    before = sorted(folder.rglob("*"))
    result = check()
    assert result.exit_code == 0
    *notes, verdict = result.output.splitlines()
    assert [note.partition(" expires on ")[0] for note in notes] == [
        "note: the server certificate of CN=localhost",
        "note: the client CA of CN=Test CA",
    ]
    assert verdict == "mailgate.toml is fine: 1 client, 1 upstream."
    assert sorted(folder.rglob("*")) == before


def test_several_workers_are_told(folder):
    (folder / "mailgate.toml").write_text(f"workers = 3\n{SETTINGS}", "utf-8")
    before = sorted(folder.rglob("*"))
    result = check()
    assert result.output.splitlines()[-1] == "mailgate.toml is fine: 1 client, 1 upstream, 3 workers."
    assert sorted(folder.rglob("*")) == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("senders", "sender"), 'unknown key "sender"'),
        (('"certs/server.crt"', '"certs/nowhere.crt"'), "nowhere.crt"),
        (('"certs/server.key"', '"certs/ca.key"'), "ca.key"),
        (('ca = "certs/ca.crt"\n[clients', 'ca = "certs/server.key"\n[clients'), "server.key"),
        (("tcp:0:interface=127.0.0.1", "tcp:https"), '"tcp:https" is no endpoint'),
        (("queue.db", "nowhere/queue.db"), "needs its directory"),
        (("queue.db", "certs/ca.crt"), "is not an SQLite database"),
        (("queue.db", "certs"), "can't be read: Is a directory"),
    ],
)
def test_what_would_keep_it_from_starting_is_one_sentence(folder, change, sentence):
    path = folder / "other.toml"
    assert change[0] in SETTINGS
    path.write_text(SETTINGS.replace(*change), "utf-8")
    result = check("--config", str(path))
    assert result.exit_code == 1
    assert sentence in result.output
    assert result.output.startswith("Error: ")
    assert result.output.count("\n") == 1

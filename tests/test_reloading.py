"""Another generation of settings: all of it is used, or nothing."""

import os
from types import SimpleNamespace
from unittest import mock

import pytest
from twisted.internet.task import Clock

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.ca.revoking import Revoking
from mailgate.delivery.make import make_upstream_tls
from mailgate.intake import Limits
from mailgate.reloading import Reloader
from mailgate.settings import load_settings
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.server import ServerTrust
from mailgate.watching import LOOK_SECONDS

SETTINGS = """
hostname = "gate.example.com"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"
{tls}
[queue]
url = "sqlite:///queue.db"
[[upstream]]
host = "localhost"
ca = "certs/ca.crt"
certificate = "certs/gate.crt"
private_key = "certs/gate.key"
username = "gate"
password_file = "secret"
[limits]
{limits}
[clients.cam]
senders = ["*"]
{clients}
"""


class Journal:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append({"event": event, **fields})

    def of(self, event):
        return [entry for entry in self.events if entry["event"] == event]


class Door:
    """Remembers the limits that it was told of."""

    def __init__(self):
        self.limits = []

    def reload(self, limits):
        self.limits.append(limits)


class Running:
    """A gateway's parts that a reload changes, in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        self.certificates = folder / "certs"
        self.authority = CertificateAuthority(self.certificates)
        self.authority.create("회사 CA", KeyType.EC, 300, force=False)
        self.authority.issue_server(["localhost"], [], "server", KeyType.EC, 100, force=False)
        self.authority.issue_clients([ClientRequest("gate")], KeyType.EC, 100, force=False)
        (folder / "secret").write_text("열쇠\n")
        self.write()
        self.clock, self.journal = Clock(), Journal()
        self.clock.advance(self.authority.now().timestamp())
        settings = load_settings(folder / "mailgate.toml")
        self.trust = ServerTrust(settings.tls, self.journal, self.clock, self.clock.seconds)
        self.upstreams = make_upstream_tls(settings.delivery)
        self.intake = SimpleNamespace(directory=None, limits=Limits(1, 3600.0))
        self.connections = ConnectionLimits(1, 1)
        self.door = Door()
        self.reloader = Reloader(
            settings,
            self.trust,
            self.intake,
            self.connections,
            self.upstreams,
            [self.door],
            self.journal,
            self.clock,
        )
        self.reloader.start()

    def write(self, *, tls="", limits="", clients=""):
        text = SETTINGS.format(tls=tls, limits=limits, clients=clients)
        (self.folder / "mailgate.toml").write_text(text)

    def pass_time(self):
        for _ in range(4):
            self.clock.advance(LOOK_SECONDS)

    def outcomes(self):
        return [entry["event"] for entry in self.journal.events if entry["event"].startswith("reload.")]

    @property
    def reason(self):
        return self.journal.of("reload.failed")[-1]["reason"]


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path)
    yield running
    running.reloader.stop()
    running.trust.close()


def test_everything_that_may_change_is_used(running):
    limits = 'max_message = "2 MiB"\nconnections = 50\nconnections_per_address = 5\nrecipients = 7'
    running.write(limits=limits, clients='[clients.other]\nsenders = ["*"]')
    before = running.upstreams[0].context, running.trust.generation
    running.reloader.reload()
    assert running.outcomes() == ["reload.done"]
    assert running.intake.limits == Limits(2 * 1024 * 1024, 3600.0)
    assert (running.connections.total, running.connections.per_address) == (50, 5)
    assert running.intake.directory.rules("other") is not None
    assert running.upstreams[0].context is not before[0]
    assert running.trust.generation is not before[1]
    assert [limits.recipients for limits in running.door.limits] == [7]
    assert running.reloader.outcomes == {"done": 1, "failed": 0}


def test_a_signal_reads_the_files_once(running):
    running.write(clients='[clients.other]\nsenders = ["*"]')
    running.reloader.reload()
    running.pass_time()
    assert running.outcomes() == ["reload.done"]


def test_nothing_is_used_where_one_thing_is_wrong(running):
    running.write(tls='client_crl = "certs/none.crl"', limits="connections = 50")
    before = running.trust.generation
    running.pass_time()
    assert running.outcomes() == ["reload.failed"]
    assert "certs/none.crl" in running.reason
    assert (running.connections.total, running.intake.directory) == (1, None)
    assert running.trust.generation is before
    assert running.door.limits == []


def test_a_file_that_comes_after_the_settings_that_name_it_is_waited_for(running):
    running.write(tls='client_crl = "certs/ca.crl"')
    running.pass_time()
    Revoking(running.authority).renew(30, only_if_due=False)
    running.pass_time()
    assert running.outcomes() == ["reload.failed", "reload.done"]
    assert running.trust.generation.authorities.revoked == 0


def test_a_defect_is_told_and_the_files_are_watched_on(running):
    running.write(limits="connections = 50")
    with mock.patch.object(running.trust, "prepare", side_effect=ZeroDivisionError):
        running.pass_time()
    assert running.outcomes() == ["reload.failed"]
    assert "ZeroDivisionError" in running.reason
    running.write(limits="connections = 60")
    running.pass_time()
    assert running.connections.total == 60


def test_an_upstream_whose_files_can_not_be_used_keeps_what_it_has_and_holds_nothing_up(running):
    kept = running.upstreams[0].context
    (running.certificates / "gate.key").unlink()
    running.write(limits="connections = 50")
    running.reloader.reload()
    assert running.outcomes() == ["reload.upstream_kept", "reload.done"]
    assert running.upstreams[0].context is kept
    assert running.connections.total == 50


def test_upstreams_that_are_named_anew_wait_for_a_restart(running):
    kept = running.upstreams[0].context
    path = running.folder / "mailgate.toml"
    path.write_text(path.read_text().replace("certs/gate.", "certs/next."))
    (running.certificates / "gate.key").unlink()
    running.reloader.reload()
    assert running.journal.of("reload.done")[-1]["needs_restart"] == ["upstream"]
    assert running.upstreams[0].context is kept


@pytest.mark.parametrize("line", ['outcome_unknown = "hold"', 'give_up_after = "1 day"'])
def test_how_mail_is_delivered_waits_for_a_restart(running, line):
    path = running.folder / "mailgate.toml"
    path.write_text(path.read_text() + f"\n[delivery]\n{line}\n")
    running.reloader.reload()
    assert running.journal.of("reload.done")[-1]["needs_restart"] == ["delivery"]


def test_a_password_that_may_not_be_read_any_more_is_the_one_that_was(running):
    read_text = type(running.folder).read_text

    def denied(path, *arguments):
        if path.name == "secret":
            raise PermissionError(13, os.strerror(13))
        return read_text(path, *arguments)

    with mock.patch.object(type(running.folder), "read_text", denied):
        running.reloader.reload()
    assert running.outcomes() == ["reload.done"]
    assert running.journal.of("reload.done")[-1]["needs_restart"] is None

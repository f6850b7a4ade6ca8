"""A gateway that gives up root after it has read its keys."""

import os
import pwd
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from harness.gateway import Gateway, message
from harness.waiting import until


@pytest.fixture
def gateway():
    """A gateway in a folder that another user may enter."""
    with tempfile.TemporaryDirectory() as folder:
        made = Gateway(Path(folder), 1)
        yield made
        made.end()


def everyone_may_enter(path):
    return all(folder.stat().st_mode & 0o001 for folder in (path, *path.parents))


def given_up_for_nobody(gateway):
    """Have the gateway give up root for another user; return that user."""
    user = pwd.getpwnam("nobody")
    folder = gateway.stage.folder
    for path in (folder, folder / "queue"):
        os.chown(path, user.pw_uid, user.pw_gid)
    gateway.stage.certificates.chmod(0o755)
    assert (gateway.stage.certificates / "server.key").stat().st_mode & 0o077 == 0
    gateway.options = ("--uid", str(user.pw_uid), "--gid", str(user.pw_gid))
    return user


needs_root = pytest.mark.skipif(
    os.geteuid() != 0 or not everyone_may_enter(Path(sys.base_prefix)),
    reason="only root can give up being root, and its Python must be for others too",
)


@needs_root
def test_keys_are_read_before_privileges_drop_and_a_reload_does_without(gateway):
    user = given_up_for_nobody(gateway)
    gateway.start()
    assert Path(f"/proc/{gateway.program.pid}").stat().st_uid == user.pw_uid
    with gateway.client() as client:
        assert client.submit(message()).status == 202
    gateway.tables["clients.other"] = {"senders": ["*@example.com"]}
    gateway.write_settings()
    os.kill(gateway.program.pid, signal.SIGHUP)
    until(lambda: gateway.events("reload.done"), "the reload", 15)
    assert gateway.events("reload.failed") == []
    gateway.stop()


@needs_root
def test_workers_are_given_what_they_may_not_read(gateway):
    gateway.workers = 2
    secret = gateway.stage.folder / "secret"
    secret.write_text("비밀\n")
    secret.chmod(0o600)
    gateway.upstreams[0] |= {
        "certificate": "certs/internal.crt",
        "private_key": "certs/internal.key",
        "username": "gate",
        "password_file": "secret",
    }
    user = given_up_for_nobody(gateway)
    gateway.write_settings()
    gateway.stage.settings.chmod(0o600)
    gateway.start()
    os.kill(gateway.events("worker.started")[0]["pid"], signal.SIGKILL)
    until(lambda: len(gateway.events("worker.started")) == 3, "another worker", 15)
    workers = [event["pid"] for event in gateway.events("worker.started")][1:]
    assert {Path(f"/proc/{pid}").stat().st_uid for pid in workers} == {user.pw_uid}
    for pid in workers:
        shown = Path(f"/proc/{pid}/cmdline").read_bytes() + Path(f"/proc/{pid}/environ").read_bytes()
        assert "비밀".encode() not in shown
    with gateway.client() as client:
        assert client.submit(message()).status == 202
    gateway.stop()

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


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give up being root")
@pytest.mark.skipif(not everyone_may_enter(Path(sys.base_prefix)), reason="this Python is for root alone")
def test_keys_are_read_before_privileges_drop_and_a_reload_does_without(gateway):
    user = pwd.getpwnam("nobody")
    folder = gateway.stage.folder
    for path in (folder, folder / "queue"):
        os.chown(path, user.pw_uid, user.pw_gid)
    gateway.stage.certificates.chmod(0o755)
    assert (gateway.stage.certificates / "server.key").stat().st_mode & 0o077 == 0
    gateway.options = ("--uid", str(user.pw_uid), "--gid", str(user.pw_gid))
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

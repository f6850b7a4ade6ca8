"""Files are private from their first octet, and whole or not there at all."""

import errno
import os
import stat
from pathlib import Path

import pytest

from mailgate.ca import files
from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if not path.is_dir()
    }


@pytest.fixture
def no_umask():
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def authority(tmp_path):
    authority = CertificateAuthority(tmp_path / "certs")
    authority.create("CA", KeyType.EC, 3650, force=False)
    authority.issue_clients([ClientRequest("가"), ClientRequest("나")], KeyType.EC, 397, force=False)
    return authority


def test_a_key_is_private_while_it_is_being_written(tmp_path, monkeypatch, no_umask):
    seen = []
    sync = os.fsync

    def looking_sync(descriptor):
        seen.extend((path.name, stat.S_IMODE(path.stat().st_mode)) for path in (tmp_path / "certs").iterdir())
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", looking_sync)
    CertificateAuthority(tmp_path / "certs").create("CA", KeyType.EC, 10, force=False)

    keys = [mode for name, mode in seen if ".key" in name]
    assert len(keys) >= 2
    assert set(keys) == {0o600}


def test_a_key_is_never_in_a_repr():
    assert "secret" not in repr(files.NewFile(Path("ca.key"), b"secret", files.KEY_MODE))


@pytest.mark.parametrize("fails_at", range(6))
@pytest.mark.parametrize("operation", ["fsync", "rename"])
@pytest.mark.parametrize("name", ["가", "다"])
def test_a_full_disk_leaves_everything_as_it_was(operation, fails_at, name, authority, tmp_path, monkeypatch):
    before = contents(tmp_path)
    count = iter(range(1000))

    def failing(real):
        def call(*arguments):
            if next(count) == fails_at:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*arguments)

        return call

    with monkeypatch.context() as patch:
        if operation == "fsync":
            patch.setattr(os, "fsync", failing(os.fsync))
        else:
            patch.setattr(Path, "replace", failing(Path.replace))
        with pytest.raises(OSError, match="No space left"):
            authority.issue_clients([ClientRequest(name), ClientRequest("나")], KeyType.EC, 397, force=True)

    assert contents(tmp_path) == before


def test_an_interrupt_leaves_everything_as_it_was(authority, tmp_path, monkeypatch):
    before = contents(tmp_path)

    def interrupted(descriptor):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", interrupted)
        with pytest.raises(KeyboardInterrupt):
            authority.issue_clients([ClientRequest("다")], KeyType.EC, 397, force=False)

    assert contents(tmp_path) == before


def test_a_directory_in_a_files_place_is_told_of(authority, tmp_path):
    (tmp_path / "certs" / "다.key").mkdir()

    with pytest.raises(CertificateAuthorityError, match="is a directory"):
        authority.issue_clients([ClientRequest("다")], KeyType.EC, 397, force=True)


def test_what_is_no_ordinary_file_is_not_read(tmp_path):
    pipe = tmp_path / "ca.key"
    os.mkfifo(pipe)
    with pytest.raises(CertificateAuthorityError, match="not a file"):
        files.read(pipe)

    huge = tmp_path / "ca.crt"
    huge.write_bytes(b"x" * (files.LARGEST_FILE + 1))
    with pytest.raises(CertificateAuthorityError, match="too large"):
        files.read(huge)

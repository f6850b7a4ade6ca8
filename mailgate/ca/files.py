"""Files of a certificate directory: private from their first octet, and whole or not there at all."""

import fcntl
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from mailgate.ca.errors import CertificateAuthorityError

DIRECTORY_MODE = 0o700
KEY_MODE = 0o600
CERTIFICATE_MODE = 0o644

LARGEST_FILE = 1024 * 1024
"""No file with certificates or a key is larger; what is, is something else."""

_LOCK_POLL_SECONDS = 0.05

_FRESH = frozenset({"README.md", ".gitignore", ".gitkeep"})


@dataclass(frozen=True, slots=True)
class NewFile:
    """A file to write: where, what, and with which mode; the content may be a key and stays out of its repr."""

    path: Path
    content: bytes
    mode: int

    def __repr__(self) -> str:
        return f"NewFile({str(self.path)!r}, {self.mode:#o})"


def make_directory(directory: Path) -> None:
    """
    Create `directory` with mode 0700, or give it that mode where it holds nothing yet, as in a fresh checkout.

    A directory already in use keeps its mode: it may be somebody's home, or opened to a group on purpose.
    """
    if directory.is_dir():
        if {entry.name for entry in directory.iterdir()} <= _FRESH:
            directory.chmod(DIRECTORY_MODE)
        return
    directory.parent.mkdir(parents=True, exist_ok=True)
    directory.mkdir(DIRECTORY_MODE)


@contextmanager
def locked(directory: Path, seconds: float | None = None) -> Iterator[None]:
    """
    Hold `directory` alone among our own processes; the lock leaves no file and ends with the process.

    Waits for it, `seconds` at most if that is given. Raises CertificateAuthorityError then.
    """
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        _lock(descriptor, directory, seconds)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, directory: Path, seconds: float | None) -> None:
    if seconds is None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    end = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= end:
                raise CertificateAuthorityError(f"Another process is at work in {directory}.") from error
            time.sleep(_LOCK_POLL_SECONDS)
        else:
            return


def read(path: Path, largest: int = LARGEST_FILE) -> bytes:
    """Return a regular file's content; raises OSError, or CertificateAuthorityError for other or huge ones."""
    if path.exists() and not path.is_file():
        raise CertificateAuthorityError(f"{path} is not a file.")
    with path.open("rb") as file:
        content = file.read(largest + 1)
    if len(content) > largest:
        raise CertificateAuthorityError(f"{path} is too large to be a certificate or a key.")
    return content


def write_all(files: Sequence[NewFile]) -> None:
    """
    Write all of `files` durably, replacing what is there, or none of them.

    Everything is on disk under temporary names before the first file gets its own name. When giving the names
    fails half way, those given are taken back and the former contents restored. Raises OSError.
    """
    staged: list[tuple[Path, Path]] = []
    try:
        for file in files:
            temporary = file.path.with_name(f".{file.path.name}.{secrets.token_hex(6)}")
            # Noted before the file is there, so that an interrupt between the two leaves nothing behind.
            staged.append((temporary, file.path))
            _write(temporary, file.content, file.mode)
        _rename_all(staged)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    for directory in {file.path.parent for file in files}:
        _sync_directory(directory)


def _write(path: Path, content: bytes, mode: int) -> None:
    # O_EXCL: never through a link that somebody put there; the mode holds from the first octet on.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _rename_all(staged: Sequence[tuple[Path, Path]]) -> None:
    backups: list[tuple[Path, Path | None]] = []
    try:
        for temporary, path in staged:
            backups.append((path, _second_name(path)))
            temporary.replace(path)
    except BaseException:
        for path, backup in reversed(backups):
            if backup is not None:
                backup.replace(path)
                # rename(2) does nothing, and leaves both names, where they are the same file still.
                backup.unlink(missing_ok=True)
            elif not path.is_dir():
                path.unlink(missing_ok=True)
        raise
    for _, backup in backups:
        if backup is not None:
            backup.unlink(missing_ok=True)


def _second_name(path: Path) -> Path | None:
    """Give an existing file a second name, so that its content outlives its replacement; needs no disk space."""
    backup = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    try:
        os.link(path, backup, follow_symlinks=False)
    except FileNotFoundError:
        return None
    return backup


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # Some network file systems can't sync a directory; the files themselves are synced already.
        with suppress(OSError):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)

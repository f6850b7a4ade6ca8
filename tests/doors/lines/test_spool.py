"""Octets that wait for the rest of their message."""

import errno
import os
import resource
from contextlib import ExitStack, closing

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.doors.lines.spool import IN_MEMORY, SHARE_OF_DESCRIPTORS, Spools
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.wire.lines import StoreError


@pytest.fixture(scope="session")
def spool_at(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spools")
    return lambda refusal=None: Spools(folder, lambda: refusal).new()


pieces = st.lists(
    st.builds(lambda octet, size: bytes([octet]) * size, st.integers(0, 255), st.integers(0, 20_000))
)


@given(pieces, st.data())
def test_what_went_in_comes_out(spool_at, octets, data):
    whole = b"".join(octets)
    start = data.draw(st.integers(0, len(whole)))
    end = data.draw(st.integers(start, len(whole)))
    with closing(spool_at()) as spool:
        for piece in octets:
            spool.append(piece)
        assert (spool.size, spool.read(), spool.read(start, end)) == (len(whole), whole, whole[start:end])


def test_a_small_one_makes_no_file(spool_at):
    spool = spool_at(Refusal(RefusalCode.DISK_LOW, "full"))
    spool.append(b"x" * IN_MEMORY)
    assert spool.read() == b"x" * IN_MEMORY


def test_its_file_has_no_name_and_nobody_else_may_read_it(tmp_path):
    spool = Spools(tmp_path, lambda: None).new()
    spool.append(b"x" * (IN_MEMORY + 1))
    assert list(tmp_path.iterdir()) == []
    assert os.fstat(spool._file.fileno()).st_mode & 0o077 == 0
    spool.close()


def test_a_disk_that_is_too_full_to_begin_with(spool_at):
    refusal = Refusal(RefusalCode.DISK_LOW, "full")
    with pytest.raises(StoreError) as caught:
        spool_at(refusal).append(b"x" * (IN_MEMORY + 1))
    assert caught.value.refusal is refusal


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, RefusalCode.DISK_LOW),
        (errno.EIO, RefusalCode.STORAGE_UNAVAILABLE),
        (errno.EMFILE, RefusalCode.QUEUE_FULL),
    ],
)
def test_a_disk_that_fails_under_way(spool_at, monkeypatch, number, code):
    def write(_descriptor, _octets):
        raise OSError(number, "no")

    spool = spool_at()
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StoreError) as caught:
        spool.append(b"x" * (IN_MEMORY + 1))
    assert caught.value.refusal.code is code
    assert caught.value.refusal.retry_after
    spool.close()


def test_a_directory_that_is_gone(tmp_path):
    spool = Spools(tmp_path / "nowhere", lambda: None).new()
    with pytest.raises(StoreError):
        spool.append(b"x" * (IN_MEMORY + 1))


def test_a_file_that_lost_octets_is_no_message(spool_at):
    spool = spool_at()
    spool.append(b"x" * (IN_MEMORY + 1))
    os.ftruncate(spool._file.fileno(), 10)
    with pytest.raises(StoreError):
        spool.read()
    spool.close()


def test_a_file_that_can_not_be_read(spool_at, monkeypatch):
    def read(_descriptor, _octets, _at):
        raise OSError(errno.EIO, "no")

    spool = spool_at()
    spool.append(b"x" * (IN_MEMORY + 1))
    monkeypatch.setattr(os, "pread", read)
    with pytest.raises(StoreError):
        spool.read()
    spool.close()


def test_all_together_take_a_share_of_the_process_descriptors(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
    try:
        spools = Spools(tmp_path, lambda: None)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with ExitStack() as stack:
        held = [stack.enter_context(closing(spools.new())) for _ in range(256 // SHARE_OF_DESCRIPTORS)]
        for spool in held:
            spool.append(b"x" * (IN_MEMORY + 1))
        last = stack.enter_context(closing(spools.new()))
        last.append(b"x" * IN_MEMORY)
        with pytest.raises(StoreError) as caught:
            last.append(b"x")
        assert caught.value.refusal.code is RefusalCode.QUEUE_FULL
        held[0].close()
        last.append(b"x")
    assert spools.files == 0

"""Room that is kept for the day the disk is full."""

import pytest

from mailgate.queue.reserve import MAX_OCTETS, Reserve


@pytest.fixture
def file(path):
    return path.with_name(path.name + ".reserve")


def test_it_takes_real_room_and_gives_it_up_once(path, file):
    reserve = Reserve(path)
    reserve.take()
    assert file.stat().st_size == reserve.size <= MAX_OCTETS
    assert file.stat().st_blocks * 512 >= reserve.size
    assert file.stat().st_mode & 0o077 == 0
    assert reserve.give_up()
    assert not file.exists()
    assert not reserve.give_up()


def test_one_that_is_there_is_used_and_one_that_is_too_small_grows(path, file):
    file.write_bytes(b"0" * 100)
    reserve = Reserve(path)
    reserve.take()
    assert file.stat().st_size == reserve.size
    assert Reserve(path).give_up()


def test_it_comes_back_once_there_is_room(path, file):
    reserve = Reserve(path)
    reserve.take()
    reserve.give_up()
    reserve.take()
    assert file.exists()


def test_a_directory_that_is_gone_is_for_others_to_tell(tmp_path):
    reserve = Reserve(tmp_path / "없다" / "queue.db")
    reserve.take()
    assert not reserve.give_up()
    assert reserve.size == MAX_OCTETS

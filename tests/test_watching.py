"""Files that change while somebody watches."""

import os

import pytest
from twisted.internet.task import Clock

from mailgate.watching import LOOK_SECONDS, FileWatch


class Watched:
    """Two files, a watch, and how often it called."""

    def __init__(self, folder):
        self.clock = Clock()
        self.calls = 0
        self.files = [folder / "a", folder / "b"]
        for path in self.files:
            path.write_text("1")
        self.watch = FileWatch(self.changed, self.clock)
        self.watch.watch(self.files)
        self.watch.start()

    def changed(self):
        self.calls += 1
        self.watch.reading()

    def look(self, times=3):
        for _ in range(times):
            self.clock.advance(LOOK_SECONDS)
        return self.calls


@pytest.fixture
def watched(tmp_path):
    watched = Watched(tmp_path)
    yield watched
    watched.watch.stop()


def test_nothing_happens_while_nothing_changes(watched):
    assert watched.look(100) == 0


def test_a_change_is_told_once_and_the_next_one_again(watched):
    watched.files[0].write_text("22")
    assert watched.look() == 1
    assert watched.look() == 1
    watched.files[1].write_text("33")
    assert watched.look() == 2


def test_within_ten_seconds(watched):
    watched.files[0].write_text("22")
    for _ in range(10):
        watched.clock.advance(1)
    assert watched.calls == 1


def test_a_file_is_not_told_of_while_it_is_being_written(watched):
    for size in range(2, 30):
        watched.files[0].write_text("x" * size)
        assert watched.look(1) == 0
    assert watched.look() == 1


def test_a_rename_counts_and_so_does_another_target_of_a_link(watched, tmp_path):
    other = tmp_path / "other"
    other.write_text("1")
    os.utime(other, ns=(watched.files[0].stat().st_atime_ns, watched.files[0].stat().st_mtime_ns))
    other.replace(watched.files[0])
    assert watched.look() == 1
    link = tmp_path / "link"
    link.symlink_to("a")
    watched.watch.watch([link])
    link.unlink()
    link.symlink_to("b")
    assert watched.look() == 2


def test_a_file_that_goes_and_comes_back(watched):
    watched.files[0].unlink()
    assert watched.look() == 1
    watched.files[0].write_text("1")
    assert watched.look() == 2


def test_what_changed_before_the_files_were_read_is_not_told(watched):
    watched.files[0].write_text("22")
    watched.look(1)
    watched.watch.reading()
    assert watched.look() == 0


def test_what_changed_between_the_reading_and_a_new_list_of_files_is_told(watched, tmp_path):
    third = tmp_path / "third"
    third.write_text("1")
    watched.watch.reading()
    watched.files[0].write_text("22")
    watched.watch.watch([*watched.files, third])
    assert watched.look() == 1
    third.write_text("22")
    assert watched.look() == 2

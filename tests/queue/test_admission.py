"""Refusing what the disk has no room for, and taking it again once there is some."""

import os

import pytest

from mailgate.model.outcome import Outcome, Status
from mailgate.model.refusal import RefusalCode
from mailgate.queue.admission import DiskAdmission
from mailgate.queue.interface import Settlement

CONTENT = 1024 * 1024


@pytest.fixture
def url(path):
    """What is told here is SQLite's alone."""
    return f"sqlite:///{path}"


@pytest.fixture
def disk(tmp_path):
    """Octets of the file system."""
    status = os.statvfs(tmp_path)
    return status.f_blocks * status.f_frsize


def test_less_than_the_minimum_free_is_refused(tmp_path):
    refusal = DiskAdmission(tmp_path, 1.01, lambda: 0)()
    assert refusal is not None
    assert refusal.code is RefusalCode.DISK_LOW
    assert DiskAdmission(tmp_path, 0.0, lambda: 0)() is None


def test_what_the_queue_has_to_spare_counts_as_free(tmp_path, disk):
    assert DiskAdmission(tmp_path, 1.0, lambda: disk)() is None
    refusal = DiskAdmission(tmp_path, 0.0, lambda: -disk - 1)()
    assert refusal is not None
    assert refusal.code is RefusalCode.DISK_LOW


def test_a_directory_that_is_gone_is_told(tmp_path):
    refusal = DiskAdmission(tmp_path / "없음", 0.0, lambda: 0)()
    assert refusal is not None
    assert refusal.code is RefusalCode.STORAGE_UNAVAILABLE


def test_a_delivered_messages_room_is_the_queues_to_spare(open_here, turns, new_message, now):
    queue = open_here()
    message = new_message(content=b"x" * CONTENT, lease=True)
    turns.wait(queue.accept(message))
    turns.wait(queue.claim(1, now))
    assert queue.spare() <= 0, "its log still has to make the file grow"
    outcomes = tuple(Outcome(position, Status.ACCEPTED, None) for position in range(2))
    assert turns.wait(queue.settle(Settlement(message.id, outcomes, now, None))) is True
    turns.wait(queue.close())
    again = open_here()
    turns.wait(again.claim(1, now))
    assert again.spare() >= CONTENT

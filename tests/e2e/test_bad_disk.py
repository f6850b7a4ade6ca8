"""A file system that takes no more writes, and a queue that something else locks: refusals, and no loss."""

import json
import os
import shutil
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request

import pytest
from harness.gateway import message
from harness.load import Stream
from harness.waiting import until

from mailgate.demo.stage import free_port

TORTURE = "MAILGATE_DISK_TORTURE" in os.environ
LOCK_SECONDS = 60.0 if TORTURE else 6.0


class Disk:
    """An ext4 of the test's own on a loop device, which can be made to fail as a broken disk does."""

    def __init__(self, image, place):
        self._image = image
        self._place = place

    def mount(self):
        run("mount", "-o", "loop", self._image, self._place)

    def fail(self):
        # Without it a remount is refused as long as files are open for writing; this is what ext4 does by itself
        # after an error of the disk below it.
        run("mount", "-o", "remount,abort", self._place)

    def unmount(self):
        subprocess.run(["umount", self._place], check=False, capture_output=True)

    def mend(self):
        self.unmount()
        # Exit status 1 says that errors were corrected.
        assert subprocess.run(["e2fsck", "-fp", self._image], check=False, capture_output=True).returncode <= 1
        self.mount()


def run(*command):
    return subprocess.run(command, check=True, capture_output=True)


@pytest.fixture
def disk(stage, tmp_path):
    if os.geteuid() != 0 or not all(map(shutil.which, ("mount", "mkfs.ext4", "e2fsck"))):
        pytest.skip("only root can mount a file system, and it takes e2fsprogs")
    image = tmp_path / "disk.img"
    with image.open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    disk = Disk(image, stage.folder / "queue")
    try:
        run("mkfs.ext4", "-q", image)
        disk.mount()
    except subprocess.CalledProcessError:
        pytest.skip("a file system on a loop device can't be mounted here")
    yield disk
    disk.unmount()


@pytest.fixture
def watched(internal, new_gateway):
    """A gateway, not yet started, with an operations listener."""
    gateway = new_gateway(internal.port)
    gateway.tables["ops"] = {"listen": [f"tcp:{free_port()}:interface=127.0.0.1"]}
    return gateway


def readiness(gateway):
    port = str(gateway.tables["ops"]["listen"][0]).split(":")[1]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def stream_to(gateway):
    stream = Stream(gateway.client, lambda number: message(f"{number}번"), connections=8, patient=True).start()
    until(lambda: len(stream.accepted) > 100, "the first messages")
    return stream


def test_a_disk_that_became_read_only_under_load_loses_nothing(disk, watched, internal, new_gateway):
    watched.start()
    stream = stream_to(watched)
    disk.fail()
    until(lambda: len(stream.refused) >= 8, "refusals")
    assert not readiness(watched)["ready"]
    assert "mailgate.db" in readiness(watched)["reason"]
    stream.stop()
    assert {refusal["code"] for refusal in stream.refused} == {"storage_unavailable"}
    if TORTURE:
        # Its outcomes can't be written down, and it waits for that as long as it may.
        watched.program.stop(60)
    else:
        watched.program.kill()
    assert "Traceback" not in watched.log
    disk.mend()
    watched.start()
    until(lambda: set(stream.accepted) <= set(internal.message_ids()), "what was accepted", 60)
    watched.stop()


def test_a_queue_that_another_program_locks_is_refused_and_comes_back_by_itself(watched, internal):
    watched.start()
    stream = stream_to(watched)
    other = sqlite3.connect(watched.stage.folder / "queue" / "mailgate.db", isolation_level=None, timeout=30)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    until(lambda: stream.refused, "a refusal", 30)
    until(lambda: "is locked by another process" in readiness(watched)["reason"], "a reason")
    until(lambda: time.monotonic() - began >= LOCK_SECONDS, "the lock's time", LOCK_SECONDS + 1)
    other.execute("ROLLBACK")
    other.close()
    sent = len(stream.accepted)
    until(lambda: len(stream.accepted) > sent + 100, "messages after the lock")
    stream.stop()
    assert {refusal["code"] for refusal in stream.refused} == {"storage_unavailable"}
    until(lambda: readiness(watched)["ready"], "a gateway that is ready")
    until(lambda: set(stream.accepted) <= set(internal.message_ids()), "what was accepted", 60)
    watched.stop()
    assert len(internal.files()) == len(set(internal.message_ids()))

"""A disk that the queue itself has filled, on a small file system of its own."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.gateway import Gateway, message
from harness.internal import InternalServer
from harness.waiting import until

from mailgate.demo.stage import Stage

LETTER = message(text=("가나다라마바사 " * 10 + "\n") * 900)
"""About 200 KB as it is stored."""


@pytest.fixture
def small_disk(stage: Stage) -> Iterator[Path]:
    """Sixteen megabytes for the queue."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    place = stage.folder / "queue"
    command = ["mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system in memory can't be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


@pytest.mark.usefixtures("small_disk")
def test_a_queue_that_filled_its_disk_delivers_all_and_takes_mail_again(
    internal: InternalServer, new_gateway: Callable[..., Gateway]
) -> None:
    internal.stop()
    gateway = new_gateway(internal.port).start()
    accepted = []
    with gateway.client() as client:
        while (answer := client.submit(LETTER)).status == 202:
            accepted.append(str(answer["message_id"]))
        assert (answer.status, answer["code"]) == (507, "disk_low")
        assert accepted
        internal.start()
        until(lambda: len(internal.files()) >= len(accepted), "every delivery", 60.0)
        until(lambda: client.submit(LETTER).status == 202, "mail is taken again")
    gateway.stop()
    assert sorted(internal.message_ids()[: len(accepted)]) == sorted(accepted)

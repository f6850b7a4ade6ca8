"""A disk that is full: by the queue itself, or by something else, before and after the start."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness.gateway import Gateway, message
from harness.internal import InternalServer
from harness.load import Stream
from harness.waiting import until

from mailgate.demo.stage import Stage

LETTER = message(text=("가나다라마바사 " * 10 + "\n") * 900)
"""About 200 KB as it is stored."""

TORTURE = "MAILGATE_DISK_TORTURE" in os.environ
MESSAGES = 1000 if TORTURE else 100


@pytest.fixture(params=["16m", "8m"] if TORTURE else ["8m"])
def small_disk(request: pytest.FixtureRequest, stage: Stage) -> Iterator[Path]:
    """A few megabytes for the queue; into the smaller ones SQLite's log doesn't fit as a whole."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can mount a file system")
    place = stage.folder / "queue"
    command = ["mount", "-t", "tmpfs", "-o", f"size={request.param}", "tmpfs", place]
    mounted = subprocess.run(command, check=False, capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a file system in memory can't be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def fill(place: Path) -> Path:
    """Fill a file system to its last octet with a file."""
    filler = place / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            return filler


def submit_all(gateway: Gateway, count: int) -> list[object]:
    """Submit small messages; return their identifiers."""
    with gateway.client() as client:
        answers = [client.submit(message(f"{number}번")) for number in range(count)]
    assert {answer.status for answer in answers} == {202}
    return [answer["id"] for answer in answers]


def wait_until_recorded(gateway: Gateway, identifiers: list[object]) -> None:
    """Wait until the gateway has written down of each message that it was delivered."""
    with gateway.client() as client:
        for identifier in identifiers:
            until(lambda each=identifier: client.state(each)["status"] == "accepted", "a record", 60.0)  # type: ignore[misc]


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


def test_what_was_delivered_is_recorded_on_a_disk_that_something_else_filled(
    small_disk: Path, internal: InternalServer, new_gateway: Callable[..., Gateway]
) -> None:
    internal.stop()
    gateway = new_gateway(internal.port).start()
    identifiers = submit_all(gateway, MESSAGES)
    filler = fill(small_disk)
    with gateway.client() as client:
        refused = client.submit(LETTER)
        assert (refused.status, refused["code"]) == (507, "disk_low")
    internal.start()
    wait_until_recorded(gateway, identifiers)
    filler.unlink()
    with gateway.client() as client:
        until(lambda: client.submit(message()).status == 202, "mail is taken again")
    until((small_disk / "mailgate.db.reserve").exists, "a new reserve")
    gateway.stop()
    assert len(internal.files()) >= len(identifiers)
    assert len(set(internal.message_ids())) == len(internal.files())


def test_a_gateway_starts_on_a_disk_without_any_room_and_delivers_what_it_holds(
    small_disk: Path, internal: InternalServer, new_gateway: Callable[..., Gateway]
) -> None:
    internal.stop()
    gateway = new_gateway(internal.port).start()
    identifiers = submit_all(gateway, MESSAGES)
    gateway.program.kill()
    filler = fill(small_disk)
    internal.start()
    gateway.start()
    wait_until_recorded(gateway, identifiers)
    gateway.stop()
    # And once more where it took its leave in order, so that SQLite has no file of its own left.
    fill(small_disk)
    gateway.start()
    with gateway.client() as client:
        # What was delivered may have left room inside the queue's file.
        assert client.submit(message()).status in {202, 507}
        filler.unlink()
        until(lambda: client.submit(message()).status == 202, "mail is taken again")
    gateway.stop()


def test_a_disk_that_fills_under_load_loses_nothing(
    small_disk: Path, internal: InternalServer, new_gateway: Callable[..., Gateway]
) -> None:
    gateway = new_gateway(internal.port).start()
    stream = Stream(gateway.client, lambda number: message(f"{number}번"), connections=8, patient=True).start()
    until(lambda: len(stream.accepted) > MESSAGES, "the first messages")
    filler = fill(small_disk)
    until(lambda: len(stream.refused) >= 8, "a refusal on each connection")
    stream.stop()
    assert {refusal["code"] for refusal in stream.refused} <= {"disk_low", "storage_unavailable"}  # type: ignore[index]
    until(lambda: set(stream.accepted) <= set(internal.message_ids()), "what was accepted", 60.0)
    filler.unlink()
    with gateway.client() as client:
        until(lambda: client.submit(message()).status == 202, "mail is taken again")
    gateway.stop()
    assert len(set(internal.message_ids())) == len(internal.files())

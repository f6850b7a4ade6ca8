"""What a gateway says before a message is sent, and what each example makes of it."""

import contextlib
import re

import pytest
from harness.device import counted

pytestmark = pytest.mark.e2e

SMALL_LIMIT = 100_000
CONNECTIONS = 8
HOUR = 3600


def file_of(folder, octets, name="photo.jpg"):
    path = folder / name
    with path.open("wb") as file:
        file.truncate(octets)
    return path


def test_a_device_that_is_not_let_in_keeps_its_message_and_waits_for_an_hour(example, gateway, pause):
    result = example.send(gateway.lines_port, "g-1", device="stranger")
    assert (result.status, result.lines) == (4, ["535 5.7.8 - unknown client"]), result
    assert "the message is kept" in result.errors
    paused = pause(gateway.lines_port, "g-1", device="stranger")
    assert paused.reply == "535 5.7.8 - unknown client"
    assert HOUR * 3 / 4 <= paused.seconds <= HOUR
    assert "the message is kept" in paused.errors


def test_a_busy_gateway_is_tried_again_like_any_four(gateway, pause):
    with contextlib.ExitStack() as held:
        for number in range(CONNECTIONS):
            device = held.enter_context(gateway.device("camera"))
            # A connection within a message doesn't give way to a new one; the CHECK proves that it has begun.
            assert device.say(f"MAIL g-2-{number}\nCHECK\n").startswith("250 ")
        paused = pause(gateway.lines_port, "g-2")
    assert paused.reply.startswith("421 4.7.0 - closing: all connections that this client may have")
    assert 3 <= paused.seconds <= 5


def test_the_pause_that_is_asked_for_behind_a_key_of_64_characters(example, gateway, pause):
    def ask(key):
        with gateway.device("patient") as device:
            return device.say(f"MAIL {key}\nFROM cam3@example.com\nTO ops@example.com\nSEND\n")

    ask("first")
    refused = ask("second")
    least = int(re.match(r"450 4\.7\.0 second retry=([0-9]+) ", refused)[1])
    key = "k" * (64 - len(example.key("")))
    assert len(example.key(key)) == 64
    paused = pause(gateway.lines_port, key, device="patient")
    assert paused.reply.startswith(f"450 4.7.0 {example.key(key)}"[:63])
    assert least * 0.9 <= paused.seconds <= least * 1.25


@pytest.mark.parametrize("octets", [80_000, 26_214_400, 4 * 1024**3 + 5], ids=["80 kB", "25 MiB", "4 GiB and 5"])
def test_a_file_too_large_for_the_gateway_is_not_uploaded(example, gateway, cable, small, tmp_path, octets):
    refused = len(gateway.events("request.refused"))
    result = example.send(cable.port, "g-3", file_of(tmp_path, octets), "image/jpeg", device=small)
    assert (result.status, result.lines) == (5, []), result
    assert "too large" in result.errors
    assert sum(cable.flights[::2]) < 8 * 1024
    assert len(gateway.events("request.refused")) == refused


def test_the_largest_message_that_the_gateway_takes_is_sent(example, gateway, small, tmp_path):
    def composed(octets):
        """Return how large the gateway would make the same message with a file of so many octets."""
        with gateway.device(small) as device:
            fields = [
                counted("FROM", b"cam3@example.com"),
                counted("TO", b"ops@example.com"),
                counted("SUBJ", b"s"),
                counted("TEXT", b"t"),
                counted("FILE", bytes(octets), "image/jpeg", "photo.jpg"),
            ]
            device.send(b"MAIL g\n" + b"".join(fields) + b"DRYRUN\nSEND\n")
            lines = [device.line(), device.line()]
            return int(lines[1].removeprefix("250-2.0.0 size=")) if lines[1][3] == "-" else None

    octets = 57 * 1000
    octets += (SMALL_LIMIT - composed(octets)) // 78 * 57
    assert SMALL_LIMIT - 78 < composed(octets) <= SMALL_LIMIT
    path = file_of(tmp_path, octets)
    result = example.send(
        gateway.lines_port, "g-4", path, "image/jpeg", device=small, subject="s", text="t", tries=1
    )
    assert result.status == 0, result

"""What was just accepted goes out from memory: two durable writes for a message, and memory that has a bound."""

import hashlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from harness.gateway import Gateway, message
from harness.internal import InternalServer
from harness.load import send_all
from harness.waiting import until

MIB = 1024 * 1024


@contextmanager
def syncs(gateway: Gateway, folder: Path) -> Iterator[Callable[[], int]]:
    """Count how often the gateway waits for its disk."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    output = folder / "strace"
    command = [strace, "-f", "-o", output, "-e", "trace=fsync,fdatasync", "-p", str(gateway.program.pid)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        if "attached" not in tracer.stderr.readline():
            pytest.skip("strace may not look at other processes here")
        yield lambda: len(re.findall(r"^\d+ +f(?:data)?sync\(", output.read_text(), re.MULTILINE))
        tracer.send_signal(signal.SIGINT)


def test_a_message_is_written_twice(gateway: Gateway, tmp_path: Path) -> None:
    with syncs(gateway, tmp_path) as count, gateway.client() as client:
        for number in range(50):
            assert client.submit(message(f"{number}"), Prefer="wait=10")["status"] == "accepted"
        # Once with its lease, once with its outcome; now and then the log goes into the file.
        assert 100 <= count() <= 110


def test_messages_share_their_writes(gateway: Gateway, internal: InternalServer, tmp_path: Path) -> None:
    with syncs(gateway, tmp_path) as count:
        send_all(gateway.client, [message(f"{number}") for number in range(640)])
        until(lambda: len(internal.files()) == 640, "the deliveries")
        assert count() < 640


def memory(gateway: Gateway) -> int:
    """Return the octets of memory that the gateway's process has."""
    status = Path(f"/proc/{gateway.program.pid}/status").read_text()
    return int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024


def test_what_does_not_fit_into_memory_is_read_back(gateway: Gateway, internal: InternalServer) -> None:
    assert internal.program is not None
    content = [hashlib.shake_256(bytes([number])).hexdigest(2 * MIB) for number in range(60)]
    with gateway.client() as client:
        assert client.submit(message(), Prefer="wait=10")["status"] == "accepted"
        before = memory(gateway)
        os.kill(internal.program.pid, signal.SIGSTOP)
        for text in content:
            lines = "\n".join(text[start : start + 64] for start in range(0, len(text), 64))
            assert client.submit(message(text=lines + "\n")).status == 202
        grown = memory(gateway) - before
        os.kill(internal.program.pid, signal.SIGCONT)
        until(lambda: len(internal.files()) == 1 + len(content), "the deliveries", 60)
    # 240 MiB were accepted; 64 MiB may wait in memory, beside the few that are being read or sent.
    assert grown < 160 * MIB
    found = {hashlib.sha256("".join(_text(path).split()).encode()).digest() for path in internal.files()[1:]}
    assert found == {hashlib.sha256(text.encode()).digest() for text in content}


def _text(path: Path) -> str:
    return path.read_text().partition("\n\n")[2]

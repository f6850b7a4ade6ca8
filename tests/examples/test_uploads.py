"""Uploads that something comes in the way of: each example, and what it does then."""

import dataclasses
import os
import re
import selectors
import shutil
import signal
import socket
import threading
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from harness.cable import PIECE, Cable
from harness.waiting import until

pytestmark = pytest.mark.e2e

JAM_AFTER = 64 * 1024
# More than fits into what the systems keep for a connection.
LONG = bytes(range(251)) * 25_000


class Jam(Cable):
    """
    A cable that takes so many octets from the client and no more, until it is cleared; replies go through.

    Attributes:
        jammed: set once it takes no more.

    """

    def __init__(self, port: int) -> None:
        self.jammed = threading.Event()
        self._cleared = threading.Event()
        super().__init__(port)
        # The octets on their way should be few.
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)

    def clear(self) -> None:
        """Let everything through from now on."""
        self._cleared.set()

    def _connect(self, client: socket.socket) -> None:
        taken = 0
        with (
            socket.create_connection(("127.0.0.1", self._target)) as gateway,
            selectors.DefaultSelector() as ready,
        ):
            ready.register(client, selectors.EVENT_READ)
            ready.register(gateway, selectors.EVENT_READ)
            while not self._closing:
                for key, _ in ready.select(0.05):
                    octets = key.fileobj.recv(PIECE)
                    if not octets:
                        return
                    taken += len(octets) if key.fileobj is client else 0
                    (gateway if key.fileobj is client else client).sendall(octets)
                if taken > JAM_AFTER and not self.jammed.is_set():
                    ready.unregister(client)
                    self.jammed.set()
                if self.jammed.is_set() and self._cleared.is_set() and client not in ready.get_map():
                    ready.register(client, selectors.EVENT_READ)


@pytest.fixture
def jam(gateway):
    made = Jam(gateway.lines_port)
    yield made
    made.close()


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(LONG)
    return path


@pytest.fixture
def impatient(example, built, tmp_path):
    """The example, but where it waits for a minute it now waits for a second or two."""
    if example.name in {"mbedtls", "wolfssl"}:
        return dataclasses.replace(example, command=[str(built(f"send-{example.name}", "-DTRANSPORT_SECONDS=1"))])
    if example.name == "shell":
        return dataclasses.replace(example, environment={"MAILGATE_SECONDS": "2"})
    interpreter, script = example.command
    hasty = tmp_path / "hasty.py"
    hasty.write_text(
        f"import sys; sys.path.insert(0, {str(Path(script).parent)!r})\n"
        "import mailgate, send\n"
        "mailgate.SECONDS = 1\n"
        "sys.exit(send.main(sys.argv[1:]))\n"
    )
    return dataclasses.replace(example, command=[interpreter, str(hasty)])


def test_what_the_gateway_said_is_read_after_a_write_that_failed(example, mortal, photo):
    jam = Jam(mortal.lines_port)
    try:
        with example.start(example.arguments(jam.port, "u-1", photo, "image/jpeg")) as process:
            assert jam.jammed.wait(30)
            mortal.program.stop()
            output, errors = process.communicate(timeout=30)
    finally:
        jam.close()
    assert process.returncode == 4
    assert output.startswith("421 4.3.2 - closing: the gateway is shutting down"), (output, errors)


def test_a_gateway_that_takes_nothing_more_is_not_waited_for_forever(impatient, gateway, jam, photo):
    accepted = len(gateway.events("message.accepted"))
    result = impatient.send(jam.port, "u-2", photo, "image/jpeg")
    assert jam.jammed.is_set()
    assert (result.status, result.lines) == (4, ["lost"]), result
    assert len(gateway.events("message.accepted")) == accepted


def test_a_gateway_that_never_says_anything_is_not_waited_for_forever(impatient):
    with socket.create_server(("127.0.0.1", 0)) as mute:
        result = impatient.send(mute.getsockname()[1], "u-3")
    assert (result.status, result.lines) == (4, ["lost"]), result


def test_a_file_that_becomes_shorter_is_given_up_and_nothing_is_sent(example, gateway, jam, photo):
    accepted = len(gateway.events("message.accepted"))
    with example.start(example.arguments(jam.port, "u-4", photo, "image/jpeg", tries=2)) as process:
        assert jam.jammed.wait(30)
        os.truncate(photo, len(LONG) - 1)
        jam.clear()
        output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (5, ""), errors
    assert "has become shorter" in errors
    assert len(gateway.events("message.accepted")) == accepted
    with gateway.device("camera") as device:
        assert device.say(f"STAT {example.key('u-4')}\n").endswith(" never accepted")


def test_a_file_that_becomes_longer_is_sent_as_it_was(example, gateway, internal, jam, photo):
    def mails():
        return [each.content for each in internal.kept() if b'name="photo.jpg"' in each.content]

    before = len(mails())
    with example.start(example.arguments(jam.port, "u-5", photo, "image/jpeg")) as process:
        assert jam.jammed.wait(30)
        with photo.open("ab") as file:
            file.write(b"\nDROP\n")
        jam.clear()
        output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, (output, errors)
    until(lambda: len(mails()) > before, "the delivery")
    [file] = message_from_bytes(mails()[-1], policy=SMTP).iter_attachments()
    assert file.get_payload(decode=True) == LONG


def test_why_there_is_no_reply_is_told(example, gateway, other_ca):
    refused = example.send(1, "u-6")
    assert (refused.status, refused.lines) == (4, ["lost"])
    assert re.search(r"refused|connect|NET|ECONN", refused.errors), refused
    distrusted = dataclasses.replace(example, ca=other_ca).send(gateway.lines_port, "u-6")
    assert (distrusted.status, distrusted.lines) == (4, ["lost"])
    assert re.search(r"verif|certificate|signer|CERT", distrusted.errors), distrusted


@pytest.mark.parametrize("example", ["shell"], indirect=True)
def test_the_shell_needs_no_timeout_command_and_leaves_nothing_behind(example, gateway, tmp_path):
    tools, temporary = tmp_path / "tools", tmp_path / "temporary"
    tools.mkdir()
    temporary.mkdir()
    for tool in ("sh", "cat", "head", "mkfifo", "mktemp", "od", "openssl", "rm", "sed", "sleep", "tr", "wc"):
        (tools / tool).symlink_to(shutil.which(tool))
    bare = dataclasses.replace(example, environment={"PATH": str(tools), "TMPDIR": str(temporary)})
    assert bare.send(gateway.lines_port, "u-7").status == 0
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("example", ["shell"], indirect=True)
def test_the_shell_ends_at_once_when_it_is_told_to(example, tmp_path):
    waiting = dataclasses.replace(example, environment={"TMPDIR": str(tmp_path)})
    with waiting.start(waiting.arguments(1, "u-9", tries=10)) as process:
        for line in process.stderr:
            if line.startswith("again in "):
                break
        assert len(list(tmp_path.iterdir())) == 1
        process.terminate()
        assert process.wait(30) == 128 + signal.SIGTERM
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("example", ["shell"], indirect=True)
def test_the_shell_says_that_its_time_was_over(impatient, jam, photo):
    result = impatient.send(jam.port, "u-8", photo, "image/jpeg")
    assert result.status == 4
    assert "not done within 2 s" in result.errors

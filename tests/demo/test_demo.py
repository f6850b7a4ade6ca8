"""The demo as a user runs it, with real processes, none of which stays behind."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
DEMO = [sys.executable, "-c", "from mailgate.cli import main; main()", "demo"]


class Running:
    """A demo in the background."""

    def __init__(self, folder, *arguments, **environment):
        self.folder = folder
        self.output = folder.with_suffix(".txt")
        with self.output.open("wb") as sink:
            self.process = subprocess.Popen(
                [*DEMO, "--dir", folder, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=folder.parent,
                env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            )

    @property
    def printed(self):
        return self.output.read_text()

    def wait_for(self, words, seconds=60):
        deadline = time.monotonic() + seconds
        while words not in self.printed:
            assert self.process.poll() is None, self.printed
            assert time.monotonic() < deadline, self.printed
            time.sleep(0.02)

    def end(self, number=None):
        """Send a signal, if any, and return the exit status."""
        if number is not None:
            self.process.send_signal(number)
        return self.process.wait(60)


@pytest.fixture
def start(tmp_path):
    """Start demos that are ended after the test, and leave nothing running."""
    started = []

    def start_one(name, *arguments, **environment):
        started.append(Running(tmp_path / name, *arguments, **environment))
        return started[-1]

    yield start_one
    for demo in started:
        if demo.process.poll() is None:
            demo.end(signal.SIGTERM)
    assert processes_of(tmp_path) == []


def processes_of(folder):
    """Return the command lines of all processes that name the folder."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            command = file.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in command:
            found.append(command)
    return found


def test_once_shows_the_delivered_messages_and_leaves_nothing_running(start, tmp_path):
    demo = start("demo", "--once")
    assert demo.end() == 0, demo.printed
    for shown in ("3번 구역의 온도 경고", "온도 센서 7 <sensor-7@example.com>", "안녕하세요.", "온도 기록.csv"):
        assert shown in demo.printed
    for shown in (
        "3번 구역의 온도가 정상입니다",
        "지금은 21 °C입니다.",
        "220 mailgate/1 gate.example.com id=unique_client ",
    ):
        assert shown in demo.printed
    mails = list((tmp_path / "demo" / "mail").glob("*.eml"))
    assert len(mails) == 2
    for mail in mails:
        assert str(mail.relative_to(tmp_path)) in demo.printed
        assert json.loads(mail.with_suffix(".json").read_text())["tls"] is True
    assert processes_of(tmp_path) == []


def test_a_second_time_goes_on_with_the_same_certificates_and_mail(start, tmp_path):
    certificate = tmp_path / "demo" / "certs" / "unique_client.crt"
    assert start("demo", "--once").end() == 0
    first = certificate.read_bytes()
    assert start("demo", "--once").end() == 0
    assert certificate.read_bytes() == first
    assert len(list((tmp_path / "demo" / "mail").glob("*.eml"))) == 4


def test_two_at_the_same_time_and_the_usual_ports_taken(start, tmp_path):
    with listening(8443), listening(8465), listening(2525):
        demos = [start(name, "--once") for name in ("하나", "둘")]
        assert [demo.end() for demo in demos] == [0, 0], [demo.printed for demo in demos]


def test_two_in_one_folder_is_refused(start):
    first = start("demo")
    first.wait_for("Ctrl-C")
    second = start("demo", "--once")
    assert second.end() == 1
    assert "another demo runs in" in second.printed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_stays_up_until_a_signal_and_then_stops_what_it_started(number, start, tmp_path):
    demo = start("demo")
    demo.wait_for("Ctrl-C")
    assert len(processes_of(tmp_path)) == 3
    assert demo.end(number) == 0
    assert processes_of(tmp_path) == []
    assert "gateway.stopped" in (tmp_path / "demo" / "gateway.log").read_text()


@pytest.mark.parametrize("words", ["", "internal SMTP server"])
def test_a_signal_at_the_start_leaves_nothing_behind(words, start, tmp_path):
    demo = start("demo", "--once")
    # The lock is the first thing a demo makes once it minds signals.
    until_exists(tmp_path / "demo" / "lock")
    demo.wait_for(words)
    assert demo.end(signal.SIGTERM) in {0, 1}
    assert processes_of(tmp_path) == []


def test_sends_with_its_own_client_where_curl_is_missing(start, tmp_path):
    programs = tmp_path / "bin"
    programs.mkdir()
    demo = start("demo", "--once", PATH=str(programs))
    assert demo.end() == 0, demo.printed
    assert "curl is not here" in demo.printed


def test_the_commands_it_prints_work(start, tmp_path):
    if shutil.which("curl") is None or shutil.which("openssl") is None:
        pytest.skip("curl or openssl is not installed")
    demo = start("demo")
    demo.wait_for("Ctrl-C")
    blocks = [block for block in demo.printed.split("\n\n") if block.startswith("# ")]
    commands = {block.partition("\n")[0]: block for block in blocks}
    assert '"status":"queued"' in shell(commands["# send it again"], tmp_path).replace(" ", "")
    assert "unique_client" in shell(commands["# who the gateway says you are"], tmp_path)
    (title,) = (title for title in commands if title.startswith("# speak to the line door"))
    by_hand = f"printf 'MAIL\\nFROM a@example.com\\nTO b@example.com\\nSEND\\nEXIT\\n' | ({commands[title]})"
    assert "\n250 2.0.0 - id=" in shell(by_hand, tmp_path)
    assert "Verify return code: 0 (ok)" in shell(commands["# look at the TLS"], tmp_path)
    assert shell(
        commands["# a client without a certificate gets nowhere"] + " || echo refused", tmp_path
    ).endswith("refused\n")


def test_says_in_one_sentence_why_the_gateway_does_not_start(start, tmp_path):
    (tmp_path / "demo" / "queue").mkdir(parents=True)
    (tmp_path / "demo" / "queue" / "mailgate.db").write_bytes(b"no database " * 500)
    demo = start("demo", "--once")
    assert demo.end() == 1
    (line,) = demo.printed.splitlines()
    assert "the gateway ended before it took connections" in line
    assert "mailgate.db" in line


def listening(port):
    """Listen at a port, unless somebody does already."""
    taken = socket.socket()
    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        taken.bind(("127.0.0.1", port))
        taken.listen()
    except OSError:
        pass
    return taken


def until_exists(path):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def shell(command, cwd):
    done = subprocess.run(
        ["sh", "-c", command],
        check=False,
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout

"""A gateway for devices, and the example clients as programs."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from harness.cable import Cable
from harness.gateway import Gateway
from harness.internal import InternalServer

from mailgate.ca.authority import DEFAULT_CA_DAYS, DEFAULT_LEAF_DAYS, CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.demo.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"
SMALL = "small-with-a-name-so-long-that-the-greeting-fills-the-buffer"
DEVICES = {
    "camera": {"senders": ["*@example.com"]},
    "hasty": {"senders": ["*@example.com"], "rate": "1/second"},
    "patient": {"senders": ["*@example.com"], "rate": "1/hour"},
    "narrow": {"senders": ["narrow@example.com"]},
    SMALL: {"senders": ["*@example.com"], "max_message": "100kB"},
}
STRANGER = "stranger"
CLIENTS = ("mbedtls", "wolfssl", "micropython", "python", "shell")


def missing_for(client: str) -> str | None:
    """Return why an example can't be run here, or None."""
    headers = {"mbedtls": "mbedtls/ssl.h", "wolfssl": "wolfssl/ssl.h"}
    if client in headers:
        if shutil.which("cc") is None or shutil.which("make") is None:
            return "there is no C compiler or no make"
        if not any(Path(place, headers[client]).exists() for place in ("/usr/include", "/usr/local/include")):
            return f"the headers of {client} are not installed"
    if client == "shell" and shutil.which("openssl") is None:
        return "openssl is not installed"
    if client == "micropython" and micropython() is None:
        return "MicroPython's unix port is not installed"
    return None


def micropython() -> str | None:
    return shutil.which("micropython", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")


@dataclass(frozen=True)
class Result:
    status: int
    lines: list[str]
    errors: str


@dataclass(frozen=True)
class Pause:
    """What an example said before it waits, and for how many seconds it does."""

    reply: str
    seconds: int
    errors: str


@dataclass(frozen=True)
class Example:
    """One client; each takes the same arguments."""

    name: str
    command: list[str]
    certificates: Path
    ca: Path
    environment: dict[str, str] = field(default_factory=dict)

    def key(self, key: str) -> str:
        """Return a key that no other example uses."""
        return f"{self.name}-{key}"

    def arguments(
        self,
        port: int,
        key: str,
        *file: object,
        tries: int = 1,
        device: str = "camera",
        host: str = "localhost",
        sender: str = "cam3@example.com",
        subject: str = "온도 경고, 81 °C",
        text: str = "3번 구역이 뜨겁습니다.",
    ) -> list[str]:
        """Return what it is told on its command line; the key is made its own."""
        own = [self.certificates / f"{device}.crt", self.certificates / f"{device}.key"]
        message = [self.key(key), sender, "ops@example.com", subject, text]
        return [str(each) for each in ("-t", tries, host, port, self.ca, *own, *message, *file)]

    def run(self, arguments: Sequence[str]) -> Result:
        """Run it to its end."""
        with self.start(arguments) as process:
            output, errors = process.communicate(timeout=120)
        return Result(process.returncode, output.splitlines(), errors)

    @contextmanager
    def start(self, arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
        """Start it; it has ended when the context has."""
        with subprocess.Popen(
            [*self.command, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            env={**os.environ, **self.environment},
        ) as process:
            try:
                yield process
            finally:
                process.kill()

    def send(self, port: int, key: str, *file: object, **options: object) -> Result:
        """Run it to its end with these arguments."""
        return self.run(self.arguments(port, key, *file, **options))


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Build a target of the C example, outside of the sources."""

    def build(target: str, *flags: str) -> Path:
        folder = tmp_path_factory.getbasetemp() / "-".join(("c", *flags)).replace("/", "_")
        shutil.copytree(EXAMPLES / "c", folder, dirs_exist_ok=True)
        # What was built in the sources by hand doesn't count.
        command = ["make", "-B", "-C", folder, f"CFLAGS=-Os -g {' '.join(flags)}", target]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder / target

    return build


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    prepared = Stage(tmp_path_factory.mktemp("devices"))
    prepared.prepare()
    authority = CertificateAuthority(prepared.certificates)
    requests = [ClientRequest(name) for name in (*DEVICES, STRANGER)]
    authority.issue_clients(requests, KeyType.EC, DEFAULT_LEAF_DAYS, force=True)
    return prepared


@pytest.fixture(scope="module")
def internal(stage: Stage) -> Iterator[InternalServer]:
    server = InternalServer(stage)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def gateway(stage: Stage, internal: InternalServer) -> Iterator[Gateway]:
    made = new_gateway(stage.folder, internal)
    yield made.start()
    made.end()


@pytest.fixture
def mortal(stage: Stage, internal: InternalServer, tmp_path: Path) -> Iterator[Gateway]:
    """A gateway with the same certificates that nobody else needs."""
    shutil.copytree(stage.certificates, tmp_path / "gateway" / "certs")
    made = new_gateway(tmp_path / "gateway", internal)
    yield made.start()
    made.end()


def new_gateway(folder: Path, internal: InternalServer) -> Gateway:
    made = Gateway(folder, internal.port)
    made.tables.update({f"clients.{name}": table for name, table in DEVICES.items()})
    return made


@pytest.fixture
def small() -> str:
    """Return the name of a client that may send 100 kB."""
    return SMALL


@pytest.fixture
def cable(gateway: Gateway) -> Iterator[Cable]:
    made = Cable(gateway.lines_port)
    yield made
    made.close()


@pytest.fixture
def other_name(gateway: Gateway) -> Iterator[Cable]:
    """A way to the gateway by an address that its certificate doesn't have."""
    made = Cable(gateway.lines_port, "127.0.0.2")
    yield made
    made.close()


@pytest.fixture(scope="session")
def other_ca(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA that issued nothing here."""
    folder = tmp_path_factory.mktemp("other")
    CertificateAuthority(folder).create("other CA", KeyType.EC, DEFAULT_CA_DAYS, force=False)
    return folder / "ca.crt"


@pytest.fixture(params=CLIENTS)
def example(request: pytest.FixtureRequest, built: Callable[..., Path], stage: Stage) -> Example:
    """Each example in turn."""
    client = request.param
    reason = missing_for(client)
    if reason is not None:
        pytest.skip(reason)
    match client:
        case "micropython":
            command = [micropython(), EXAMPLES / "micropython" / "send.py"]
        case "python":
            command = [sys.executable, EXAMPLES / "micropython" / "send.py"]
        case "shell":
            command = ["sh", EXAMPLES / "shell" / "send.sh"]
        case _:
            command = [built(f"send-{client}")]
    return Example(client, [str(part) for part in command], stage.certificates, stage.certificates / "ca.crt")


@pytest.fixture
def pause(example: Example) -> Callable[..., Pause]:
    """Run the example, told as `Example.arguments` says, until it waits for its second try."""

    def run(*arguments: object, **options: object) -> Pause:
        errors = ""
        with example.start(example.arguments(*arguments, tries=2, **options)) as process:
            try:
                for line in process.stderr:
                    errors += line
                    waits = re.fullmatch(r"again in ([0-9]+) s\n", line)
                    if waits:
                        return Pause(process.stdout.readline().rstrip(), int(waits[1]), errors)
            finally:
                process.terminate()
                process.wait(30)
        raise AssertionError(f"it waits for nothing: {errors}")

    return run

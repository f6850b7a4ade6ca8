"""A gateway for devices, and the example clients as programs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from harness.cable import Cable
from harness.gateway import Gateway
from harness.internal import InternalServer

from mailgate.ca.authority import DEFAULT_CA_DAYS, DEFAULT_LEAF_DAYS, CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.demo.stage import Stage

EXAMPLES = Path(__file__).parents[2] / "examples"
DEVICES = ("camera", "hasty", "narrow")


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
class Example:
    """One client; each takes the same arguments."""

    name: str
    command: list[str]
    certificates: Path
    ca: Path

    def key(self, key: str) -> str:
        """Return a key that no other example uses."""
        return f"{self.name}-{key}"

    def send(
        self,
        port: int,
        key: str,
        *file: object,
        tries: int = 1,
        device: str = "camera",
        host: str = "localhost",
        sender: str = "cam3@example.com",
        text: str = "3번 구역이 뜨겁습니다.",
    ) -> Result:
        """Run it to its end; the key is made its own."""
        own = [self.certificates / f"{device}.crt", self.certificates / f"{device}.key"]
        message = [self.key(key), sender, "ops@example.com", "온도 경고, 81 °C", text]
        arguments = ["-t", tries, host, port, self.ca, *own, *message, *file]
        done = subprocess.run(
            [*self.command, *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
        )
        return Result(done.returncode, done.stdout.splitlines(), done.stderr)


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Build a target of the C example, outside of the sources."""
    folder = tmp_path_factory.mktemp("c")
    shutil.copytree(EXAMPLES / "c", folder, dirs_exist_ok=True)

    def build(target: str) -> Path:
        done = subprocess.run(["make", "-C", folder, target], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return folder / target

    return build


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    prepared = Stage(tmp_path_factory.mktemp("devices"))
    prepared.prepare()
    authority = CertificateAuthority(prepared.certificates)
    authority.issue_clients([ClientRequest(name) for name in DEVICES], KeyType.EC, DEFAULT_LEAF_DAYS, force=True)
    return prepared


@pytest.fixture(scope="module")
def internal(stage: Stage) -> Iterator[InternalServer]:
    server = InternalServer(stage)
    yield server.start()
    server.stop()


@pytest.fixture(scope="module")
def gateway(stage: Stage, internal: InternalServer) -> Iterator[Gateway]:
    made = Gateway(stage.folder, internal.port)
    made.tables["clients.camera"] = {"senders": ["*@example.com"]}
    made.tables["clients.hasty"] = {"senders": ["*@example.com"], "rate": "1/second"}
    made.tables["clients.narrow"] = {"senders": ["narrow@example.com"]}
    yield made.start()
    made.end()


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


@pytest.fixture(params=["mbedtls", "wolfssl", "micropython", "python", "shell"])
def example(request: pytest.FixtureRequest, built: Callable[[str], Path], stage: Stage) -> Example:
    """Each example in turn."""
    client = request.param
    reason = missing_for(client)
    if reason is not None:
        pytest.skip(reason)
    match client:
        case "micropython":
            command = [micropython(), EXAMPLES / "micropython" / "mailgate.py"]
        case "python":
            command = [sys.executable, EXAMPLES / "micropython" / "mailgate.py"]
        case "shell":
            command = ["sh", EXAMPLES / "shell" / "send.sh"]
        case _:
            command = [built(f"send-{client}")]
    return Example(client, [str(part) for part in command], stage.certificates, stage.certificates / "ca.crt")

"""The folder of a demo: certificates, settings, and where each part keeps what it gets."""

import datetime
import os
import secrets
import shutil
import socket
import sys
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from cryptography.x509 import load_pem_x509_certificate

from mailgate.ca.authority import DEFAULT_CA_DAYS, DEFAULT_LEAF_DAYS, CertificateAuthority, ClientRequest, utc_now
from mailgate.ca.issue import KeyType
from mailgate.demo.processes import Program, ProgramError

CLIENT = "unique_client"
HOSTNAME = "gate.example.com"
LOOPBACK = "127.0.0.1"

_PORTS = range(10240, 32768)

_SETTINGS = """\
hostname = "{hostname}"

[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"

[https]
listen = ["tcp:{https_port}:interface=127.0.0.1"]

[lines]
listen = ["tcp:{lines_port}:interface=127.0.0.1"]

[queue]
url = "sqlite:///queue/mailgate.db"

[[upstream]]
host = "localhost"
port = {smtp_port}
tls = "starttls"
ca = "certs/ca.crt"

[delivery]
first_retry = "2s"

[clients.unique_client]
certificates = ["CN:unique_client"]
senders = ["*@example.com"]
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """What a demo needs on disk, below one absolute folder."""

    folder: Path

    @property
    def certificates(self) -> Path:
        """The certificate authority's directory."""
        return self.folder / "certs"

    @property
    def settings(self) -> Path:
        """The gateway's settings file."""
        return self.folder / "mailgate.toml"

    @property
    def mail(self) -> Path:
        """Where the internal server keeps its messages."""
        return self.folder / "mail"

    def prepare(self) -> None:
        """
        Make the directories, and certificates where there are none that last another day.

        Raises OSError, or CertificateAuthorityError.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        for part in (self.folder / "queue", self.mail):
            part.mkdir(exist_ok=True)
        if not all(_lasts(self.certificates / f"{name}.crt") for name in ("ca", "server", "internal", CLIENT)):
            self._issue()

    def _issue(self) -> None:
        authority = CertificateAuthority(self.certificates)
        authority.create("mailgate demo CA", KeyType.EC, DEFAULT_CA_DAYS, force=True)
        for name in ("server", "internal"):
            authority.issue_server(
                ["localhost"], [LOOPBACK, "::1"], name, KeyType.EC, DEFAULT_LEAF_DAYS, force=True
            )
        client = ClientRequest(CLIENT, dns=("unique-client.example.com",))
        authority.issue_clients([client], KeyType.EC, DEFAULT_LEAF_DAYS, force=True)

    def write_settings(self, https_port: int, lines_port: int, smtp_port: int) -> None:
        """Write the gateway's settings for the ports of its doors and of its upstream."""
        settings = _SETTINGS.format(
            hostname=HOSTNAME, https_port=https_port, lines_port=lines_port, smtp_port=smtp_port
        )
        self.settings.write_text(settings)

    def start_smtp_server(self, port: int) -> Program:
        """Start the embedded internal server; `listening_port` tells when it listens."""
        certificate, key = self.certificates / "internal.crt", self.certificates / "internal.key"
        return Program(
            "the internal SMTP server",
            [
                *(sys.executable, "-m", "mailgate.demo.smtp_server", "--port", str(port)),
                *("--directory", self.mail, "--certificate", certificate, "--key", key),
            ],
            self.folder / "smtp-server.log",
        )

    def start_gateway(self, *options: str) -> Program:
        """Start the gateway the way a user does; the options are twistd's."""
        plugin = "mailgate", "--config", str(self.settings)
        return Program(
            "the gateway",
            [twistd(), "-n", f"--pidfile={self.folder / 'gateway.pid'}", *options, *plugin],
            self.folder / "gateway.log",
            cwd=self.folder,
        )


def twistd() -> Path:
    """Return the twistd that belongs to this Python; raises ProgramError where there is none."""
    beside = Path(sys.executable).parent / "twistd"
    if os.access(beside, os.X_OK):
        return beside
    found = shutil.which("twistd")
    if found is None:
        raise ProgramError(f"there is no twistd beside {sys.executable}: install mailgate with pip")
    return Path(found)


def listening_port(server: Program) -> int:
    """Wait until an embedded SMTP server listens, and return its port; raises ProgramError."""
    prefix = "listening on "
    server.wait_until(lambda: server.printed.startswith(prefix) and "\n" in server.printed, "listened")
    return int(server.printed.splitlines()[0].removeprefix(prefix))


def free_port(preferred: int = 0) -> int:
    """Return the preferred TCP port of the loopback interface where it is free, else any free one."""
    # From below those that systems give to outgoing connections: one of them might take it before a server does.
    others = (secrets.choice(_PORTS) for _ in range(100))
    for port in filter(None, chain([preferred], others)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise ProgramError("no port of the loopback interface is free")


def answers(port: int) -> bool:
    """Tell whether something takes connections at the port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((LOOPBACK, port)) == 0


def _lasts(certificate: Path) -> bool:
    try:
        ends = load_pem_x509_certificate(certificate.read_bytes()).not_valid_after_utc
    except (OSError, ValueError):
        return False
    return certificate.with_suffix(".key").exists() and ends > utc_now() + datetime.timedelta(days=1)

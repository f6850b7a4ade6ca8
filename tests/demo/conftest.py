"""An embedded internal SMTP server as a process of its own."""

import contextlib
import smtplib
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from mailgate.demo.processes import Program
from mailgate.demo.stage import Stage, listening_port


@dataclass(frozen=True)
class Server:
    stage: Stage
    program: Program
    port: int
    opened: contextlib.ExitStack

    def connect(self) -> smtplib.SMTP:
        """Return a connection with STARTTLS done."""
        context = ssl.create_default_context(cafile=str(self.stage.certificates / "ca.crt"))
        client = smtplib.SMTP("localhost", self.port, timeout=10)
        self.opened.callback(client.close)
        client.starttls(context=context)
        client.ehlo()
        return client

    def mail(self) -> list[Path]:
        """Return the kept messages in the order of arrival."""
        return sorted(self.stage.mail.glob("*.eml"))


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    stage = Stage(tmp_path_factory.mktemp("stage"))
    stage.prepare()
    return stage


@pytest.fixture(scope="session")
def program(prepared: Stage) -> Iterator[Program]:
    with prepared.start_smtp_server(0) as running:
        yield running


@pytest.fixture
def server(prepared: Stage, program: Program) -> Iterator[Server]:
    for path in prepared.mail.iterdir():
        path.unlink()
    with contextlib.ExitStack() as opened:
        yield Server(prepared, program, listening_port(program), opened)

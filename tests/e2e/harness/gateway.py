"""A gateway as its operator runs it: twistd, a settings file, certificates, a queue on disk."""

import json
import signal
from collections.abc import Mapping
from pathlib import Path

from harness.client import Client
from harness.device import Device
from mailgate.demo.processes import Program
from mailgate.demo.stage import CLIENT, Stage, free_port

SENDER = "sensor-7@example.com"


class Gateway:
    """
    A gateway that can be started, killed and started again in its folder.

    `upstreams` are the ports of internal servers on ``localhost``, in order of preference.
    """

    def __init__(self, folder: Path, *upstreams: int, upstream_host: str = "localhost") -> None:
        self.stage = Stage(folder)
        self.stage.prepare()
        self.hostname = "gate.example.com"
        self.workers = 1
        self.port = free_port()
        self.lines_port = free_port()
        self.tables: dict[str, dict[str, object]] = {
            "tls": {
                "certificate": "certs/server.crt",
                "private_key": "certs/server.key",
                "client_ca": "certs/ca.crt",
            },
            "https": {"listen": [f"tcp:{self.port}:interface=127.0.0.1"]},
            "lines": {"listen": [f"tcp:{self.lines_port}:interface=127.0.0.1"]},
            "queue": {"url": "sqlite:///queue/mailgate.db"},
            "delivery": {"first_retry": "1s", "longest_retry": "2s"},
            f"clients.{CLIENT}": {"senders": ["*@example.com"]},
        }
        self.upstreams: list[dict[str, object]] = [
            {"host": upstream_host, "port": port, "tls": "starttls", "ca": "certs/ca.crt"} for port in upstreams
        ]
        self.options: tuple[str, ...] = ()
        self.programs: list[Program] = []

    @property
    def program(self) -> Program:
        """The process that was started last."""
        return self.programs[-1]

    @property
    def log(self) -> str:
        """What the process that was started last has printed."""
        return self.program.printed

    def events(self, name: str = "") -> list[dict[str, object]]:
        """Return the journal's events of that name, or all; any line that is no JSON fails the test."""
        events = [json.loads(line) for line in self.log.splitlines(keepends=True) if line.endswith("\n")]
        return [event for event in events if not name or event["event"] == name]

    def write_settings(self) -> None:
        """Write the settings file from the tables."""
        lines = [f'hostname = "{self.hostname}"']
        if self.workers > 1:
            lines.append(f"workers = {self.workers}")
        for name, table in self.tables.items():
            lines += [f"[{name}]", *_entries(table)]
        for upstream in self.upstreams:
            lines += ["[[upstream]]", *_entries(upstream)]
        self.stage.settings.write_text("\n".join(lines) + "\n")

    def launch(self) -> Program:
        """Start the process and wait for nothing."""
        self.write_settings()
        program = self.stage.start_gateway(*self.options)
        self.programs.append(program)
        return program

    def start(self) -> "Gateway":
        """Start the process and wait until it says that it takes connections."""
        process = self.launch()
        process.wait_until(lambda: '"gateway.started"' in process.printed, "took connections")
        return self

    def client(self, name: str = CLIENT) -> Client:
        """Return a client with the certificate of that name."""
        certificates = self.stage.certificates
        return Client(
            self.port, certificates / "ca.crt", certificates / f"{name}.crt", certificates / f"{name}.key"
        )

    def device(self, name: str = CLIENT) -> Device:
        """Return a connection to the line door with the certificate of that name."""
        certificates = self.stage.certificates
        return Device(
            self.lines_port, certificates / "ca.crt", certificates / f"{name}.crt", certificates / f"{name}.key"
        )

    def stop(self, seconds: float = 20.0) -> None:
        """Stop as an operator does, and fail unless the gateway took its leave in order."""
        status = self.program.stop(seconds)
        # Once all is stopped, twistd ends itself by the very signal that asked for it.
        assert status in {0, -signal.SIGTERM}, f"exit status {status}: {self.log[-2000:]}"
        assert '"event":"gateway.stopped"' in self.log
        assert "Traceback" not in self.log

    def end(self) -> None:
        """End whatever still runs."""
        for program in self.programs:
            program.stop()


def message(subject: str = "3번 구역의 온도 경고", **fields: object) -> dict[str, object]:
    """Return a message that the client of the stage may send."""
    return {
        "from": f"온도 센서 7 <{SENDER}>",
        "to": ["김철수 <kim@example.com>"],
        "subject": subject,
        "text": "3번 구역이 뜨겁습니다.\n",
        **fields,
    }


def _entries(table: Mapping[str, object]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in table.items()]


def _value(value: object) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, bool | int):
        return str(value).lower()
    return f'"{value}"'

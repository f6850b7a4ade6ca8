"""The embedded internal server, which refuses whatever is not strictly SMTP."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mailgate.demo.stage import Stage, listening_port

if TYPE_CHECKING:
    from mailgate.demo.processes import Program


@dataclass(frozen=True)
class Kept:
    """A message that the server keeps, with its envelope."""

    content: bytes
    mail_from: str
    rcpt_to: list[str]


class InternalServer:
    """An embedded server that can be stopped and started again at the same port."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.program: Program | None = None
        self.port = 0

    def start(self) -> "InternalServer":
        """Start it and wait until it listens."""
        self.program = self.stage.start_smtp_server(self.port)
        self.port = listening_port(self.program)
        return self

    def stop(self) -> None:
        """End it."""
        if self.program is not None:
            self.program.stop()

    def files(self) -> list[Path]:
        """Return the messages' files in the order of arrival."""
        return sorted(self.stage.mail.glob("*.eml"))

    def kept(self) -> list[Kept]:
        """Return the messages in the order of arrival."""
        return [_kept(path) for path in self.files()]

    def message_ids(self) -> list[str]:
        """Return the Message-ID of each message in the order of arrival."""
        return [_message_id(path) for path in self.files()]


def _message_id(path: Path) -> str:
    for line in path.read_bytes().partition(b"\r\n\r\n")[0].split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"message-id":
            return value.strip().decode()
    raise AssertionError(f"{path} has no Message-ID")


def _kept(path: Path) -> Kept:
    envelope = json.loads(path.with_suffix(".json").read_text())
    return Kept(path.read_bytes(), envelope["mail_from"], envelope["rcpt_to"])

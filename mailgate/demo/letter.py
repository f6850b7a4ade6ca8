"""The demo's message, and the message as the internal server got it."""

import base64
import email
import email.policy
import json
from dataclasses import dataclass
from email.message import EmailMessage
from pathlib import Path

LETTER = {
    "from": "온도 센서 7 <sensor-7@example.com>",
    "to": ["김철수 <kim@example.com>", "이영희 <lee@한국.example>"],
    "subject": "3번 구역의 온도 경고",
    "text": "안녕하세요.\n\n3번 구역의 온도가 42 °C입니다. 측정값은 첨부했습니다.\n\n온도 센서 7\n",
    "attachments": [
        {
            "filename": "온도 기록.csv",
            "content": base64.b64encode("시각,온도\n09:00,21\n09:10,42\n".encode()).decode(),
            "content_type": "text/csv; charset=utf-8",
        }
    ],
}

SESSION = """\
MAIL {key}
FROM 온도 센서 7 <sensor-7@example.com>
TO 김철수 <kim@example.com>
SUBJ 3번 구역의 온도가 정상입니다
TEXT 지금은 21 °C입니다.
FILE#{octets} text/csv;charset=utf-8 온도 기록.csv
{file}
SEND
"""
"""A device's message: what it writes to the line door."""


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message on the internal server's side: its file, its envelope's recipients, and what a reader sees."""

    path: Path
    recipients: tuple[str, ...]
    sender: str
    subject: str
    body: str
    attachments: tuple[str, ...]


def write_letter(path: Path) -> None:
    """Write the message as the body of a request."""
    path.write_text(json.dumps(LETTER, ensure_ascii=False, indent=2) + "\n", encoding="utf-8")


def write_session(path: Path, key: str) -> bytes:
    """Write a device's message, under an idempotency key, and return it."""
    file = "시각,온도\n09:20,21"
    path.write_text(SESSION.format(key=key, octets=len(file.encode()), file=file), encoding="utf-8")
    return path.read_bytes()


def find(message_id: str, folder: Path) -> Delivered | None:
    """Return the message with that Message-ID if the folder has it; the newest are looked at first."""
    for path in sorted(folder.glob("*.eml"), reverse=True):
        message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if message["Message-ID"] == message_id:
            return _delivered(path, message)
    return None


def _delivered(path: Path, message: EmailMessage) -> Delivered:
    envelope = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    body = message.get_body(preferencelist=("plain",))
    return Delivered(
        path=path,
        recipients=tuple(envelope["rcpt_to"]),
        sender=str(message["From"]),
        subject=str(message["Subject"]),
        body="" if body is None else body.get_content(),
        attachments=tuple(part.get_filename() or "" for part in message.iter_attachments()),
    )

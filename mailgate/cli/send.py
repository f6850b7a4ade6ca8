"""``mailgate send``: submit one message over HTTPS, for people without curl."""

import base64
import json
import mimetypes
import re
import sys
import unicodedata
from pathlib import Path

import click

from mailgate.cli.gateway import Answer, Credentials, Gateway, GatewayError

_PATH = click.Path(path_type=Path)
_KEY = re.compile(r"[\x20-\x7e]{1,255}")


@click.command("send")
@click.option("--url", default="https://localhost:8443", show_default=True, help="Where the gateway is.")
@click.option("--cert", "certificate", type=_PATH, required=True, help="Our certificate, PEM.")
@click.option("--key", type=_PATH, required=True, help="Its private key, PEM.")
@click.option("--ca", type=_PATH, default=Path("certs/ca.crt"), show_default=True, help="The gateway's CA, PEM.")
@click.option("--from", "sender", metavar="ADDRESS", required=True, help="a@b, or 'Name <a@b>'.")
@click.option("--to", "recipients", metavar="ADDRESS", multiple=True, required=True, help="Repeatable.")
@click.option("--subject", required=True)
@click.option("--text", help="The text; without it and --html, standard input.")
@click.option("--html", "html_file", type=_PATH, metavar="FILE", help="A file with the HTML form.")
@click.option("--attach", "attachments", type=_PATH, metavar="FILE", multiple=True, help="Repeatable.")
@click.option("--idempotency-key", metavar="KEY", help="The same key sends the same message once only.")
def command(  # noqa: PLR0913 - click hands each option over as a parameter
    *,
    url: str,
    certificate: Path,
    key: Path,
    ca: Path,
    sender: str,
    recipients: tuple[str, ...],
    subject: str,
    text: str | None,
    html_file: Path | None,
    attachments: tuple[Path, ...],
    idempotency_key: str | None,
) -> None:
    """
    Submit one message to a gateway and print its answer.

    Exits with 0 when the gateway took the message, and with 1 and the reason when it did not.
    """
    if idempotency_key is not None and not _KEY.fullmatch(idempotency_key):
        raise click.ClickException("An idempotency key has 1 to 255 printable ASCII characters.")
    try:
        gateway = Gateway(url, Credentials(certificate, key, ca))
        message: dict[str, object] = {"from": sender, "to": list(recipients), "subject": subject}
        if html_file is not None:
            message["html"] = _decoded(_content(html_file), str(html_file))
        if text is not None or html_file is None:
            message["text"] = text if text is not None else _standard_input()
        if attachments:
            message["attachments"] = [_attachment(path) for path in attachments]
        answer = gateway.submit(message, idempotency_key)
    except GatewayError as error:
        raise click.ClickException(str(error)) from error
    if not answer.accepted:
        raise click.ClickException(problem(answer))
    if answer.body is None:
        raise click.ClickException(
            f"{url} answered with status {answer.status}, but not in JSON: is it a gateway?"
        )
    click.echo(json.dumps(answer.body, ensure_ascii=False, indent=2))


def _standard_input() -> str:
    stream = sys.stdin.buffer
    if stream.isatty():
        click.echo("Type the text and end it with Ctrl-D on a line of its own.", err=True)
    return _decoded(stream.read(), "Standard input")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}.") from error


def _decoded(content: bytes, what: str) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{what} is not UTF-8.") from error


def _attachment(path: Path) -> dict[str, str]:
    content = _content(path)
    return {
        # Some file systems hand out Hangul in pieces (NFD); mail programs show whole syllables (NFC).
        "filename": unicodedata.normalize("NFC", path.name),
        "content": base64.b64encode(content).decode("ascii"),
        "content_type": _content_type(path, content),
    }


def _content_type(path: Path, content: bytes) -> str:
    guessed, encoding = mimetypes.guess_type(path.name)
    if guessed is None or encoding is not None:
        return "application/octet-stream"
    if not guessed.startswith("text/"):
        return guessed
    try:
        content.decode()
    except UnicodeDecodeError:
        return guessed
    # Without this, mail programs take Korean text for whatever they are used to.
    return f"{guessed}; charset=utf-8"


def problem(answer: Answer) -> str:
    """Return what an RFC 9457 problem says, its faults one a line, or the bare status for any other body."""
    body = answer.body
    if not isinstance(body, dict):
        return f"The gateway answered with HTTP status {answer.status}."
    said = body.get("detail") or body.get("title") or "The gateway refused the message."
    code = body.get("code")
    lines = [f"{said} ({answer.status}{f', {code}' if code else ''})"]
    faults = body.get("errors")
    lines += [
        f"  {fault.get('pointer', '')} {fault.get('detail') or fault.get('code', '')}".rstrip()
        for fault in (faults if isinstance(faults, list) else [])
        if isinstance(fault, dict)
    ]
    return "\n".join(lines)

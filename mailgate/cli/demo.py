"""``mailgate demo``: everything on one machine, a message through each door, and the commands to go on by hand."""

import contextlib
import fcntl
import functools
import json
import re
import shlex
import shutil
import signal
import subprocess
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

import click

from mailgate.ca.errors import CertificateAuthorityError
from mailgate.cli.device import hand_over
from mailgate.cli.gateway import Credentials, Gateway, GatewayError
from mailgate.demo.letter import LETTER, Delivered, find, write_letter, write_session
from mailgate.demo.processes import POLL_SECONDS, Program, ProgramError
from mailgate.demo.stage import CLIENT, HOSTNAME, Stage, answers, free_port, listening_port

HTTPS_PORT = 8443
LINES_PORT = 8465
SMTP_PORT = 2525
STARTS = 3
"""Ports that were free can be taken by the time a program asks for them: so often it's tried with others."""


@dataclass(frozen=True, slots=True)
class Doors:
    """The ports that the gateway listens at."""

    https: int
    lines: int


class DemoError(Exception):
    """The demo can't go on; the text is one sentence."""


class _StoppedError(Exception):
    """Somebody wants the demo to end."""


@click.command("demo")
@click.option(
    "--dir",
    "directory",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".demo"),
    show_default=True,
    help="Where certificates, settings, queue and mail are kept.",
)
@click.option("--once", is_flag=True, help="End after the deliveries: status 0 if they were seen.")
def command(directory: Path, *, once: bool) -> None:
    """Start a gateway and an internal SMTP server here, send a message through each door, and stay up."""
    demo = _Demo(Stage(directory.resolve()))
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, demo.stop)
    try:
        demo.run(once=once)
    except (DemoError, ProgramError, GatewayError, CertificateAuthorityError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{error.filename or directory}: {error.strerror}") from error
    except _StoppedError:
        if once:
            raise click.ClickException("stopped before the deliveries were seen") from None


class _Demo:
    """
    The demo from its first file to its last process.

    A signal only sets a flag, which is looked at wherever we wait: nothing that was started goes unnoticed.
    """

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._stopped = False

    def stop(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """End soon, and in order."""
        self._stopped = True

    def run(self, *, once: bool) -> None:
        """Start everything, send messages and show them; unless `once`, stay up until stopped."""
        stage = self._stage
        with contextlib.ExitStack() as running:
            running.enter_context(_claimed(stage))
            stage.prepare()
            smtp_port = self._start_smtp_server(running)
            gateway, doors = self._start_gateway(smtp_port, running)
            click.echo(
                f"internal SMTP server  localhost:{smtp_port} with STARTTLS, keeps mail in {_short(stage.mail)}"
            )
            click.echo(f"gateway               https://localhost:{doors.https}, and lines at {doors.lines}")
            click.echo(f"                      set by {_short(stage.settings)}\n")
            letter = stage.folder / "message.json"
            write_letter(letter)
            _show(self._wait_for(_send(stage, doors.https, letter), gateway))
            _show(self._wait_for(_send_as_device(stage, doors.lines), gateway))
            if not once:
                _explain(stage, doors, letter)
                while gateway.running:
                    self._unless_stopped()
                    time.sleep(POLL_SECONDS)
                raise DemoError(f"the gateway has ended; {gateway.output} says why")

    def _unless_stopped(self) -> None:
        if self._stopped:
            raise _StoppedError

    def _start_smtp_server(self, running: contextlib.ExitStack) -> int:
        for port in (free_port(SMTP_PORT), 0):
            self._unless_stopped()
            server = running.enter_context(self._stage.start_smtp_server(port))
            try:
                return listening_port(server)
            except ProgramError:
                if port == 0:
                    raise
        raise AssertionError("the loop ends by return or raise")

    def _start_gateway(self, smtp_port: int, running: contextlib.ExitStack) -> tuple[Program, Doors]:
        for attempt in range(STARTS):
            doors = Doors(*(free_port(0 if attempt else port) for port in (HTTPS_PORT, LINES_PORT)))
            self._stage.write_settings(doors.https, doors.lines, smtp_port)
            gateway = running.enter_context(self._stage.start_gateway())
            try:
                gateway.wait_until(functools.partial(self._started, gateway), "took connections")
            except ProgramError:
                taken_by_another = not gateway.running and (answers(doors.https) or answers(doors.lines))
                if attempt == STARTS - 1 or not taken_by_another:
                    raise
            else:
                if gateway.running:
                    return gateway, doors
        raise DemoError("each port that was free was taken by another program a moment later")

    def _started(self, gateway: Program) -> bool:
        """Tell whether this very gateway serves: something that answers at the port may be another's."""
        self._unless_stopped()
        return '"gateway.started"' in gateway.printed

    def _wait_for(self, message_id: str, gateway: Program) -> Delivered:
        found: list[Delivered] = []

        def arrived() -> bool:
            self._unless_stopped()
            delivered = find(message_id, self._stage.mail)
            found.extend([] if delivered is None else [delivered])
            return bool(found)

        gateway.wait_until(arrived, "delivered the message")
        return found[0]


@contextlib.contextmanager
def _claimed(stage: Stage) -> Iterator[None]:
    stage.folder.mkdir(parents=True, exist_ok=True)
    with (stage.folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DemoError(f"another demo runs in {stage.folder}: end it, or choose another --dir") from None
        yield


def _send(stage: Stage, https_port: int, letter: Path) -> str:
    """Send the message and return its Message-ID."""
    curl = shutil.which("curl")
    if curl is not None:
        click.echo("sending a message with curl …")
        answer = _send_with_curl([curl, *_curl_arguments(stage, https_port, letter)])
    else:
        click.echo("sending a message (with our own client: curl is not here) …")
        answer = Gateway(f"https://localhost:{https_port}", _credentials(stage)).submit(LETTER).body
    match answer:
        case {"message_id": str(message_id), "status": str(status), "id": str(identifier)}:
            click.echo(f"202 from the gateway, so it is on disk: {status}, {identifier}")
            return message_id
        case _:
            raise DemoError(f"the gateway refused the message: {json.dumps(answer, ensure_ascii=False)}")


def _send_as_device(stage: Stage, port: int) -> str:
    """Send a message through the line door and return its Message-ID."""
    session = write_session(stage.folder / "message.lines", uuid.uuid4().hex)
    click.echo("\nsending another through the line door, as a device would …")
    greeting, reply = hand_over("localhost", port, _credentials(stage), session)
    click.echo(f"S {greeting}")
    for line in session.decode().splitlines():
        click.echo(f"C {line}")
    click.echo(f"S {reply}")
    identifier = re.fullmatch(r"250 \S+ \S+ id=(\S+)", reply)
    if identifier is None:
        raise DemoError(f"the gateway refused the device's message: {reply}")
    return f"<{identifier[1]}@{HOSTNAME}>"


def _credentials(stage: Stage) -> Credentials:
    certificates = stage.certificates
    return Credentials(certificates / f"{CLIENT}.crt", certificates / f"{CLIENT}.key", certificates / "ca.crt")


def _curl_arguments(stage: Stage, https_port: int, letter: Path) -> list[str]:
    credentials = _credentials(stage)
    return [
        *("--cacert", _short(credentials.ca)),
        *("--cert", _short(credentials.certificate), "--key", _short(credentials.key)),
        f"https://localhost:{https_port}/v1/messages",
        *("-H", "Content-Type: application/json", "--data-binary", f"@{_short(letter)}"),
    ]


def _send_with_curl(command: list[str]) -> object:
    # A proxy of the environment, or a .curlrc, has no business between two programs on loopback.
    options = ["-q", "--noproxy", "*", "--silent", "--show-error", "--max-time", "30"]
    done = subprocess.run(  # noqa: S603 - a list of our own, no shell
        [command[0], *options, *command[1:]], capture_output=True, check=False
    )
    if done.returncode:
        raise DemoError(f"curl failed: {done.stderr.decode(errors='replace').strip()}")
    try:
        answer: object = json.loads(done.stdout)
    except ValueError:
        raise DemoError("the gateway's answer is no JSON") from None
    return answer


def _show(delivered: Delivered) -> None:
    click.echo("\ndelivered to the internal server:")
    click.echo(f"  envelope to   {', '.join(delivered.recipients)}")
    click.echo(f"  From          {delivered.sender}")
    click.echo(f"  Subject       {delivered.subject}")
    for line in delivered.body.strip().splitlines():
        click.echo(f"  | {line}".rstrip())
    for name in delivered.attachments:
        click.echo(f"  attached      {name}")
    click.echo(f"  file          {_short(delivered.path)}")


def _explain(stage: Stage, doors: Doors, letter: Path) -> None:
    credentials = _credentials(stage)
    files = f"--cacert {_quoted(credentials.ca)} --cert {_quoted(credentials.certificate)}"
    curl = f"curl {files} --key {_quoted(credentials.key)}"
    base = f"https://localhost:{doors.https}/v1"
    tls = f"-CAfile {_quoted(credentials.ca)} -cert {_quoted(credentials.certificate)}"
    click.echo(
        "\ntry by hand:\n\n"
        f"# send it again\n{curl} \\\n  {base}/messages -H 'Content-Type: application/json' "
        f"--data-binary @{_quoted(letter)}\n\n"
        f"# who the gateway says you are\n{curl} {base}/whoami\n\n"
        f"# a client without a certificate gets nowhere\ncurl --cacert {_quoted(credentials.ca)} {base}/whoami\n\n"
        f"# speak to the line door: type MAIL, FROM, TO, SUBJ, TEXT and SEND, or HELP\n"
        f"openssl s_client -quiet -connect localhost:{doors.lines} {tls} \\\n"
        f"  -key {_quoted(credentials.key)}\n\n"
        f"# look at the TLS\nopenssl s_client -connect localhost:{doors.https} -alpn http/1.1 {tls} \\\n"
        f"  -key {_quoted(credentials.key)} </dev/null\n\n"
        f"# the gateway's journal\ntail -f {_quoted(stage.folder / 'gateway.log')}\n\n"
        "Ctrl-C ends it all."
    )


def _short(path: Path) -> str:
    """Return the path as one would type it here."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def _quoted(path: Path) -> str:
    return shlex.quote(_short(path))

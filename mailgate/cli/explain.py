"""What would happen to that certificate? ``mailgate explain`` says so, and why."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from cryptography import x509
from twisted.internet import reactor

from mailgate.cli.tables import shown
from mailgate.model.identity import ClientIdentity
from mailgate.model.refusal import Refusal
from mailgate.ops.journal import LogJournal
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.rules import ClientRules
from mailgate.settings import SettingsError, find_settings, load_settings
from mailgate.trust.certificate import UNREADABLE
from mailgate.trust.examine import examine
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime

_DOORS = ("https", "lines")


@click.command(name="explain")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="CERT.pem")
@click.option("--config", metavar="FILE", help="Settings file [default: ./mailgate.toml, else /etc/mailgate/…].")
@click.option(
    "--at",
    metavar="TIME",
    help="As of another time, like 2027-01-31 or 2027-01-31T09:00+09:00, by today's CRLs.",
)
def command(file: Path, config: str | None, at: str | None) -> None:
    """
    Say what the gateway would make of a client certificate, and why.

    CERT.pem has the certificate first, and behind it those that the client sends with it. A key in the file is
    not looked at. Exit status 0 means that a door would let it in, 1 that none would.
    """
    try:
        settings = load_settings(find_settings(config))
        trust = ServerTrust(settings.tls, LogJournal(), cast("IReactorTime", reactor), time.time)
    except (SettingsError, TrustError) as error:
        raise click.ClickException(str(error)) from error
    now = _time(at)
    leaf, *sent = _certificates(file)
    click.echo(shown(f"{file}: {leaf.subject.rfc4514_string()}, serial {leaf.serial_number:x}"))
    examination = examine(leaf, sent, trust.generation.authorities, now, datetime.now(UTC))
    for finding in examination.findings:
        click.echo(shown(f"  {'ok' if finding.good else 'NO':<4}{finding.about + ':':<13}{finding.words}"))
    if examination.peer is None:
        click.echo("Refused in the handshake, at every door.")
        raise SystemExit(1)
    directory = ClientDirectory(settings.clients)
    doors = [door for door in _DOORS if door != "lines" or settings.lines is not None]
    verdicts = {door: directory.identify(examination.peer, door) for door in doors}
    for door, verdict in verdicts.items():
        click.echo(shown(_line(door, verdict)))
    claims = sorted(directory.claims(examination.peer))
    if claims:
        click.echo(shown(f"      named by:     {', '.join(claims)}"))
    welcome = [verdict for verdict in verdicts.values() if isinstance(verdict, ClientIdentity)]
    if not welcome:
        click.echo("Let in at no door: the handshake succeeds, and then it is told so.")
        raise SystemExit(1)
    rules = directory.rules(welcome[0].label)
    assert rules is not None
    for line in _rules(rules):
        click.echo(shown(line))


def _line(door: str, verdict: ClientIdentity | Refusal) -> str:
    if isinstance(verdict, Refusal):
        return f"  NO  {door + ':':<13}{verdict.detail}"
    return f'  ok  {door + ":":<13}the client "{verdict.client}", by the entry [clients."{verdict.label}"]'


def _rules(rules: ClientRules) -> Iterator[str]:
    described = rules.describe()
    for name in ("senders", "recipients", "rate", "quota", "max_message", "bounces"):
        value = described[name]
        if value is not None:
            yield f"      {name + ':':<13}{', '.join(value) if isinstance(value, list) else value}"


def _certificates(file: Path) -> list[x509.Certificate]:
    try:
        octets = file.read_bytes()
        if b"-----BEGIN CERTIFICATE-----" in octets:
            return x509.load_pem_x509_certificates(octets)
        return [x509.load_der_x509_certificate(octets)]
    except OSError as error:
        raise click.ClickException(f"{file} can't be read: {error.strerror}.") from error
    except UNREADABLE as error:
        raise click.ClickException(f"{file} holds no certificate that can be read.") from error


def _time(text: str | None) -> datetime:
    if text is None:
        return datetime.now(UTC)
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no time as ISO 8601 has it.", param_hint="--at") from error
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

"""Would it start? ``mailgate check`` says so."""

import time
from datetime import UTC, datetime
from typing import cast

import click
from twisted.internet import reactor

from mailgate.cli.tables import shown
from mailgate.compose import Reactor, compose
from mailgate.ops.journal import LogJournal
from mailgate.services import StartError
from mailgate.settings import SettingsError, find_settings, load_settings
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError


@click.command(name="check")
@click.option("--config", metavar="FILE", help="Settings file [default: ./mailgate.toml, else /etc/mailgate/…].")
def command(config: str | None) -> None:
    """
    Check the settings file, and the certificates, keys and endpoints it names.

    Nothing is started and nothing is changed; whether a port is free or an upstream answers is not tried. What
    expires soon, or has, is noted.
    Exit status 0 means that the settings are fine, 1 that the gateway would not start with them, for the
    reason printed.
    """
    now = datetime.now(UTC)
    try:
        path = find_settings(config)
        settings = load_settings(path)
        compose(settings, cast("Reactor", reactor), LogJournal())
        trust = ServerTrust(settings.tls, LogJournal(), cast("Reactor", reactor), time.time)
    except (SettingsError, StartError, TrustError) as error:
        raise click.ClickException(str(error)) from error
    for ending in trust.expiry.endings():
        if ending.notice(now) is not None:
            word = "has expired" if ending.ends <= now else "expires"
            click.echo(
                shown(f"note: the {ending.what} of {ending.subject} {word} on {ending.ends:%Y-%m-%d %H:%M} UTC")
            )
    clients, upstreams = len(settings.clients), len(settings.delivery.upstreams)
    workers = "" if settings.workers == 1 else f", {settings.workers} workers"
    click.echo(f"{path} is fine: {_count(clients, 'client')}, {_count(upstreams, 'upstream')}{workers}.")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"

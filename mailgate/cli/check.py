"""Would it start? ``mailgate check`` says so."""

import click
from twisted.internet import reactor

from mailgate.compose import compose
from mailgate.ops.journal import LogJournal
from mailgate.services import StartError
from mailgate.settings import SettingsError, find_settings, load_settings


@click.command()
@click.option("--config", metavar="FILE", help="Settings file [default: ./mailgate.toml, else /etc/mailgate/…].")
def check(config: str | None) -> None:
    """
    Check the settings file, and the certificates, keys and endpoints it names.

    Nothing is started and nothing is changed. Exit status 0 means that the gateway would start, 1 that it
    would not, for the reason printed.
    """
    try:
        path = find_settings(config)
        settings = load_settings(path)
        compose(settings, reactor, LogJournal())
    except (SettingsError, StartError) as error:
        raise click.ClickException(str(error)) from error
    count = len(settings.clients)
    click.echo(
        f"{path} is fine: {count} client{'' if count == 1 else 's'}, {len(settings.delivery.upstreams)} upstream"
    )

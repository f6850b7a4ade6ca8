"""``mailgate queue``: looking after the queue's database."""

import click
from twisted.internet import reactor

from mailgate.queue.interface import QueueError
from mailgate.queue.opening import make_database
from mailgate.queue.schema import REVISION
from mailgate.settings import SettingsError, find_settings, load_settings


@click.group("queue")
def group() -> None:
    """Look after the queue's database."""


@group.command()
@click.option("--config", metavar="FILE", help="Settings file [default: ./mailgate.toml, else /etc/mailgate/…].")
def upgrade(config: str | None) -> None:
    """
    Bring the database that the settings name to this version's schema.

    An empty database is made ready, an old one is upgraded without loss, a present one stays as it is. Either all
    of it is done or nothing. Stop the gateways that share the database before; a gateway on SQLite does this by
    itself when it starts.
    """
    try:
        settings = load_settings(find_settings(config))
        make_database(settings.queue.url, reactor).upgrade()
    except (SettingsError, QueueError) as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The queue has the schema {REVISION}.")

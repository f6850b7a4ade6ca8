"""``mailgate queue``: looking after the queue's database."""

from datetime import datetime

import click
from twisted.internet import reactor

from mailgate.cli.tables import table
from mailgate.queue.database import Database
from mailgate.queue.holding import held as held_messages
from mailgate.queue.holding import retry as retry_messages
from mailgate.queue.interface import QueueError
from mailgate.queue.opening import make_database
from mailgate.queue.schema import REVISION
from mailgate.settings import SettingsError, find_settings, load_settings


@click.group("queue")
def group() -> None:
    """Look after the queue's database."""


_config = click.option(
    "--config", metavar="FILE", help="Settings file [default: ./mailgate.toml, else /etc/mailgate/…]."
)


@group.command()
@_config
def upgrade(config: str | None) -> None:
    """
    Bring the database that the settings name to this version's schema.

    An empty database is made ready, an old one is upgraded without loss, a present one stays as it is. Either all
    of it is done or nothing. Stop the gateways that share the database before; a gateway on SQLite does this by
    itself when it starts.
    """
    try:
        _database(config).upgrade()
    except QueueError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"The queue has the schema {REVISION}.")


@group.command()
@_config
def held(config: str | None) -> None:
    """
    List the messages on hold, the longest held first.

    With outcome_unknown = "hold" those are the messages that may or may not have been delivered, because the
    connection was lost after the whole message was sent. The internal server's log tells by the Message-ID.
    """
    try:
        with _database(config).beside() as connection:
            messages = held_messages(connection)
    except QueueError as error:
        raise click.ClickException(str(error)) from error
    if not messages:
        click.echo("Nothing is on hold.")
        return
    rows = [
        (
            each.id,
            each.client,
            each.sender,
            each.recipient,
            _time(each.since),
            _time(each.expires_at),
            each.message_id,
        )
        for each in messages
    ]
    for line in table([("ID", "CLIENT", "SENDER", "RECIPIENT", "SINCE", "EXPIRES", "MESSAGE-ID"), *rows]):
        click.echo(line)


@group.command()
@_config
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
def retry(config: str | None, ids: tuple[str, ...]) -> None:
    """
    Let messages on hold be delivered once more, at the risk of a repeat.

    A running gateway does it within seconds. If one of them is not on hold, nothing is done with any.
    """
    try:
        database = _database(config)
        with database.beside() as connection:
            unknown = retry_messages(connection, ids, reactor.seconds() + database.ahead)
            if unknown:
                raise click.ClickException(f"not on hold: {', '.join(unknown)}; nothing was done")
    except QueueError as error:
        raise click.ClickException(str(error)) from error
    for each in ids:
        click.echo(f"{each} is tried again.")


def _database(config: str | None) -> Database:
    try:
        settings = load_settings(find_settings(config))
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    return make_database(settings.queue.url, reactor)


def _time(moment: float) -> str:
    return datetime.fromtimestamp(moment).astimezone().isoformat(" ", "seconds")

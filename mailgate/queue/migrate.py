"""Bringing a database to the present schema."""

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from mailgate.queue.interface import QueueError
from mailgate.queue.schema import REVISION, VERSION_TABLE

_VERSION = sa.select(sa.column("version_num", sa.Text)).select_from(sa.table(VERSION_TABLE))


def upgrade(connection: Connection, name: str) -> None:
    """
    Take the database to the present schema within the connection's transaction.

    `name` is what errors call the database. Raises QueueError where its tables are not a queue's, or are of
    a newer mailgate.
    """
    if stored_revision(connection, name) != REVISION:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, REVISION)


def stored_revision(connection: Connection, name: str) -> str | None:
    """Return the database's revision, None where it holds no tables; raises QueueError as `upgrade` does."""
    tables = sa.inspect(connection).get_table_names()
    if tables and VERSION_TABLE not in tables:
        raise QueueError(f"{name} holds the tables of another program")
    version: str | None = connection.execute(_VERSION).scalar_one_or_none() if tables else None
    if version not in (None, REVISION) and not _is_known(_config(), version):
        raise QueueError(
            f"{name} has the schema {version} of a newer mailgate; this one knows none after {REVISION}"
        )
    return version


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", "mailgate.queue:migrations")
    return config


def _is_known(config: Config, version: str) -> bool:
    try:
        return ScriptDirectory.from_config(config).get_revision(version) is not None
    except CommandError:
        return False

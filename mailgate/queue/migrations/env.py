"""Runs inside Alembic: takes the steps on the connection, and in the transaction, that the caller opened."""

from alembic import context

from mailgate.queue.schema import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    version_table=VERSION_TABLE,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()

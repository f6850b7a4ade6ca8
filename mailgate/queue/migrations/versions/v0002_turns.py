"""Fair turns, a clock that is set back, and messages on hold."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns; what waits takes its turn when the next gateway looks for what is due."""
    op.add_column("messages", sa.Column("turn", sa.BigInteger))
    op.add_column("messages", sa.Column("waiting_since", sa.Double))
    op.add_column("messages", sa.Column("on_hold", sa.Boolean, nullable=False, server_default=sa.false()))
    op.drop_index("messages_due", "messages")
    op.create_index(
        "messages_due",
        "messages",
        ["due_at"],
        sqlite_where=sa.text("due_at IS NOT NULL AND turn IS NULL"),
        postgresql_where=sa.text("due_at IS NOT NULL AND turn IS NULL"),
    )
    op.create_index(
        "messages_turns",
        "messages",
        ["turn", "id"],
        sqlite_where=sa.text("turn IS NOT NULL"),
        postgresql_where=sa.text("turn IS NOT NULL"),
    )
    op.create_index(
        "messages_turns_of_client",
        "messages",
        ["client", "turn"],
        sqlite_where=sa.text("turn IS NOT NULL"),
        postgresql_where=sa.text("turn IS NOT NULL"),
    )

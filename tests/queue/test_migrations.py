"""The schema: the way to it, and that it is the one the code speaks of."""

import sqlite3

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import event

from mailgate.model.outcome import Outcome, Status
from mailgate.queue.accepting import accept
from mailgate.queue.interface import QueueError, Quota, Settlement
from mailgate.queue.leasing import claim, release
from mailgate.queue.migrate import upgrade
from mailgate.queue.records import find, next_due, purge, used
from mailgate.queue.schema import METADATA, REVISION, VERSION_TABLE
from mailgate.queue.settling import settle
from mailgate.queue.sqlite import SqliteDatabase


def statements(connection):
    """Return what SQLite was told to create, without regard to layout and quotes."""
    rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {name: "".join(sql.replace('"', "").split()) for name, sql in rows if name != VERSION_TABLE}


@pytest.fixture
def empty():
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def test_the_migrations_lead_to_the_tables_of_the_code(connection):
    context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE, "compare_type": True})
    assert compare_metadata(context, METADATA) == []


@pytest.fixture
def in_file(database):
    with database.writer() as connection, connection.begin():
        yield connection


def test_the_migrations_create_what_the_tables_would(in_file, empty):
    METADATA.create_all(empty)
    assert statements(in_file) == statements(empty)


def test_the_code_knows_the_newest_migration(connection):
    assert MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE}).get_current_heads() == (
        REVISION,
    )


def test_a_present_schema_is_left_as_it_is(in_file, monkeypatch):
    before = statements(in_file)
    monkeypatch.setattr("mailgate.queue.migrate.command", None)
    upgrade(in_file, "the queue")
    assert statements(in_file) == before


def test_a_newer_schema_is_refused_in_words(path, database, now):
    with database.writer() as connection, connection.begin():
        connection.exec_driver_sql(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
        with pytest.raises(QueueError, match="schema 9999 of a newer mailgate; this one knows none after"):
            upgrade(connection, "the queue")


def test_an_upgrade_that_fails_leaves_nothing_behind(path, clock, monkeypatch):
    def fail(*_args):
        raise OSError("no more")

    monkeypatch.setattr("mailgate.queue.sqlite.release_everyones", fail)
    with pytest.raises(OSError, match="no more"):
        SqliteDatabase(path, clock, clock.seconds).open()
    connection = sqlite3.connect(path)
    assert connection.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    connection.close()


def test_no_statement_goes_through_all_messages(database, new_message, now):
    """Closing and opening do: what is leased is not worth an index that every message would pay for."""
    executed = {}

    @event.listens_for(database.engine, "before_cursor_execute")
    def note(_connection, _cursor, statement, parameters, _context, many):
        executed[statement] = parameters[0] if many else parameters

    message = new_message(idempotency_key="k", quota=Quota(5, 60.0))
    outcomes = tuple(Outcome(position, Status.FAILED, None) for position in (0, 1))
    with database.writer() as connection, connection.begin():
        accept(connection, [message], "here", now)
        accept(connection, [message], "here", now)
        claim(connection, 5, "here", now)
        release(connection, [message.id], "here", now, now)
        claim(connection, 5, "here", now)
        next_due(connection)
        find(connection, message.client, message.id, now)
        used(connection, message.client, 60.0, now)
        settle(connection, [Settlement(message.id, outcomes, now, None)], "here", now)
        assert purge(connection, 0.0, now + 30 * 86400) == 1
    with database.reader() as connection:
        plans = {
            statement: [
                row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            ]
            for statement, parameters in list(executed.items())
            if statement.startswith(("SELECT", "UPDATE", "DELETE"))
        }
    assert len(plans) > 12
    scans = [statement for statement, plan in plans.items() if any(step.startswith("SCAN") for step in plan)]
    assert [statement.split()[:3] for statement in scans] == [["DELETE", "FROM", "usage"]]

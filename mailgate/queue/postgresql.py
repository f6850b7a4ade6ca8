"""The queue in a PostgreSQL database that several gateways share: everything that holds for PostgreSQL alone."""

import importlib.util
import re
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import NullPool
from twisted.internet.interfaces import IReactorTime

from mailgate.queue.interface import QueueError
from mailgate.queue.migrate import stored_revision, upgrade
from mailgate.queue.schema import REVISION

DRIVER = "postgresql+psycopg"

_DEFAULTS = {
    "application_name": "mailgate",
    "client_encoding": "utf8",
    "connect_timeout": "3",
    # A server that vanished without a word is found out within 15 s, in the middle of a transaction too.
    "keepalives_idle": "5",
    "keepalives_interval": "5",
    "keepalives_count": "2",
    "tcp_user_timeout": "15000",
    # Of several hosts the one that takes writes: after a fail-over that's the standby that was promoted.
    "target_session_attrs": "read-write",
}
"""Parameters of libpq, where the URL doesn't give its own."""

_SESSION = (
    # An operator may have traded durability for speed elsewhere; what is accepted here survives a crash.
    "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'",
    # Every question has its index. A plan without it, made while the tables were small, would be kept while they
    # grow: the driver prepares statements, and a queue grows faster than it is analysed.
    "SET enable_seqscan = off",
    # The locks of a gateway that hangs in mid-transaction must be gone well before the leases of the others end.
    "SET idle_in_transaction_session_timeout = '5s'",
    "SET lock_timeout = '3s'",
)

_NOW = "SELECT CAST(extract(epoch FROM clock_timestamp()) AS double precision)"

_SENTENCES = {
    "25P03": "waited for this gateway, which stood still",
    "3F000": "lacks the schema that its search_path names",
    "08": "lost the connection",
    "22": "can't hold such a value",
    "23": "holds this already",
    "25": "can't be written: it is read-only",
    "28": "doesn't let this gateway in",
    "3D": "doesn't exist",
    "40": "was busy with the same rows",
    "42": "lacks a table, or the right to use it",
    "53": "has no room left",
    "54": "can't hold a message of that size",
    "55": "is locked by another transaction",
    "57": "is starting, stopping or too slow",
    "58": "has trouble with its disk",
    "XX": "is damaged",
}
"""By SQLSTATE, or its class (PostgreSQL's manual, appendix A)."""

_CONCERNS_ONE = frozenset({"22", "23", "40", "54"})
"""Classes of errors that come of what is stored, or of the moment, and would not hit any other transaction."""

_CONFLICTS = frozenset({"23505", "40001", "40P01"})
"""A key that another gateway has just stored, a serialisation failure, a deadlock."""

_SAME_UPGRADE = _CONFLICTS | {"42P07"}
"""What two upgrades at once may meet: the other one has just made the table."""

_PARAMETER = re.compile(r'(?:invalid connection option|bad value for) "?(\w+)')
"""What the driver itself says of a connection's parameters, before it asks any server."""

_UPGRADES = 3
_LONGEST_TEXT = 300


class PostgresqlDatabase:
    """
    A database on a PostgreSQL server, or on what speaks its protocol, shared by several gateways.

    Nothing is connected before `open`. Leases and due times are in the server's time, which `clock`, seconds since
    the epoch, is compared with. Raises QueueError where the driver is not installed.
    """

    directory = None
    spare = 0
    lock = None

    def __init__(self, url: URL, clock: IReactorTime) -> None:
        if importlib.util.find_spec("psycopg") is None:
            raise QueueError("a queue in PostgreSQL needs its driver: pip install 'mailgate[postgresql]'")
        given = {key: value for key, value in _DEFAULTS.items() if key not in url.query}
        self.engine = create_engine(url.update_query_dict(given), poolclass=NullPool, hide_parameters=True)
        self._name = f"the queue {_name(url)}"
        self._clock = clock
        self._ahead = 0.0
        event.listen(self.engine, "connect", _set_up)
        event.listen(self.engine, "begin", self._measure)

    @property
    def ahead(self) -> float:
        """Seconds that the server's clock is ahead of this gateway's, as of when the last transaction began."""
        return self._ahead

    def check(self) -> None:
        """Find nothing wrong: whether the server can be reached is for `open` to see."""

    def open(self) -> None:
        """
        Make sure that the server can be reached and the schema is the present one; others' leases are theirs.

        Raises QueueError.
        """
        try:
            with self.engine.connect() as connection, connection.begin():
                self._check_encoding(connection)
                revision = stored_revision(connection, self._name)
        except DBAPIError as error:
            raise self.explain(error) from error
        if revision is None:
            raise QueueError(f"{self._name} is empty; make it ready with: mailgate queue upgrade")
        if revision != REVISION:
            raise QueueError(
                f"{self._name} has the schema {revision}, and this mailgate needs {REVISION}: stop the gateways "
                "that share it, then run mailgate queue upgrade"
            )

    def join(self, _turn: int) -> None:
        """Make sure of the same as `open`: processes of one gateway share as gateways do. Raises QueueError."""
        self.open()

    def turn(self) -> AbstractContextManager[None]:
        """Wait for nobody: the server lets them all write."""
        return nullcontext()

    def upgrade(self) -> None:
        """Bring it to the present schema. Raises QueueError."""
        for left in reversed(range(_UPGRADES)):
            try:
                with self.engine.connect() as connection, connection.begin():
                    self._check_encoding(connection)
                    upgrade(connection, self._name)
            except DBAPIError as error:
                if not left or _state(error) not in _SAME_UPGRADE:
                    raise self.explain(error) from error
            else:
                return

    @contextmanager
    def beside(self) -> Iterator[Connection]:
        """Lend a connection in a transaction that may write, beside the gateways. Raises QueueError."""
        self.open()
        try:
            with self.engine.connect() as connection, connection.begin():
                yield connection
        except DBAPIError as error:
            raise self.explain(error) from error
        finally:
            self.close()

    def writer(self) -> Connection:
        """Open a connection whose transactions may write."""
        return self.engine.connect()

    def reader(self) -> Connection:
        """Open a connection that only reads; nobody waits for it, nor it for anyone."""
        # What several questions of one transaction find belongs together.
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def explain(self, error: Exception) -> QueueError:
        """Return what went wrong as a sentence that names the server and the database, and no password."""
        if not isinstance(error, DBAPIError):
            return QueueError(f"{self._name} couldn't take this ({type(error).__name__})")
        state = _state(error)
        if state:
            told = _SENTENCES.get(state) or _SENTENCES.get(state[:2], "refused this")
            return QueueError(f"{self._name} {told} (SQLSTATE {state})")
        if _is_unreachable(error):
            # libpq's own text; it names hosts, users and databases, never a password or a message's content.
            text = " ".join(str(error.orig).split())[:_LONGEST_TEXT]
            return QueueError(f"{self._name} can't be reached: {text}")
        parameter = _PARAMETER.match(str(error.orig))
        if parameter is not None:
            return QueueError(f"{self._name} can't be reached: its URL's parameter {parameter[1]} is of no use")
        return QueueError(f"{self._name} couldn't take this ({type(error.orig).__name__})")

    def concerns_all(self, error: Exception) -> bool:
        """Tell whether any transaction would fail now: the server is away, read-only, or without room."""
        state = _state(error)
        return state[:2] not in _CONCERNS_ONE if state else _is_unreachable(error)

    def conflicts(self, error: Exception) -> bool:
        """Tell whether another gateway came in between, so that the same again may succeed."""
        return _state(error) in _CONFLICTS

    def is_damage(self, _error: Exception) -> bool:
        """Tell that the server looks after its own files."""
        return False

    def make_room(self, _error: Exception) -> bool:
        """Tell that nothing can be done about the server's disk from here."""
        return False

    def is_lost(self, error: Exception) -> bool:
        """Tell whether the connection was lost: the server may have committed all the same."""
        return isinstance(error, DBAPIError) and error.connection_invalidated

    def close(self) -> None:
        """Let go of the server."""
        self.engine.dispose()

    def _check_encoding(self, connection: Connection) -> None:
        encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise QueueError(f"{self._name} keeps texts in {encoding}; mail needs a database in UTF8")

    def _measure(self, connection: Connection) -> None:
        if connection.get_execution_options().get("postgresql_readonly", False):
            return
        asked = self._clock.seconds()
        told: float = connection.exec_driver_sql(_NOW).scalar_one()
        self._ahead = told - (asked + self._clock.seconds()) / 2


def _name(url: URL) -> str:
    """Return the hosts and the database as an operator would write them, without user and password."""
    hosts = url.query.get("host", f"{url.host or 'localhost'}:{url.port or 5432}")
    listed = hosts if isinstance(hosts, str) else ",".join(hosts)
    return f"{listed}/{url.database or url.username or ''}"


def _set_up(connection: Any, _record: Any) -> None:
    with connection.cursor() as cursor:
        for statement in _SESSION:
            cursor.execute(statement)
    connection.commit()


def _state(error: Exception) -> str:
    """Return the SQLSTATE, or nothing for an error that the server didn't tell of."""
    original = error.orig if isinstance(error, DBAPIError) else None
    return getattr(original, "sqlstate", None) or ""


def _is_unreachable(error: Exception) -> bool:
    return isinstance(error, OperationalError | InterfaceError)

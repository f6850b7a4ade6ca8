"""A PostgreSQL server of the tests' own, which can be killed, stopped and started again."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from harness.waiting import until
from mailgate.demo.stage import free_port

READY = "mailgate_ready"
"""A database with the present schema and no message, to be copied."""


def binaries() -> Path | None:
    """Return the folder of the newest server's programs, or None where there is none."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"), key=lambda each: float(each.parts[-3]))
    found += [Path(name).resolve() for name in [shutil.which("postgres")] if name]
    return found[-1].parent if found else None


class Cluster:
    """One server on loopback; it's nobody else's, and its folder goes with it."""

    def __init__(self, folder: Path | None = None) -> None:
        programs = binaries()
        if programs is None:
            pytest.skip("PostgreSQL's server is not installed")
        self.port = free_port()
        self.folder = folder or Path(tempfile.mkdtemp(prefix="mailgate-postgresql-"))
        self.data = self.folder / "data"
        self._programs = programs
        self._server: subprocess.Popen[bytes] | None = None
        self._databases = 0
        # The server refuses to run as root.
        self._user = "postgres" if os.getuid() == 0 else None
        if self._user is not None:
            account = pwd.getpwnam(self._user)
            os.chown(self.folder, account.pw_uid, account.pw_gid)

    def run(self, program: str, *arguments: object) -> None:
        """Run one of PostgreSQL's programs to its end."""
        command = [str(self._programs / program), *map(str, arguments)]
        subprocess.run(command, check=True, capture_output=True, user=self._user, cwd=self.folder)

    def initialise(self) -> "Cluster":
        """Make the cluster's folder."""
        self.run(
            "initdb", "-D", self.data, "-U", "mailgate", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        return self

    def start(self, **settings: object) -> "Cluster":
        """Start the server and wait until it answers; the folder's settings give way to these."""
        given = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 50,
            **settings,
        }
        options = [part for key, value in given.items() for part in ("-c", f"{key}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [str(self._programs / "postgres"), "-D", str(self.data), *options],
                stdout=log,
                stderr=log,
                user=self._user,
                cwd=self.folder,
            )
        until(self.answers, "a PostgreSQL server that answers")
        return self

    def answers(self) -> bool:
        """Tell whether the server takes connections."""
        try:
            self.ask("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    def ask(self, sql: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run one statement outside of any transaction, and return its rows."""
        address = f"host=127.0.0.1 port={self.port} user=mailgate dbname={database} connect_timeout=5"
        with psycopg.connect(address, autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []

    def new_database(self, template: str = READY) -> str:
        """Make a database, ready for a gateway or after another template, and return its URL."""
        self._databases += 1
        name = f"mailgate_{self._databases}"
        self.ask(f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def url(self, database: str) -> str:
        """Return the URL of a database as a settings file has it."""
        return f"postgresql+psycopg://mailgate@127.0.0.1:{self.port}/{database}"

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the server: SIGINT as an operator does, SIGQUIT as a crash of all its processes."""
        server, self._server = self._server, None
        if server is not None:
            server.send_signal(how)
            server.wait(30)

    def kill(self) -> None:
        """End every process of the server at once, as the end of its machine does."""
        assert self._server is not None
        # Standing still, it makes no new ones.
        self._server.send_signal(signal.SIGSTOP)
        for process in _children(self._server.pid):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.stop(signal.SIGKILL)

    def pause(self) -> None:
        """Let every process of the server stand still, as one does whose disk doesn't answer."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        """Let them go on."""
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        assert self._server is not None
        for process in (self._server.pid, *_children(self._server.pid)):
            os.kill(process, number)

    def new_standby(self, port: int | None = None) -> "Cluster":
        """
        Start a second server that repeats what this one does, and let commits wait for it from now on.

        It listens at `port`, or at any free one.
        """
        standby = Cluster()
        standby.port = port or standby.port
        standby.run(
            "pg_basebackup",
            "-D",
            standby.data,
            "-h",
            "127.0.0.1",
            "-p",
            self.port,
            "-U",
            "mailgate",
            "-R",
            "-c",
            "fast",
        )
        standby.start()
        self.ask("ALTER SYSTEM SET synchronous_standby_names = '*'")
        self.ask("SELECT pg_reload_conf()")
        until(lambda: self.ask("SELECT sync_state FROM pg_stat_replication") == [("sync",)], "a standby in step")
        return standby

    def promote(self) -> None:
        """Make the standby the primary."""
        self.run("pg_ctl", "promote", "-D", self.data)

    def remove(self) -> None:
        """Stop the server and delete its folder."""
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)


def _children(process: int) -> Iterator[int]:
    listed = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="ascii")
    return map(int, listed.split())

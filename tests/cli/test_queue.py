"""``mailgate queue``: looking after the queue's database."""

import sqlite3

import pytest
from click.testing import CliRunner
from twisted.internet.task import Clock

from mailgate.cli import main
from mailgate.queue.interface import QueueSettings
from mailgate.queue.opening import open_queue
from mailgate.queue.schema import REVISION

SETTINGS = """
hostname = "gate.example.com"
[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"
[queue]
url = "{url}"
[[upstream]]
host = "smtp.internal"
[clients.unique_client]
senders = ["*@example.com"]
"""


@pytest.fixture
def upgrade(tmp_path):
    """Runs the command on a settings file of this queue."""

    def run(url):
        path = tmp_path / "mailgate.toml"
        path.write_text(SETTINGS.format(url=url))
        return CliRunner().invoke(main, ["queue", "upgrade", "--config", str(path)])

    return run


def test_a_file_is_made_ready_and_then_left_as_it_is(upgrade, tmp_path):
    for _ in range(2):
        result = upgrade("sqlite:///mailgate.db")
        assert (result.exit_code, result.output) == (0, f"The queue has the schema {REVISION}.\n")
    assert (tmp_path / "mailgate.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "mailgate.db") as connection:
        assert connection.execute("SELECT version_num FROM mailgate_schema").fetchall() == [(REVISION,)]
    connection.close()


def test_a_newer_file_is_refused_in_words(upgrade, tmp_path):
    assert upgrade("sqlite:///mailgate.db").exit_code == 0
    connection = sqlite3.connect(tmp_path / "mailgate.db")
    with connection:
        connection.execute("UPDATE mailgate_schema SET version_num = '9999'")
    connection.close()
    result = upgrade("sqlite:///mailgate.db")
    assert result.exit_code == 1
    assert "has the schema 9999 of a newer mailgate" in result.output


def test_a_file_that_a_gateway_has_open_is_left_alone(upgrade, tmp_path, turns):
    queue = open_queue(QueueSettings(url=f"sqlite:///{tmp_path}/mailgate.db"), turns, clock=Clock())
    result = upgrade("sqlite:///mailgate.db")
    assert result.exit_code == 1
    assert "another mailgate has this queue open" in result.output
    turns.wait(queue.close())


def test_postgresql_is_made_ready(upgrade, postgresql):
    url = postgresql.new_database(template="template1")
    for _ in range(2):
        assert upgrade(url).output == f"The queue has the schema {REVISION}.\n"


def test_a_server_that_is_away_is_one_sentence(upgrade):
    result = upgrade("postgresql+psycopg://gate:geheim@127.0.0.1:1/mail")
    assert result.exit_code == 1
    assert "the queue 127.0.0.1:1/mail can't be reached" in result.output
    assert "geheim" not in result.output

"""The queue in PostgreSQL: what several gateways that share it may count on, and what a server's troubles do."""

import random
import socket
import subprocess
import sys
import threading
from contextlib import ExitStack

import psycopg
import pytest
from harness.postgresql import Cluster
from harness.waiting import until
from twisted.internet.defer import gatherResults
from twisted.internet.task import Clock

from mailgate.model.outcome import Outcome, Status
from mailgate.queue.interface import (
    LEASE_SECONDS,
    QueueError,
    QueueSettings,
    Quota,
    QuotaExceededError,
    Settlement,
)
from mailgate.queue.opening import make_database, make_queue, open_queue


@pytest.fixture
def url(postgresql):
    return postgresql.new_database()


@pytest.fixture
def two(url, turns, clock):
    """Two gateways' queues on one database."""
    queues = [open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds) for _ in range(2)]
    yield queues
    for queue in queues:
        turns.wait(queue.close())


@pytest.fixture
def cluster():
    """A server that the test may do to what it likes."""
    cluster = Cluster().initialise().start()
    yield cluster
    cluster.remove()


@pytest.fixture
def restartable(cluster, turns, clock):
    """A queue on such a server, open."""
    url = cluster.url("postgres")
    make_database(url, clock).upgrade()
    queue = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    yield queue
    turns.wait(queue.close().addErrback(lambda failure: failure.trap(QueueError)))


def outcome(turns, deferred):
    """Return the result, or the exception."""
    try:
        return turns.wait(deferred)
    except (QueueError, QuotaExceededError) as error:
        return error


def test_no_message_is_claimed_twice(two, turns, new_message, now):
    messages = [new_message() for _ in range(300)]
    turns.wait(gatherResults([two[0].accept(message) for message in messages]))
    claimed = [[], []]
    while sum(map(len, claimed)) < 300:
        both = turns.wait(gatherResults([queue.claim(20, now) for queue in two]))
        for mine, claims in zip(claimed, both, strict=True):
            mine += [claim.id for claim in claims]
    assert all(claimed)
    assert sorted(claimed[0] + claimed[1]) == sorted(message.id for message in messages)


def test_one_key_at_two_gateways_at_once_is_one_message(two, turns, new_message):
    shuffled = random.Random(7)
    keys = [f"열쇠-{number}" for number in range(200)]
    answers = []
    for queue in two:
        shuffled.shuffle(keys)
        answers += [queue.accept(new_message(idempotency_key=key, metadata={"key": key})) for key in keys]
    receipts = turns.wait(gatherResults(answers))
    assert len({receipt.id for receipt in receipts}) == 200
    assert sum(receipt.replayed for receipt in receipts) == 200


def test_a_quota_holds_across_gateways(two, turns, new_message, now):
    quota = Quota(37, 3600.0)
    deferreds = [queue.accept(new_message(quota=quota)) for _ in range(40) for queue in two]
    results = [outcome(turns, deferred) for deferred in deferreds]
    assert sum(isinstance(result, QuotaExceededError) for result in results) == 80 - 37
    assert turns.wait(two[0].used("장치-7", 3600.0, now)) == 37


def test_a_dead_gateways_messages_are_anothers_after_the_lease(two, turns, new_message, now):
    message = new_message(lease=True)
    turns.wait(two[0].accept(message))
    assert turns.wait(two[1].claim(10, now + LEASE_SECONDS - 20)) == []
    [claim] = turns.wait(two[1].claim(10, now + LEASE_SECONDS))
    assert claim.id == message.id
    done = Settlement(claim.id, tuple(Outcome(at, Status.ACCEPTED, None) for at in (0, 1)), now, None)
    assert turns.wait(two[0].settle(done)) is False
    assert turns.wait(two[1].settle(done)) is True


@pytest.mark.parametrize("wrong", [-7200.0, 7200.0])
def test_a_gateway_whose_clock_is_wrong_takes_nothing_from_others(url, turns, clock, new_message, now, wrong):
    """Leases are in the server's time, and so are the waits after a deferral."""
    right = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    other_clock = Clock()
    other_clock.advance(now + wrong)
    other = open_queue(QueueSettings(url=url), turns, clock=other_clock)
    held, deferred = new_message(lease=True), new_message(lease=True, recipients=("kim@example.com",))
    turns.wait(gatherResults([right.accept(held), right.accept(deferred)]))
    later = Settlement(deferred.id, (Outcome(0, Status.DEFERRED, None),), now, now + 60)
    assert turns.wait(right.settle(later)) is True
    there = now + wrong
    assert turns.wait(other.claim(10, there + 10)) == []
    assert turns.wait(other.next_due()) == pytest.approx(there + LEASE_SECONDS, abs=20)
    assert [each.id for each in turns.wait(other.claim(10, there + LEASE_SECONDS + 5))] == [held.id]
    assert [each.id for each in turns.wait(other.claim(10, there + 65))] == [deferred.id, held.id]
    turns.wait(gatherResults([right.close(), other.close()]))


def test_what_is_accepted_survives_whatever_the_server_is_set_to(cluster, turns, clock):
    cluster.ask("ALTER SYSTEM SET synchronous_commit = off")
    cluster.ask("SELECT pg_reload_conf()")
    database = make_database(cluster.url("postgres"), clock)
    with database.writer() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    cluster.ask("ALTER SYSTEM SET synchronous_commit = remote_apply")
    cluster.ask("SELECT pg_reload_conf()")
    with database.writer() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "remote_apply"
    database.close()


def test_a_restart_of_the_server_costs_no_call(cluster, restartable, turns, new_message, now):
    first = new_message()
    turns.wait(restartable.accept(first))
    turns.wait(restartable.find(first.client, first.id))
    cluster.stop()
    cluster.start()
    second = new_message()
    assert turns.wait(restartable.accept(second)).id == second.id
    assert turns.wait(restartable.find(first.client, first.id)).id == first.id
    assert {each.id for each in turns.wait(restartable.claim(10, now + 1))} == {first.id, second.id}


def test_while_the_server_is_away_calls_fail_in_words_and_then_all_goes_on(
    cluster, restartable, turns, new_message, now
):
    kept = new_message()
    turns.wait(restartable.accept(kept))
    cluster.stop()
    calls = [restartable.accept(new_message()) for _ in range(20)]
    calls += [restartable.claim(10, now), restartable.find(kept.client, kept.id)]
    for call in calls:
        with pytest.raises(QueueError, match=rf"the queue 127\.0\.0\.1:{cluster.port}/postgres can't be reached"):
            turns.wait(call)
    cluster.start()
    assert [each.id for each in turns.wait(restartable.claim(10, now))] == [kept.id]


class Cable(threading.Thread):
    """Carries connections to the server; after `cut`, the next COMMIT arrives and its answer doesn't."""

    def __init__(self, port):
        super().__init__(daemon=True)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        self.cut = threading.Event()
        self.cuts = 0
        self._there = port
        self.start()

    def run(self):
        while True:
            try:
                here = self.server.accept()[0]
            except OSError:
                return
            there = socket.create_connection(("127.0.0.1", self._there))
            threading.Thread(target=self._carry_back, args=(there, here), daemon=True).start()
            threading.Thread(target=self._carry, args=(here, there), daemon=True).start()

    def _carry(self, here, there):
        with here, there:
            while octets := _received(here):
                there.sendall(octets)
                if b"COMMIT" in octets and self.cut.is_set():
                    self.cut.clear()
                    self.cuts += 1
                    here.shutdown(socket.SHUT_RDWR)
                    # Its end tells that the server has done what came before.
                    there.shutdown(socket.SHUT_WR)
                    return

    @staticmethod
    def _carry_back(there, here):
        try:
            while octets := _received(there):
                here.sendall(octets)
        except OSError:
            return

    def close(self):
        self.server.close()


def _received(connection):
    try:
        return connection.recv(65536)
    except OSError:
        return b""


@pytest.fixture
def cable(postgresql):
    cable = Cable(postgresql.port)
    yield cable
    cable.close()


def three_messages(new_message, key):
    return [new_message(idempotency_key=key and f"{key}-{each}", quota=Quota(9, 60.0)) for each in range(3)]


def lose_an_answer_to_commit(cable, url, turns, clock, messages, new_message):
    queue = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    turns.wait(queue.accept(new_message()))
    cable.cut.set()
    receipts = turns.wait(gatherResults([queue.accept(message) for message in messages]))
    assert cable.cuts == 1
    assert [(receipt.id, receipt.replayed) for receipt in receipts] == [(each.id, False) for each in messages]
    assert turns.wait(queue.used("장치-7", 60.0, clock.seconds())) == 3
    turns.wait(queue.close())


@pytest.mark.parametrize("key", [None, "열쇠"])
def test_a_lost_answer_to_commit_stores_nothing_twice(postgresql, cable, url, turns, clock, new_message, key):
    messages = three_messages(new_message, key)
    through = url.replace(f":{postgresql.port}/", f":{cable.port}/")
    lose_an_answer_to_commit(cable, through, turns, clock, messages, new_message)


def test_a_lost_answer_to_commit_makes_no_second_notice(postgresql, cable, url, turns, clock, new_message, now):
    queue = open_queue(
        QueueSettings(url=url.replace(f":{postgresql.port}/", f":{cable.port}/")), turns, clock=clock
    )
    message, notice = new_message(lease=True), new_message(sender="", recipients=("ops@example.com",))
    turns.wait(queue.accept(message))
    cable.cut.set()
    outcomes = tuple(Outcome(position, Status.FAILED, None) for position in (0, 1))
    assert turns.wait(queue.settle(Settlement(message.id, outcomes, now, None, notice=notice))) is True
    assert cable.cuts == 1
    assert [each.id for each in turns.wait(queue.claim(10, now))] == [notice.id]
    turns.wait(queue.close())


@pytest.mark.parametrize("key", [None, "열쇠"])
def test_nor_where_the_commit_is_still_under_way(cluster, turns, clock, new_message, key):
    """The second try runs into what the first one stores at that moment."""
    make_database(cluster.url("postgres"), clock).upgrade()
    cluster.ask("ALTER DATABASE postgres SET commit_delay = 100000")
    cluster.ask("ALTER DATABASE postgres SET commit_siblings = 0")
    cable = Cable(cluster.port)
    messages = three_messages(new_message, key)
    through = cluster.url("postgres").replace(f":{cluster.port}/", f":{cable.port}/")
    lose_an_answer_to_commit(cable, through, turns, clock, messages, new_message)
    cable.close()


def test_a_lease_is_of_the_moment_when_it_is_written(url, turns, clock, new_message, now):
    """A renewal that waited behind a slow commit must not end before its time."""
    queue = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    message = new_message(lease=True)
    turns.wait(queue.accept(message))
    clock.now = now + 22
    turns.wait(queue.renew([message.id], now))
    assert turns.wait(queue.next_due()) == pytest.approx(now + 22 + LEASE_SECONDS, abs=5)
    turns.wait(queue.close())


def test_what_a_client_is_told_of_a_message_is_of_one_moment(url, clock):
    database = make_database(url, clock)
    with database.reader() as connection, connection.begin():
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar_one() == "repeatable read"
    database.close()


@pytest.mark.parametrize(
    "url", ["gate:p@ss:geheim@db1/mail", "gate:ge@heim@127.0.0.1:1/mail", "gate@db1:geheim/mail"]
)
def test_a_password_that_is_not_escaped_is_not_shown(url, turns, clock):
    with pytest.raises(QueueError) as caught:
        make_queue(QueueSettings(url=f"postgresql+psycopg://{url}"), turns, clock=clock)
    assert "heim" not in str(caught.value)
    assert caught.value.__cause__ is None


def refused(url, turns, clock):
    with pytest.raises(QueueError) as caught:
        open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    return str(caught.value)


def test_an_empty_database_is_not_taken_into_use_unasked(postgresql, turns, clock):
    url = postgresql.new_database(template="template1")
    assert refused(url, turns, clock).endswith("is empty; make it ready with: mailgate queue upgrade")
    make_database(url, clock).upgrade()
    turns.wait(open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds).close())


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("UPDATE mailgate_schema SET version_num = '9999'", "has the schema 9999 of a newer mailgate"),
        ("DROP TABLE mailgate_schema", "holds the tables of another program"),
    ],
)
def test_what_is_not_this_versions_is_left_alone(postgresql, url, turns, clock, statement, fault):
    postgresql.ask(statement, url.rpartition("/")[2])
    assert fault in refused(url, turns, clock)
    with pytest.raises(QueueError, match=fault):
        make_database(url, clock).upgrade()


def test_an_older_schema_is_upgraded_by_the_operator_and_not_by_a_start(url, turns, clock, monkeypatch):
    monkeypatch.setattr("mailgate.queue.postgresql.REVISION", "0099")
    told = refused(url, turns, clock)
    assert told.endswith(
        "and this mailgate needs 0099: stop the gateways that share it, then run mailgate queue upgrade"
    )


def test_a_turn_is_looked_up_and_not_counted_out(postgresql, url, turns, clock, new_message):
    """The plans are made while nothing waits, and kept while the line grows."""
    queue = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    read = (
        "SELECT sum(idx_tup_read) FROM pg_stat_user_indexes "
        "WHERE indexrelname IN ('messages_turns', 'messages_turns_of_client')"
    )
    stored = 400
    for _ in range(stored):
        turns.wait(queue.accept(new_message()))
    turns.wait(queue.close())
    [[rows]] = postgresql.ask(read, url.rpartition("/")[2])
    assert rows < 4 * stored


def scans(postgresql, url):
    """Return how often each table was read from end to end, and how many rows were put into them."""
    rows = postgresql.ask(
        "SELECT relname, seq_scan, n_tup_ins FROM pg_stat_user_tables "
        "WHERE relname NOT IN ('usage', 'mailgate_schema')",
        url.rpartition("/")[2],
    )
    return {name: times for name, times, _ in rows}, sum(put for _, _, put in rows)


def test_no_question_goes_through_all_messages(postgresql, url, turns, clock, new_message, now):
    """Small tables tempt the planner to it, and what the driver has prepared keeps its plan while they grow."""
    before, put = scans(postgresql, url)
    queue = open_queue(QueueSettings(url=url, retention=0.0), turns, clock=clock)
    for _ in range(12):
        messages = [new_message(idempotency_key=f"{number}", client=f"{_}") for number in range(5)]
        turns.wait(gatherResults([queue.accept(message) for message in messages]))
        turns.wait(gatherResults([queue.accept(message) for message in messages]))
        claims = turns.wait(queue.claim(5, now + 1))
        assert len(claims) == 5
        turns.wait(queue.renew([claim.id for claim in claims], now))
        turns.wait(queue.find_by_key(messages[0].client, "0"))
        turns.wait(queue.next_due())
        turns.wait(queue.survey())
        outcomes = tuple(Outcome(at, Status.ACCEPTED, None) for at in (0, 1))
        turns.wait(gatherResults([queue.settle(Settlement(claim.id, outcomes, now, None)) for claim in claims]))
    assert turns.wait(queue.purge(now + 30 * 86400)) == 60
    turns.wait(queue.close())
    until(lambda: scans(postgresql, url)[1] > put, "the server's own counts")
    assert scans(postgresql, url)[0] == before


def test_mail_needs_utf_8(postgresql, turns, clock):
    postgresql.ask("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    assert "keeps texts in LATIN1" in refused(postgresql.url("latin"), turns, clock)


UPGRADE = """
import sys
from twisted.internet.task import Clock
from mailgate.queue.opening import make_database
print("ready", flush=True)
sys.stdin.readline()
make_database(sys.argv[1], Clock()).upgrade()
"""


def test_upgrades_at_the_same_time_make_one_schema(postgresql, clock):
    url = postgresql.new_database(template="template1")
    command = [sys.executable, "-c", UPGRADE, url]
    with ExitStack() as stack:
        upgrades = [
            stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            for _ in range(3)
        ]
        for upgrade in upgrades:
            upgrade.stdout.readline()
        for upgrade in upgrades:
            upgrade.stdin.write(b"\n")
            upgrade.stdin.flush()
        assert [upgrade.wait(30) for upgrade in upgrades] == [0, 0, 0]
    database = make_database(url, clock)
    database.open()
    database.close()


@pytest.mark.parametrize("text", ["postgresql+psycopg://gate:geheim@127.0.0.1:{port}/mail", "host"])
def test_a_server_that_is_not_there_is_named_and_the_password_is_not(turns, clock, text):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    if text == "host":
        text = "postgresql+psycopg://gate:geheim@/mail?host=127.0.0.1:{port}&host=localhost:{port}"
    told = refused(text.format(port=port), turns, clock)
    assert f"127.0.0.1:{port}" in told
    assert "/mail can't be reached" in told
    assert "geheim" not in told + repr(QueueSettings(url=text))


@pytest.mark.parametrize("parameter", ["sslmod", "connect_timeout"])
def test_a_parameter_of_no_use_is_named_and_its_value_is_not(turns, clock, parameter):
    told = refused(f"postgresql+psycopg://gate@127.0.0.1/mail?{parameter}=geheim", turns, clock)
    assert told == f"the queue 127.0.0.1:5432/mail can't be reached: its URL's parameter {parameter} is of no use"


def test_a_user_that_may_not_is_told_so(postgresql, turns, clock):
    url = postgresql.new_database()
    postgresql.ask("CREATE ROLE stranger LOGIN")
    told = refused(url.replace("mailgate@", "stranger@"), turns, clock)
    assert "lacks a table, or the right to use it (SQLSTATE 42501)" in told


def test_without_its_driver_the_way_to_it_is_told(monkeypatch, turns, clock):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(QueueError, match=r"pip install 'mailgate\[postgresql\]'"):
        make_queue(QueueSettings(url="postgresql+psycopg://gate@localhost/mail"), turns, clock=clock)


def test_a_lock_that_lasts_fails_the_calls_and_heals(postgresql, url, turns, clock, new_message, monkeypatch):
    monkeypatch.setattr("mailgate.queue.postgresql._SESSION", ("SET lock_timeout = '100ms'",))
    queue = open_queue(QueueSettings(url=url), turns, clock=clock, wall=clock.seconds)
    turns.wait(queue.accept(new_message()))
    address = f"host=127.0.0.1 port={postgresql.port} user=mailgate dbname={url.rpartition('/')[2]}"
    with psycopg.connect(address) as other:
        other.execute("LOCK TABLE messages IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(QueueError, match=r"is locked by another transaction \(SQLSTATE 55P03\)"):
            turns.wait(queue.accept(new_message()))
    turns.wait(queue.accept(new_message()))
    turns.wait(queue.close())

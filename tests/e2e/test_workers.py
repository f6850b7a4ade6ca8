"""Several workers are one gateway."""

import http.client
import json
import os
import re
import signal
import socket
import ssl
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from harness.gateway import SENDER, message
from harness.load import Stream
from harness.monitor import ask, metric
from harness.shared import upgrade
from harness.waiting import until

from mailgate.demo.stage import CLIENT, free_port


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request, new_gateway, internal):
    """A gateway with two workers, not yet started, on either kind of queue."""
    return prepared(request.param, request, new_gateway, internal)


@pytest.fixture
def sqlite_pair(request, new_gateway, internal):
    """A gateway with two workers, not yet started."""
    return prepared("sqlite", request, new_gateway, internal)


def prepared(kind, request, new_gateway, internal):
    if kind == "sqlite":
        gateway = new_gateway(internal.port)
        gateway.tables["ops"] = {"listen": [f"tcp:{free_port()}:interface=127.0.0.1"]}
    else:
        gateway = request.getfixturevalue("shared")
        upgrade(gateway)
    gateway.ops_port = int(gateway.tables["ops"]["listen"][0].split(":")[1])
    gateway.workers = 2
    return gateway


def pids(gateway):
    """Return the pid of each worker as of its last start."""
    return {event["worker"]: event["pid"] for event in gateway.events("worker.started")}


def lives(pid):
    return Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes() != b""


def alert(number):
    return message(f"{number}번 알림")


def test_two_workers_serve_both_doors_and_are_counted_as_one(pair, internal):
    pair.start()
    stream = Stream(pair.client, alert).start()
    with pair.device() as device:
        assert device.say(f"MAIL k1\nFROM {SENDER}\nTO kim@example.com\nTEXT 안녕\nSEND\n").startswith("250 ")
    until(lambda: len(stream.accepted) >= 200, "the messages")
    stream.stop()
    assert not stream.refused
    total = len(stream.accepted) + 1
    until(lambda: metric(pair, "mailgate_recipients_delivered_total") == total, "the deliveries")
    assert {event["worker"] for event in pair.events("message.accepted")} == {1, 2}
    assert metric(pair, "mailgate_messages_accepted_total") == total
    assert metric(pair, 'mailgate_handshakes_total{door="https",outcome="completed"}') == 32
    assert metric(pair, 'mailgate_workers{state="serving"}') == 2
    until(lambda: metric(pair, 'mailgate_queue_messages{status="queued"}') == 0, "the count of the queue")
    assert ask(pair, "/livez") == (200, "ok\n")
    status, body = ask(pair, "/readyz")
    assert (status, json.loads(body)["workers"]) == (200, {"1": "serving", "2": "serving"})
    pair.stop()
    assert len(internal.message_ids()) == len(set(internal.message_ids())) == total
    assert len(pair.events("gateway.started")) == len(pair.events("gateway.stopped")) == 1


def test_a_worker_that_is_killed_loses_nothing_and_is_back(pair, internal, capsys):
    pair.start()
    stream = Stream(pair.client, alert).start()
    until(lambda: len(stream.accepted) >= 200, "the first messages")
    before = metric(pair, "mailgate_messages_accepted_total")
    victim = pids(pair)[1]
    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    so_far = len(stream.accepted)
    until(lambda: len(stream.accepted) >= so_far + 100, "messages at the other worker")
    until(lambda: pids(pair)[1] != victim, "another worker in its place", 20)
    back_after = time.monotonic() - killed_at
    again = Stream(pair.client, alert, connections=8).start()
    until(lambda: len(again.accepted) >= 50, "messages after that")
    for each in (stream, again):
        each.stop()
        assert not each.refused
    promised = {*stream.accepted, *again.accepted}
    # A lease that had to run out would take half a minute.
    until(lambda: promised <= set(internal.message_ids()), "what was accepted", 20 - back_after)
    [death] = pair.events("worker.died")
    assert (death["worker"], death["signal"]) == (1, "SIGKILL")
    assert metric(pair, "mailgate_messages_accepted_total") >= before
    pair.stop()
    received = Counter(internal.message_ids())
    assert max(received.values()) <= 2
    with capsys.disabled():
        repeats = sum(count - 1 for count in received.values())
        sys.stdout.write(f"\n  back after {back_after:.1f} s; {len(promised)} accepted, {repeats} repeated\n")


def test_sigterm_with_messages_in_flight_loses_and_repeats_nothing(pair, internal):
    pair.start()
    workers = pids(pair)
    stream = Stream(pair.client, alert).start()
    until(lambda: len(stream.accepted) >= 100, "the first messages")
    pair.stop()
    stream.stop()
    assert not any(map(lives, workers.values()))
    assert pair.events("worker.died") == []
    pair.start()
    promised = set(stream.accepted)
    until(lambda: promised <= set(internal.message_ids()), "what was accepted before the stop", 15)
    pair.stop()
    assert len(internal.message_ids()) == len(set(internal.message_ids()))


def test_workers_end_in_order_when_their_supervisor_is_killed(pair, internal):
    pair.start()
    workers = pids(pair)
    stream = Stream(pair.client, alert).start()
    until(lambda: len(stream.accepted) >= 100, "the first messages")
    pair.program.kill()
    stream.stop()
    until(lambda: not any(map(lives, workers.values())), "the end of the workers")
    pair.start()
    promised = set(stream.accepted)
    until(lambda: promised <= set(internal.message_ids()), "what was accepted", 15)
    pair.stop()
    assert len(internal.message_ids()) == len(set(internal.message_ids()))


def test_no_other_gateway_gets_the_file_before_the_last_worker_is_gone(sqlite_pair):
    sqlite_pair.start()
    orphan = pids(sqlite_pair)[1]
    os.kill(orphan, signal.SIGSTOP)
    try:
        sqlite_pair.program.kill()
        until(lambda: not lives(pids(sqlite_pair)[2]), "the end of the other worker")
        for door in ("https", "lines"):
            sqlite_pair.tables[door]["listen"] = [f"tcp:{free_port()}:interface=127.0.0.1"]
        second = sqlite_pair.launch()
        until(lambda: not second.running, "its refusal")
        assert "another mailgate has this queue open" in sqlite_pair.log
    finally:
        os.kill(orphan, signal.SIGCONT)
    until(lambda: not lives(orphan), "the end of the orphan")
    sqlite_pair.start()
    sqlite_pair.stop()


def test_sighup_reloads_all_workers(sqlite_pair):
    sqlite_pair.start()
    devices = [sqlite_pair.device() for _ in range(8)]
    sqlite_pair.tables["clients.other"] = sqlite_pair.tables.pop(f"clients.{CLIENT}") | {"certificates": ["CN:x"]}
    sqlite_pair.write_settings()
    os.kill(sqlite_pair.program.pid, signal.SIGHUP)
    until(lambda: {event["worker"] for event in sqlite_pair.events("reload.done")} == {1, 2}, "both reloads")
    for device in devices:
        with device:
            assert device.line().startswith("535 ")
    # One that is started later knows what the others have been told.
    os.kill(pids(sqlite_pair)[1], signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.started")) == 3, "another worker")
    for _ in range(8):
        with sqlite_pair.device() as refused:
            assert refused.greeting.startswith("535 ")
    sqlite_pair.stop()


def test_what_needs_a_restart_of_the_gateway_is_not_taken_by_one_worker(sqlite_pair, internal):
    sqlite_pair.start()
    sqlite_pair.hostname = "other.example.com"
    sqlite_pair.tables["queue"]["url"] = "sqlite:///queue/other.db"
    sqlite_pair.write_settings()
    os.kill(pids(sqlite_pair)[1], signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.started")) == 3, "another worker")
    os.kill(pids(sqlite_pair)[2], signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.started")) == 4, "the other one too")
    with sqlite_pair.client() as client:
        assert client.submit(message()).status == 202
    until(internal.files, "the delivery")
    assert not (sqlite_pair.stage.folder / "queue" / "other.db").exists()
    sqlite_pair.stop()


def answering(gateway):
    """Return the workers that have answered a message."""
    return {event["worker"] for name in ("accepted", "refused") for event in gateway.events(f"message.{name}")}


def test_a_rate_holds_for_all_workers_together(sqlite_pair):
    sqlite_pair.tables[f"clients.{CLIENT}"]["rate"] = "20/hour"
    sqlite_pair.start()
    answers = Counter()
    while sum(answers.values()) < 30 or answering(sqlite_pair) != {1, 2}:
        assert sum(answers.values()) < 500
        with sqlite_pair.client() as client:
            answers[client.submit(message()).status] += 1
    assert answers[202] == 20
    assert set(answers) == {202, 429}
    # What a worker has counted outlives it.
    for pid in pids(sqlite_pair).values():
        os.kill(pid, signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.started")) == 4, "other workers")
    with sqlite_pair.client() as client:
        assert client.submit(message()).status == 429
    sqlite_pair.stop()


def test_connections_come_and_go_while_messages_are_stored(sqlite_pair, internal):
    sqlite_pair.start()

    def send(number):
        with sqlite_pair.client() as client:
            return client.submit(alert(number)).status

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(send, range(480))) == {202}
    until(lambda: len(internal.files()) == 480, "the deliveries")
    sqlite_pair.stop()
    assert sqlite_pair.events("log.critical") == []


def opened(gateway, most):
    """Open connections until one is closed without an answer; return the open ones."""
    held = []
    for _ in range(most):
        try:
            held.append(gateway.device())
        except (OSError, ssl.SSLError):
            break
    return held


def test_connections_are_limited_for_all_workers_together(sqlite_pair):
    sqlite_pair.tables["limits"] = {"connections_per_address": 9, "connections_per_client": 100}
    sqlite_pair.start()
    held = opened(sqlite_pair, 20)
    assert len(held) == 9
    # What a dead worker held is not held any more.
    os.kill(pids(sqlite_pair)[2], signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.started")) == 3, "another worker")
    left = []
    for device in held:
        try:
            left += [device.say("PING\n")]
        except (OSError, ssl.SSLError):
            continue
    more = opened(sqlite_pair, 20)
    assert len(left) + len(more) == 9
    for device in (*held, *more):
        device.tls.close()
    sqlite_pair.stop()


def test_a_client_is_never_locked_out_by_silent_connections_at_another_worker(sqlite_pair):
    sqlite_pair.tables["limits"] = {"connections_per_client": 3}
    sqlite_pair.start()
    held = []
    for _ in range(40):
        device = sqlite_pair.device()
        held.append(device)
        until(lambda: all_silent_but(held, 3), "no more than three that are open")
    for device in held:
        device.tls.close()
    sqlite_pair.stop()


def all_silent_but(held, most):
    """Tell whether no more than so many of the connections are open; those that are closed are taken out."""
    for device in tuple(held):
        device.tls.settimeout(0.01)
        try:
            device.line()
        except TimeoutError:
            continue
        except (OSError, ssl.SSLError):
            device.tls.close()
            held.remove(device)
    return len(held) <= most


def test_a_worker_that_does_not_answer_is_told_and_not_waited_for(sqlite_pair):
    sqlite_pair.start()
    with sqlite_pair.client() as client:
        assert client.submit(message()).status == 202
    until(lambda: metric(sqlite_pair, "mailgate_messages_accepted_total") == 1, "the count")
    frozen = pids(sqlite_pair)[1]
    os.kill(frozen, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert metric(sqlite_pair, 'mailgate_workers{state="silent"}') == 1
        assert time.monotonic() - began < 3
        assert metric(sqlite_pair, "mailgate_messages_accepted_total") == 1
        assert ask(sqlite_pair, "/livez") == (503, "no answer from worker 1\n")
        status, body = ask(sqlite_pair, "/readyz")
        assert (status, json.loads(body)["workers"]) == (200, {"1": "silent", "2": "serving"})
    finally:
        os.kill(frozen, signal.SIGCONT)
    until(lambda: ask(sqlite_pair, "/livez")[0] == 200, "its answer")
    sqlite_pair.stop()


def test_a_message_that_another_worker_delivers_ends_the_wait(sqlite_pair, internal):
    internal.stop()
    sqlite_pair.start()
    answers = []

    def submit():
        with sqlite_pair.client() as client:
            answers.append(client.submit(message(), Prefer="wait=60").body)

    waiting = [threading.Thread(target=submit) for _ in range(8)]
    for thread in waiting:
        thread.start()
    until(lambda: len(sqlite_pair.events("message.accepted")) == 8, "the messages")
    internal.start()
    for thread in waiting:
        thread.join(30)
    assert [answer["status"] for answer in answers] == ["accepted"] * 8
    sqlite_pair.stop()


def test_a_start_that_can_not_be_says_why_in_one_sentence(sqlite_pair):
    for table, key, wrong, named in (
        ("tls", "private_key", "certs/internal.key", "internal.key"),
        ("queue", "url", "sqlite:///nowhere/mailgate.db", "nowhere"),
    ):
        right = sqlite_pair.tables[table][key]
        sqlite_pair.tables[table][key] = wrong
        assert named in refusal(sqlite_pair)
        sqlite_pair.tables[table][key] = right
    with socket.create_server(("127.0.0.1", sqlite_pair.lines_port)):
        assert "in use" in refusal(sqlite_pair)


def refusal(gateway):
    """Start what can't start; return its one sentence."""
    program = gateway.launch()
    until(lambda: not program.running, "the end of a gateway that can't start")
    assert program.stop() == 1
    [line] = [line for line in gateway.log.splitlines() if not line.startswith("{")]
    return line


def test_a_worker_that_can_not_start_again_is_tried_until_it_can(sqlite_pair):
    sqlite_pair.start()
    whole = sqlite_pair.stage.settings.read_text()
    sqlite_pair.stage.settings.write_text(whole + "nonsense")
    os.kill(pids(sqlite_pair)[1], signal.SIGKILL)
    until(lambda: len(sqlite_pair.events("worker.died")) >= 3, "two tries")
    assert "mailgate.toml" in str(sqlite_pair.events("worker.died")[-1]["reason"])
    with sqlite_pair.client() as client:
        assert client.submit(message()).status == 202
    assert metric(sqlite_pair, 'mailgate_workers{state="down"}') == 1
    sqlite_pair.stage.settings.write_text(whole)
    until(lambda: len(sqlite_pair.events("worker.started")) == 3, "another worker")
    sqlite_pair.stop()


def test_the_journal_goes_to_a_log_file_too(sqlite_pair):
    log = sqlite_pair.stage.folder / "twistd.log"
    sqlite_pair.options = ("--logfile", str(log))
    program = sqlite_pair.launch()
    program.wait_until(lambda: log.exists() and '"gateway.started"' in log.read_text(), "took connections")
    with sqlite_pair.client() as client:
        assert client.submit(message()).status == 202
    accepted = re.compile(r'\{"time":"[^"]+","event":"message.accepted","worker":[12],.*\}$', re.MULTILINE)
    until(lambda: accepted.search(log.read_text()), "the acceptance")
    program.stop()


def test_a_key_that_is_used_at_two_workers_at_once_stands_for_one_message(sqlite_pair, internal):
    sqlite_pair.start()
    answers = []

    def submit(client, key):
        try:
            answers.append((key, client.submit(message(), Idempotency_Key=f'"{key}"')))
        except (OSError, http.client.HTTPException) as error:
            answers.append((key, error))

    clients = [sqlite_pair.client() for _ in range(8)]
    for key in ("key-1", "key-2", "key-3"):
        threads = [threading.Thread(target=submit, args=(client, key)) for client in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    for client in clients:
        client.connection.close()
    for key in ("key-1", "key-2", "key-3"):
        told = [answer for each, answer in answers if each == key]
        assert {answer.status for answer in told} <= {202, 409}, told
        assert len({answer["id"] for answer in told if answer.status == 202}) == 1
    until(lambda: len(internal.files()) == 3, "the deliveries")
    sqlite_pair.stop()
    assert len(internal.files()) == 3

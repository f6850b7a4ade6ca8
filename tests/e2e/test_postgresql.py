"""Gateways that share a queue in PostgreSQL: one of them dies, the server does, its standby takes over."""

import json
import os
import sys
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from harness.gateway import message
from harness.load import Stream
from harness.shared import upgrade
from harness.waiting import until

from mailgate.queue.schema import REVISION

FAILOVER_ROUNDS = int(os.environ.get("MAILGATE_FAILOVER_ROUNDS", "1"))


def readiness(gateway):
    port = str(gateway.tables["ops"]["listen"][0]).split(":")[1]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=10) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return json.load(error)


def delivered(internal, streams):
    """Wait until all that was accepted is delivered; return how many came more than once."""
    promised = {each for stream in streams for each in stream.accepted}
    until(lambda: promised <= set(internal.message_ids()), "what was accepted", 90)
    return Counter(internal.message_ids())


def test_a_gateway_starts_on_a_database_that_was_made_ready(shared, internal):
    program = shared.launch()
    until(lambda: not program.running, "the end of a start in vain")
    assert program.stop() == 1
    assert "is empty; make it ready with: mailgate queue upgrade" in program.printed
    assert "Traceback" not in program.printed
    assert upgrade(shared) == f"The queue has the schema {REVISION}.\n"
    shared.start()
    with shared.client() as client:
        assert client.submit(message()).status == 202
    until(lambda: len(internal.files()) == 1, "the message")
    assert readiness(shared)["ready"]
    shared.stop()


def test_a_gateway_that_dies_leaves_its_messages_to_the_other(shared, another, internal):
    upgrade(shared)
    gateways = [shared.start(), another.start()]
    streams = [
        Stream(gateway.client, lambda number: message(f"{number}번"), connections=8).start()
        for gateway in gateways
    ]
    until(lambda: all(len(stream.accepted) > 100 for stream in streams), "the first messages")
    shared.program.kill()
    sent = len(streams[1].accepted)
    until(lambda: len(streams[1].accepted) > sent + 100, "the other one goes on")
    for stream in streams:
        stream.stop()
        assert not stream.refused
    received = delivered(internal, streams)
    # Only what was between its final dot and the record of its reply when the gateway died comes again.
    assert max(received.values()) <= 2
    another.stop()


def test_while_the_server_is_away_the_door_says_so_and_then_all_goes_on(shared, internal, cluster):
    upgrade(shared)
    shared.start()
    stream = Stream(shared.client, lambda number: message(f"{number}번"), connections=8, patient=True).start()
    until(lambda: len(stream.accepted) > 100, "the first messages")
    cluster.kill()
    until(lambda: stream.refused, "a refusal")
    assert {refusal["code"] for refusal in stream.refused} == {"storage_unavailable"}
    assert "can't be reached" in readiness(shared)["reason"]
    cluster.start()
    sent = len(stream.accepted)
    until(lambda: len(stream.accepted) > sent + 100, "messages after the return")
    stream.stop()
    delivered(internal, [stream])
    assert readiness(shared)["ready"]
    shared.stop()


def test_a_server_that_hangs_lets_nobody_wait_for_long(shared, internal, cluster):
    upgrade(shared)
    shared.start()
    with ThreadPoolExecutor(1) as thread, shared.client() as first, shared.client() as second:
        assert first.submit(message()).status == 202
        cluster.pause()
        try:
            waiting = thread.submit(first.submit, message())
            until(lambda: not readiness(shared)["ready"], "a gateway that isn't ready")
            assert readiness(shared)["reason"] == "the queue doesn't answer"
            refused = second.submit(message())
            assert (refused.status, refused["code"]) == (503, "storage_unavailable")
            assert not waiting.done()
        finally:
            cluster.resume()
        assert waiting.result(30).status == 202
        until(lambda: second.submit(message()).status == 202, "a gateway that takes mail again")
    until(lambda: len(internal.files()) == 3, "all three messages")
    shared.stop()


def fail_over(gateways, primary, standby):
    """Kill the primary under load and promote its standby; return the streams, which have ended."""
    streams = [
        Stream(gateway.client, lambda number: message(f"{number}번"), connections=8, patient=True).start()
        for gateway in gateways
    ]
    until(lambda: all(len(stream.accepted) > 100 for stream in streams), "the first messages")
    primary.kill()
    until(lambda: all(stream.refused for stream in streams), "refusals")
    standby.promote()
    sent = [len(stream.accepted) for stream in streams]
    until(
        lambda: all(len(s.accepted) > n + 100 for s, n in zip(streams, sent, strict=True)),
        "messages after the fail-over",
    )
    for stream in streams:
        stream.stop()
    return streams


def test_a_standby_takes_over_and_nothing_is_lost(shared, another, internal, cluster, capsys):
    upgrade(shared)
    servers = [cluster, cluster.new_standby()]
    try:
        hosts = "&".join(f"host=127.0.0.1:{server.port}" for server in servers)
        shared.tables["queue"]["url"] = f"postgresql+psycopg://mailgate@/mail?{hosts}"
        gateways = [shared.start(), another.start()]
        streams = fail_over(gateways, *servers)
        for _ in range(1, FAILOVER_ROUNDS):
            # What died comes back, at its old port, as the standby of what took over.
            servers.append(servers[-1].new_standby(servers[-2].port))
            streams += fail_over(gateways, *servers[-2:])
        received = delivered(internal, streams)
        for gateway in gateways:
            gateway.stop()
    finally:
        for server in servers[1:]:
            server.remove()
    with capsys.disabled():
        accepted = sum(len(stream.accepted) for stream in streams)
        repeats = sum(received.values()) - len(received)
        sys.stdout.write(f"\n  {FAILOVER_ROUNDS} fail-overs: {accepted} accepted, 0 lost, {repeats} repeated\n")

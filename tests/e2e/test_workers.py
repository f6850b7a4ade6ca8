"""Several workers are one gateway."""

import os
import signal
import time
from collections import Counter

import pytest
from harness.gateway import SENDER, message
from harness.load import Stream
from harness.monitor import ask, metric
from harness.shared import upgrade
from harness.waiting import until

from mailgate.demo.stage import free_port


@pytest.fixture(params=["sqlite", "postgresql"])
def pair(request, new_gateway, internal):
    """A gateway with two workers, on either kind of queue."""
    if request.param == "sqlite":
        gateway = new_gateway(internal.port)
        gateway.tables["ops"] = {"listen": [f"tcp:{free_port()}:interface=127.0.0.1"]}
    else:
        gateway = request.getfixturevalue("shared")
    gateway.ops_port = int(gateway.tables["ops"]["listen"][0].split(":")[1])
    gateway.workers = 2
    if request.param == "postgresql":
        upgrade(gateway)
    return gateway.start()


def started(gateway):
    """Return the pid of each worker that was started, in order, with its number."""
    return [(event["worker"], event["pid"]) for event in gateway.events("worker.started")]


def test_two_workers_serve_both_doors(pair, internal):
    assert [number for number, _ in started(pair)] == [1, 2]
    stream = Stream(pair.client, lambda number: message(f"{number}번 알림")).start()
    with pair.device() as device:
        assert device.say(f"MAIL k1\nFROM {SENDER}\nTO kim@example.com\nTEXT 안녕\nSEND\n").startswith("250 ")
    until(lambda: len(stream.accepted) >= 200, "the messages")
    stream.stop()
    assert not stream.refused
    promised = set(stream.accepted)
    until(lambda: promised <= set(internal.message_ids()), "the deliveries")
    accepted = Counter(event["worker"] for event in pair.events("message.accepted"))
    assert set(accepted) == {1, 2}, accepted
    until(lambda: metric(pair, "mailgate_recipients_delivered_total") == len(promised) + 1, "the counts")
    assert metric(pair, "mailgate_messages_accepted_total") == len(promised) + 1
    pair.stop()
    assert len(internal.message_ids()) == len(set(internal.message_ids())) == len(promised) + 1

"""kill -9 while messages stream in: whatever got a 202 arrives."""

import os
import random
import sys
from collections import Counter

import pytest
from harness.gateway import message
from harness.load import Stream
from harness.waiting import until

ROUNDS = int(os.environ.get("MAILGATE_CRASH_ROUNDS", "3"))


@pytest.mark.parametrize("turn", range(ROUNDS))
def test_what_was_accepted_before_a_kill_arrives_after_the_restart(turn, new_gateway, internal, capsys):
    gateway = new_gateway(internal.port).start()
    stream = Stream(gateway.client, lambda number: message(f"{number}번 알림")).start()
    moment = random.Random(turn).randrange(1, 500)
    until(lambda: len(stream.accepted) >= moment, "the first messages")
    gateway.program.kill()
    stream.stop()
    assert not stream.refused
    gateway.start()
    promised = set(stream.accepted)
    until(lambda: promised <= set(internal.message_ids()), "what was accepted before the kill", 90)
    gateway.stop()
    received = Counter(internal.message_ids())
    repeats = sum(count - 1 for count in received.values())
    with capsys.disabled():
        sys.stdout.write(
            f"\n  round {turn + 1}: {len(promised)} accepted, {len(received)} delivered, {repeats} repeated\n"
        )
    # Only what was between its final dot and the record of its reply can come again: at most one a connection.
    assert max(received.values()) <= 2

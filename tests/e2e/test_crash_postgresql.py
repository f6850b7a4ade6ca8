"""Two gateways on one PostgreSQL, either of them or the server killed at random moments under load."""

import os
import random
import sys
from collections import Counter
from functools import partial

from harness.gateway import message
from harness.load import Stream
from harness.shared import upgrade
from harness.waiting import until

ROUNDS = int(os.environ.get("MAILGATE_CRASH_ROUNDS", "6"))
LONGEST_WAIT = 120.0


def have_accepted(streams, wanted):
    return sum(len(stream.accepted) for stream in streams) >= wanted


def test_whatever_is_killed_nothing_that_was_accepted_is_lost(shared, another, internal, cluster, capsys):
    upgrade(shared)
    chance = random.Random(ROUNDS)
    gateways = [shared.start(), another.start()]
    promised = []
    kills = Counter()
    for turn in range(ROUNDS):
        streams = [
            Stream(gateway.client, lambda number: message(f"{number}번"), connections=8, patient=True).start()
            for gateway in gateways
        ]
        wanted = chance.randrange(1, 300)
        until(partial(have_accepted, streams, wanted), "messages of this round", 60)
        victim = turn % 3
        kills["the server" if victim == 2 else "a gateway"] += 1
        (cluster if victim == 2 else gateways[victim].program).kill()
        for stream in streams:
            stream.stop()
            promised += stream.accepted
        (cluster if victim == 2 else gateways[victim]).start()
    until(lambda: set(promised) <= set(internal.message_ids()), "what was accepted", LONGEST_WAIT)
    for gateway in gateways:
        gateway.stop()
    received = Counter(internal.message_ids())
    repeats = sum(count - 1 for count in received.values())
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {kills['a gateway']} gateways and {kills['the server']} servers killed: "
            f"{len(promised)} accepted, {len(received)} delivered, {repeats} repeated\n"
        )
    assert len(promised) == len(set(promised))
    # A repeat comes of a gateway that was killed between a final dot and the record of its reply on disk.
    assert max(received.values()) <= 1 + kills["a gateway"]

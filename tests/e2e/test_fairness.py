"""One client's backlog, and what it is to another's single message."""

import os
import statistics
import sys
import time
from collections.abc import Callable

import pytest
from harness.client import Client
from harness.gateway import Gateway, message
from harness.internal import InternalServer
from harness.load import send_all
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.demo.stage import Stage

BACKLOG = int(os.environ.get("MAILGATE_BACKLOG", "3000"))
MOST = 40
OTHER = "camera-3"


def delays(client: Client, more: Callable[[], bool]) -> list[float]:
    """Send one message after the other, until told or MOST; return how long each took to be delivered."""
    taken: list[float] = []
    while len(taken) < MOST and more():
        begun = time.monotonic()
        answer = client.submit(message("움직임"), Prefer="wait=60")
        taken.append(time.monotonic() - begun)
        assert answer["status"] == "accepted"
    return taken


def test_a_backlog_is_not_in_anothers_way(
    stage: Stage,
    internal: InternalServer,
    new_gateway: Callable[..., Gateway],
    capsys: pytest.CaptureFixture[str],
) -> None:
    authority = CertificateAuthority(stage.certificates)
    authority.issue_clients([ClientRequest(OTHER)], KeyType.EC, 30, force=False)
    gateway = new_gateway(internal.port)
    gateway.tables[f"clients.{OTHER}"] = {"senders": ["*@example.com"]}
    gateway.start()
    with gateway.client(OTHER) as other:
        alone = delays(other, lambda: True)
    internal.stop()
    send_all(gateway.client, [message(f"{number}번 알림") for number in range(BACKLOG)])
    with gateway.client(OTHER) as other:
        waiting = other.submit(message("그 뒤의 하나"))
        internal.start()
        begun = time.monotonic()
        until(lambda: other.state(waiting["id"])["status"] == "accepted", "the one behind the backlog", 90)
        behind = time.monotonic() - begun
        left = BACKLOG + MOST + 1 - len(internal.files())
        beside = delays(other, lambda: len(internal.files()) < BACKLOG)
    drained = time.monotonic()
    until(lambda: len(internal.files()) >= BACKLOG + MOST + 1 + len(beside), "the backlog", 600)
    seconds = time.monotonic() - drained
    with capsys.disabled():
        sys.stdout.write(
            f"\n  alone: median {statistics.median(alone) * 1000:.0f} ms, worst {max(alone) * 1000:.0f} ms;"
            f" beside {BACKLOG} of another: median {statistics.median(beside) * 1000:.0f} ms, worst"
            f" {max(beside) * 1000:.0f} ms ({len(beside)} messages, {seconds:.0f} s before the backlog was gone)"
            f"\n  behind the backlog: {behind:.1f} s after the server's return, {left} of the other left\n"
        )
    # What came last was not served last, and the backlog was still there when the others were.
    assert left > BACKLOG / 2
    assert len(beside) >= MOST / 4
    assert max(beside) < 5

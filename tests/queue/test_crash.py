"""A gateway that dies: what it had promised is there, and is free to be delivered at once."""

import os
import subprocess
import sys

import pytest

GATEWAY = """
import os, sys
from twisted.internet import reactor
from mailgate.model.ids import new_id
from mailgate.queue.interface import NewMessage, QueueSettings
from mailgate.queue.opening import open_queue

queue = open_queue(QueueSettings(url=sys.argv[1]), reactor, clock=reactor)
told = []

def accepted(receipt):
    told.append(receipt.id)
    os.write(1, receipt.id.encode() + b"\\n")
    if len(told) == 25:
        os._exit(9)
    submit()

def submit():
    now = reactor.seconds()
    queue.accept(NewMessage(
        id=new_id(now), message_id="<x@gate.example.com>", client="장치", door="https", created_at=now, due_at=now,
        expires_at=now + 3600, sender="a@example.com", recipients=("김@example.com",),
        content="Subject: 안녕\\r\\n\\r\\n본문\\r\\n".encode(), eight_bit=True, smtputf8=True, fingerprint="0",
        metadata={}, lease=len(told) % 2 == 0,
    )).addCallback(accepted)

def start():
    for _ in range(4):
        submit()

reactor.callWhenRunning(start)
reactor.run()
"""


@pytest.fixture
def url(path):
    """Only of SQLite's file is it known that nobody else has it: leases of the dead end at once."""
    return f"sqlite:///{path}"


def test_everything_acknowledged_is_claimable_after_a_crash(open_here, turns, clock, url):
    died = subprocess.run(
        [sys.executable, "-W", "error", "-c", GATEWAY, url],
        capture_output=True,
        timeout=60,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert (died.returncode, died.stderr) == (9, b"")
    told = died.stdout.decode().split()
    assert len(told) == 25
    clock.now += 10 * 365 * 86400
    claims = turns.wait(open_here().claim(100, clock.now))
    assert set(told) <= {claim.id for claim in claims}
    assert {claim.content.decode() for claim in claims} == {"Subject: 안녕\r\n\r\n본문\r\n"}

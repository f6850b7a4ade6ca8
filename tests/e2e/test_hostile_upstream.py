"""Internal servers that break SMTP in every way: each message comes to one stated end, and the gateway to none."""

import os
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest
from harness.gateway import SENDER, message
from harness.hostile import HostileServer
from harness.load import CONNECTIONS
from harness.sampling import Sampler, cpu_seconds
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.issue import KeyType

MESSAGES = int(os.environ.get("MAILGATE_HOSTILE_MESSAGES", "100"))
SERVERS = 3
SEED = 20261127
HIGHEST_MEMORY = 512
HIGHEST_DESCRIPTORS = 400
LONG = ("가나다라마바사 " * 10 + "\n") * 900
"""About 200 KB."""


@pytest.fixture
def servers(stage, tmp_path):
    """Three servers with three certificates each; the last one wants a login."""
    own = CertificateAuthority(stage.certificates)
    own.issue_server(["elsewhere.example.com"], [], "elsewhere", KeyType.EC, 30, force=False)
    stranger = CertificateAuthority(tmp_path / "남의 CA")
    stranger.create("another CA", KeyType.EC, 30, force=False)
    stranger.issue_server(["localhost"], ["127.0.0.1"], "internal", KeyType.EC, 30, force=False)
    files = [stage.certificates / "internal", stage.certificates / "elsewhere", tmp_path / "남의 CA" / "internal"]
    certificates = [(each.with_suffix(".crt"), each.with_suffix(".key")) for each in files]
    started = [
        HostileServer(f"{number}", certificates, seed=SEED, login=number == SERVERS - 1)
        for number in range(SERVERS)
    ]
    yield started
    for each in started:
        each.stop()


def submit(client, number):
    """Submit one of many kinds of messages; return its identifier and Message-ID."""
    many = [f"kim{each}@example.com" for each in range(2 + number % 19)]
    match number % 20:
        case 0:
            answer = client.submit(message(f"{number}번", text=LONG))
        case 1 | 2 | 3 | 4:
            answer = client.submit(message(f"{number}번", to=many))
        case 5:
            content = (
                f"From: {SENDER}\r\nSubject: {number}\r\n\r\n".encode() + "여덟 비트".encode("euc-kr") + b"\r\n"
            )
            answer = client.submit_raw(content, SENDER, "kim@example.com")
        case _:
            answer = client.submit(message(f"{number}번 알림"))
    assert answer.status == 202, answer.body
    return answer["id"], answer["message_id"]


def submit_all(gateway):
    def send(start):
        with gateway.client() as client:
            return [submit(client, number) for number in range(start, MESSAGES, CONNECTIONS)]

    with ThreadPoolExecutor(CONNECTIONS) as threads:
        return [each for share in threads.map(send, range(CONNECTIONS)) for each in share]


def wait_for_ends(gateway, submitted, seconds):
    """Return the final state of each message by its Message-ID, each of its recipients having one."""
    ends = {}
    left = dict(submitted)
    deadline = time.monotonic() + seconds
    with gateway.client() as client:
        while left:
            assert time.monotonic() < deadline, f"{len(left)} messages without an end"
            for identifier, message_id in list(left.items()):
                state = client.state(identifier)
                if all(each["status"] in ("accepted", "failed", "expired") for each in state["recipients"]):
                    ends[message_id] = state["recipients"]
                    del left[identifier]
                else:
                    time.sleep(0.005)
    return ends


# Python's wrap_socket leaves its socket unclosed where the other side has reset the connection by then.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_every_message_comes_to_one_stated_end(servers, new_gateway, tmp_path, capsys):
    gateway = new_gateway(*(each.port for each in servers))
    (tmp_path / "password").write_text("secret\n")
    (tmp_path / "password").chmod(0o600)
    gateway.upstreams[-1] |= {"username": "mailgate", "password_file": str(tmp_path / "password")}
    gateway.tables["delivery"] = {"first_retry": "1s", "longest_retry": "4s", "give_up_after": "30 minutes"}
    gateway.start()
    began = time.monotonic()
    process = gateway.program.pid
    with ExitStack() as stack:
        sampler = stack.enter_context(Sampler(process))
        ends = wait_for_ends(gateway, submit_all(gateway), 60 + MESSAGES / 5)
        took = time.monotonic() - began
        # Whatever the servers did, nothing of it keeps the gateway busy once the work is done.
        until(lambda: _rests(process), "a gateway at rest", 60)
    used = cpu_seconds(process)
    gateway.stop()
    judge(ends, [stored for each in servers for stored in each.stored], gateway)
    assert sampler.memory < HIGHEST_MEMORY
    assert sampler.descriptors < HIGHEST_DESCRIPTORS
    tricks = sum((each.tricks for each in servers), Counter())
    statuses = Counter(each["status"] for recipients in ends.values() for each in recipients)
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {len(ends)} messages, {sum(tricks.values())} tricks of {len(tricks)} kinds, {took:.0f} s: "
            f"{dict(statuses)} recipients, {sum(not each.told for s in servers for each in s.stored)} replies "
            f"kept back, {len(gateway.events('delivery.outcome_unknown'))} outcomes unknown; "
            f"{sampler.memory} MiB, {sampler.descriptors} descriptors, {used:.0f} s of CPU\n"
        )


def _rests(process):
    before = cpu_seconds(process)
    time.sleep(1.0)
    return cpu_seconds(process) - before < 0.2


def judge(ends, stored, gateway):
    """Hold what the gateway says against what the servers stored."""
    told = Counter((each.message_id, who) for each in stored if each.told for who in each.recipients)
    for message_id, recipients in ends.items():
        for each in recipients:
            accepted = each["status"] == "accepted"
            assert told.pop((message_id, each["email"]), 0) == accepted, (message_id, each)
            assert accepted or each["smtp"]["text"], (message_id, each)
    assert not told
    unknown = Counter(event["message"] for event in gateway.events("delivery.outcome_unknown"))
    assert sum(not each.told for each in stored) <= sum(unknown.values())

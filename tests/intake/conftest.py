"""Intake over a real queue; only delivery is a recorder, and the reactor one that the test turns by hand."""

from datetime import UTC, datetime

import pytest
from twisted.internet.task import Clock

from mailgate.intake import Intake, Limits, Origin
from mailgate.model.address import Address
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.submission import Envelope, Recipient, Submission
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.rules import AddressPattern, ClientRules
from mailgate.queue.interface import QueueSettings
from mailgate.queue.opening import open_queue

NOW = 1_790_000_000.0
ORIGIN = Origin("https", "HTTPS", "192.0.2.7", "r-1")
CERTIFICATE = PeerCertificate(
    subject="CN=cam",
    common_name="cam",
    dns=(),
    uris=(),
    fingerprint="ab" * 32,
    spki="cd" * 32,
    serial="1",
    not_before=datetime(2026, 1, 1, tzinfo=UTC),
    not_after=datetime(2036, 1, 1, tzinfo=UTC),
)


class Delivery:
    """Takes over what it is given, while it has room."""

    def __init__(self):
        self.room = True
        self.taken = []
        self.woken = 0

    def has_room(self, _client, size):
        return self.room

    def deliver(self, claim):
        self.taken.append(claim)

    def wake(self):
        self.woken += 1


class Journal:
    def __init__(self):
        self.events = []

    def record(self, event, /, **fields):
        self.events.append((event, {name: value for name, value in fields.items() if value is not None}))


class House:
    """Everything around one intake."""

    def __init__(self, directory, turns):
        self.turns, self.clock = turns, Clock()
        self.clock.rightNow = NOW
        self.delivery, self.journal = Delivery(), Journal()
        self.refusal = None
        settings = QueueSettings(url=f"sqlite:///{directory}/queue.db")
        self.queue = open_queue(settings, self.turns, clock=self.clock, wall=self.clock.seconds)
        self.intake = Intake(
            hostname="gate.x.kr",
            directory=ClientDirectory([rules()]),
            limits=Limits(max_message=4096, give_up_after=3600.0),
            queue=self.queue,
            handover=self.delivery,
            admission=lambda: self.refusal,
            journal=self.journal,
            clock=self.clock,
            wall=self.clock.seconds,
        )
        self.identity = ClientIdentity("cam", "cam", CERTIFICATE)

    def allow(self, *entries):
        self.intake.directory = ClientDirectory(entries)

    def submit(self, **changes):
        return self.turns.wait(self.begin(**changes))

    def begin(self, **changes):
        return self.intake.submit(self.identity, submission(**changes), ORIGIN)

    def find(self, message):
        return self.turns.wait(self.intake.find(self.identity, message))


def rules(**changes):
    values = {
        "label": "cam",
        "certificates": ("CN:cam",),
        "senders": (AddressPattern.parse("*@x.kr"),),
    }
    return ClientRules(**(values | changes))


def submission(**changes):
    values = {
        "envelope": Envelope(Address("cam", "x.kr"), (Recipient(Address("kim", "y.kr"), "/to/0"),)),
        "authors": (Address("cam", "x.kr"),),
        "content": b"Subject: hot\r\n\r\nZone 4\r\n",
    }
    return Submission(**(values | changes))


@pytest.fixture
def house(tmp_path, turns):
    house = House(tmp_path, turns)
    yield house
    house.turns.wait(house.queue.close())


@pytest.fixture(name="rules")
def rules_factory():
    return rules


@pytest.fixture(name="submission")
def submission_factory():
    return submission

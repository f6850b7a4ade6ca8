"""The doors in memory: real TLS from Python's own `ssl`, the real intake, and a queue that can be held."""

import json
import ssl
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from mailgate.doors.https import make_https_door
from mailgate.doors.lines import make_line_door
from mailgate.doors.lines.spool import Spool, Spools
from mailgate.doors.settings import LimitSettings
from mailgate.intake import Intake, Limits
from mailgate.model.outcome import Status
from mailgate.model.receipt import MessageRecord, Receipt, RecipientRecord
from mailgate.policy.clients import ClientDirectory
from mailgate.policy.rules import AddressPattern, ClientRules, Rate
from mailgate.queue.interface import IdempotencyKeyReusedError
from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustSettings

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
ANYONE = (AddressPattern(None, None),)
X_KR = AddressPattern(None, "x.kr")


def name(common_name):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def certificate(common_name, key, issuer, issuer_key, *, ca=False, usage=None, days=365):
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(common_name))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if usage:
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        names = x509.SubjectAlternativeName([x509.DNSName("gate.example.com")])
        builder = builder.add_extension(names, critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


class Pki:
    """One CA, one server, and clients as they are asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.ca = certificate("회사 CA", self.key, name("회사 CA"), self.key, ca=True)
        self.ca_file = self._write("ca.crt", self.ca)
        server = self.issue("server", ExtendedKeyUsageOID.SERVER_AUTH)
        self.settings = TrustSettings(server, server, self.ca_file)
        self._clients = {}

    def client(self, common_name, days=365):
        """Return the file with certificate and key of a client."""
        if (common_name, days) not in self._clients:
            issued = self.issue(common_name, ExtendedKeyUsageOID.CLIENT_AUTH, days)
            self._clients[common_name, days] = issued
        return self._clients[common_name, days]

    def issue(self, common_name, usage, days=365):
        key = ec.generate_private_key(ec.SECP256R1())
        issued = certificate(common_name, key, self.ca.subject, self.key, usage=usage, days=days)
        octets = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{common_name}-{days}.pem", issued, octets)

    def _write(self, file, issued, key=b""):
        path = self.folder / file
        path.write_bytes(issued.public_bytes(Encoding.PEM) + key)
        return path


class MemoryQueue:
    """Keeps what it is given; `hold` makes a commit wait until the test lets it happen."""

    def __init__(self):
        self.messages = {}
        self.hold = False
        self.waiting = []
        self.records = {}

    def accept(self, message):
        if not self.hold:
            return succeed(None).addCallback(lambda _: self._commit(message))
        committed = Deferred()
        self.waiting.append(lambda: committed.callback(None))
        return committed.addCallback(lambda _: self._commit(message))

    def release(self):
        waiting, self.waiting = self.waiting, []
        for commit in waiting:
            commit()

    def _commit(self, message):
        for stored in self.messages.values():
            if message.idempotency_key and stored.idempotency_key == message.idempotency_key:
                if stored.fingerprint != message.fingerprint:
                    raise IdempotencyKeyReusedError
                return self._receipt(stored, replayed=True)
        self.messages[message.id] = message
        return self._receipt(message)

    def _receipt(self, message, *, replayed=False):
        return Receipt(
            message.id, message.message_id, Status.QUEUED, message.created_at, message.recipients, replayed
        )

    def find(self, client, identifier):
        message = self.messages.get(identifier)
        if message is None or message.client != client:
            return succeed(None)
        status, attempts = self.records.get(identifier, (Status.QUEUED, 0))
        return succeed(
            MessageRecord(
                id=message.id,
                message_id=message.message_id,
                client=client,
                status=status,
                created_at=message.created_at,
                attempts=attempts,
                next_attempt_at=None,
                expires_at=message.expires_at,
                recipients=tuple(
                    RecipientRecord(address, status, message.created_at) for address in message.recipients
                ),
                metadata=message.metadata,
            )
        )

    def find_by_key(self, client, key):
        for message in self.messages.values():
            if (message.client, message.idempotency_key) == (client, key):
                return self.find(client, message.id)
        return succeed(None)

    def used(self, client, period, now):
        return succeed(0)


class NoDelivery:
    def has_room(self, _client, size):
        return False

    def deliver(self, claim):
        raise AssertionError("nothing was leased")

    def wake(self):
        pass


@dataclass
class Recorder:
    events: list[dict[str, Any]] = field(default_factory=list)

    def record(self, event, /, **fields):
        self.events.append({"event": event, **{key: value for key, value in fields.items() if value is not None}})

    def of(self, event):
        return [entry for entry in self.events if entry["event"] == event]


class Wire(StringTransport):
    """The server's end of a connection in memory; it closes when told, as TCP would."""

    def __init__(self, address, clock):
        super().__init__(peerAddress=IPv4Address("TCP", address, 40000))
        self._clock = clock
        self.gone = False
        self.aborted = False
        self.kept_alive = False
        self.options = {}

    def setTcpNoDelay(self, enabled):
        """Do nothing: nothing waits here."""

    def setTcpKeepAlive(self, enabled):
        """Keep what was asked for."""
        self.kept_alive = enabled

    def getHandle(self):
        """Return what takes a socket's options."""
        return self

    def setsockopt(self, level, option, value):
        """Keep an option."""
        self.options[level, option] = value

    def loseConnection(self):
        super().loseConnection()
        self.lose(ConnectionDone())

    def abortConnection(self):
        self.aborted = True
        self.lose(ConnectionAborted())

    def lose(self, reason):
        if not self.gone:
            self.gone = True
            self._clock.callLater(0, self.protocol.connectionLost, Failure(reason))


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self):
        return json.loads(self.body)


class Connection:
    """A client of Python's own `ssl`, speaking raw octets to a door's factory."""

    def __init__(self, house, factory, client, address, *, stubborn=False):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(house.pki.ca_file)
        context.load_cert_chain(client)
        context.set_alpn_protocols(["h2", "http/1.1"])
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname="gate.example.com")
        self._clock = house.clock
        self.received = b""
        self.ended = False
        self.stubborn = stubborn  # a stubborn client doesn't end its side of the stream when the server does
        self.wire = Wire(address, self._clock)
        self.wire.protocol = self._server = factory.buildProtocol(self.wire.getPeer())
        self._server.makeConnection(self.wire)
        self._exchange(self.tls.do_handshake)
        self.turn()

    def send(self, octets):
        """Send octets; return self."""
        if octets:
            self.tls.write(octets)
        self.turn()
        return self

    def turn(self):
        """Let everything that is on its way arrive."""
        self._exchange(self._read)
        if self.ended and not self.wire.gone and not self.stubborn:
            self._exchange(self.tls.unwrap)
        return self

    def read_nothing(self, buffer):
        """Let replies fill a buffer of so many octets; return a list that isn't empty once it was full."""
        wire, write = self.wire, self.wire.write
        full, unread = [], 0

        def write_until_full(octets):
            nonlocal unread
            unread += len(octets)
            write(octets)
            # As TCP does: told once, from within the write that fills the buffer.
            if not full and unread > buffer and wire.producer is not None:
                full.append(True)
                wire.producer.pauseProducing()

        wire.write = write_until_full
        return full

    def hand_over(self, octets):
        """Send octets that arrive at once, in one piece, and nothing else happens."""
        self.tls.write(octets)
        self._server.dataReceived(self._outgoing.read())

    def leave(self):
        """Vanish as a peer does whose network is gone."""
        self.wire.lose(ConnectionDone())
        self._clock.advance(0)

    def request(self, method, path, body=None, **headers):
        """Send one request, and return its response."""
        self.send(request(method, path, body, **headers))
        return self.response(body=method != "HEAD")

    def response(self, *, body=True):
        """Take the next response that was received, whole."""
        head, _, rest = self.received.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = dict(line.split(": ", 1) for line in lines[1:])
        length = int(headers.get("Content-Length", "0")) if body else 0
        assert len(rest) >= length
        self.received = rest[length:]
        return Response(int(lines[0].split()[1]), headers, rest[:length])

    def _read(self):
        while True:
            try:
                octets = self.tls.read(65536)
            except ssl.SSLZeroReturnError:
                octets = b""
            if not octets:
                self.ended = True
                return
            self.received += octets

    def _exchange(self, step):
        for _ in range(20):
            try:
                step()
                done = True
            except ssl.SSLWantReadError:
                done = False
            sent = self._outgoing.read()
            for at in range(0, len(sent), 65536):
                if not self.wire.gone:
                    self._server.dataReceived(sent[at : at + 65536])
            # What was written is aggregated until the next turn of the reactor.
            self._clock.advance(0)
            answer = self.wire.value()
            self.wire.clear()
            self._incoming.write(answer)
            if done or not (sent or answer):
                return


class Device(Connection):
    """A client of the line door."""

    def say(self, *octets):
        """Send lines, or octets; return the lines that were answered."""
        for piece in octets:
            self.send(piece.encode() if isinstance(piece, str) else piece)
        return self.lines()

    def lines(self):
        """Take the lines that were received."""
        received, self.received = self.turn().received, b""
        assert not received or received.endswith(b"\n")
        return received.decode("ascii").splitlines()

    def greeted(self):
        """Take the greeting; return self."""
        [line] = self.lines()
        assert line.startswith("220 "), line
        return self


def request(method, path, body=None, **headers):
    """Return the octets of a request; header names are given with underscores."""
    if isinstance(body, dict):
        body = json.dumps(body).encode()
        headers.setdefault("content_type", "application/json")
    if body is not None:
        headers.setdefault("content_length", str(len(body)))
    fields = {"host": "gate.example.com", **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{key.replace('_', '-')}: {value}" for key, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def rules(label, **changes):
    values = {"label": label, "certificates": (f"CN:{label}",), "senders": ANYONE}
    return ClientRules(**(values | changes))


class WatchedSpool(Spool):
    """Tells whether it was given back."""

    closed = False

    def close(self):
        self.closed = True
        super().close()


class House:
    """A door with everything behind it."""

    def __init__(self, pki, **limits):
        self.pki = pki
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.journal = Recorder()
        self.queue = MemoryQueue()
        self.refusal = None
        self.limits = LimitSettings(**({"max_message": 100_000} | limits))
        self.intake = Intake(
            hostname="gate.example.com",
            directory=ClientDirectory(
                [
                    rules("장치-7"),
                    rules("other"),
                    rules("small", max_message=1000),
                    rules("disabled", enabled=False),
                    rules("lines-only", doors=frozenset({"lines"})),
                    rules("https-only", doors=frozenset({"https"})),
                    rules("narrow", senders=(X_KR,), recipients=(X_KR,)),
                    rules("limited", rate=Rate(1, 60.0)),
                ]
            ),
            limits=Limits(max_message=self.limits.max_message, give_up_after=3600.0),
            queue=self.queue,
            handover=NoDelivery(),
            admission=lambda: self.refusal,
            journal=self.journal,
            clock=self.clock,
            wall=self.clock.seconds,
        )
        trust = self.trust = ServerTrust(pki.settings, self.journal, self.clock, self.clock.seconds)
        connections = ConnectionLimits(self.limits.connections, self.limits.connections_per_address)
        self.door = make_https_door(self.intake, trust, self.limits, connections, self.clock, self.journal)
        self.lines = make_line_door(
            "gate.example.com",
            self.intake,
            trust,
            self.limits,
            connections,
            self._new_spool,
            self.clock,
            self.journal,
        )
        self.spooling = Spools(pki.folder, lambda: self.refusal)
        self.spools = []

    def connect(self, client="장치-7", days=365, address="192.0.2.7", **more):
        return Connection(self, self.door.factory, self.pki.client(client, days), address, **more)

    def connect_device(self, client="장치-7", days=365, address="192.0.2.7", **more):
        return Device(self, self.lines.factory, self.pki.client(client, days), address, **more)

    def _new_spool(self):
        self.spools.append(WatchedSpool(self.spooling))
        return self.spools[-1]

    def pass_time(self, seconds):
        """Let time go by in steps, as the reactor would."""
        for _ in range(int(seconds)):
            self.clock.advance(1)
        self.clock.advance(seconds % 1)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def open_house(pki):
    """Return what builds a house with the given limits."""

    def build(**limits):
        return House(pki, **limits)

    return build


@pytest.fixture(scope="session")
def http_request():
    return request

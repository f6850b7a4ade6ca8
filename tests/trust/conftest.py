"""Certificates of every kind, and a client of another TLS library that speaks to a factory in memory."""

import contextlib
import ssl
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from harness.pki import NOW, SERVER_AUTH, Authority, key_pem, pem, with_sha1
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.trust.connections import ConnectionLimits
from mailgate.trust.factory import MutualTLSFactory
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustSettings


class Pki:
    """Files in a folder, as an operator would have them."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.ca = Authority("회사 CA")
        server, key = self.ca.issue("server", usages=SERVER_AUTH, names=[x509.DNSName("gate.example.com")])
        self.write("server.crt", pem(server))
        self.write("server.key", key_pem(key))
        self.write("ca.crt", pem(self.ca.certificate))
        self.settings = TrustSettings(folder / "server.crt", folder / "server.key", folder / "ca.crt")

    def write(self, name, octets):
        path = self.folder / name
        path.write_bytes(octets)
        return path

    def client(self, name, certificate, key, *, intermediates=()):
        """Keep a client's certificate and key in one file, as `ssl` loads them, and return its path."""
        return self.write(name + ".pem", pem(certificate, *intermediates) + key_pem(key))


@dataclass
class Recorder:
    """A journal that remembers."""

    events: list[dict[str, Any]] = field(default_factory=list)

    def record(self, event, /, **fields):
        self.events.append(
            {"event": event, **{name: value for name, value in fields.items() if value is not None}}
        )

    def of(self, event):
        return [entry for entry in self.events if entry["event"] == event]


@implementer(IHandshakeListener)
class Greeter(Protocol):
    """Greets by name once the handshake is complete, and echoes."""

    def handshakeCompleted(self):
        self.transport.write(f"hello {self.transport.peer.common_name}\n".encode())

    def dataReceived(self, data):
        self.transport.write(data)


class Wire(StringTransport):
    """The server's end of a connection in memory; it closes when told, as TCP would."""

    def __init__(self, address, clock):
        super().__init__(peerAddress=IPv4Address("TCP", address, 40000))
        self._clock = clock
        self.protocol = None
        self.gone = False

    def loseConnection(self):
        super().loseConnection()
        self.lose(ConnectionDone())

    def abortConnection(self):
        self.aborting = True
        self.lose(ConnectionAborted())

    def lose(self, reason):
        if not self.gone:
            self.gone = True
            self._clock.callLater(0, self.protocol.connectionLost, Failure(reason))


class Client:
    """One connection of Python's own `ssl` to the factory."""

    def __init__(
        self,
        gate,
        certificate=None,
        *,
        version=None,
        alpn=(),
        address="192.0.2.7",
        ciphers=None,
        resuming=None,
        trusting=True,
        trusting_weak=False,
    ):
        context = resuming.context if resuming else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        if trusting:
            context.load_verify_locations(cadata=pem(gate.pki.ca.certificate).decode())
        if version:
            with warnings.catch_warnings():
                # Python warns of the old versions that one test must offer.
                warnings.simplefilter("ignore", DeprecationWarning)
                context.minimum_version = context.maximum_version = version
        if trusting_weak:
            context.set_ciphers("DEFAULT:@SECLEVEL=0")
        if certificate:
            context.load_cert_chain(certificate)
        if alpn:
            context.set_alpn_protocols(alpn)
        if ciphers:
            context.set_ciphers(ciphers)
        self.context = context
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming,
            self.outgoing,
            server_hostname="gate.example.com",
            session=resuming.tls.session if resuming else None,
        )
        self.clock = gate.clock
        self.received = b""
        self.alert: ssl.SSLError | None = None
        self.wire = Wire(address, gate.clock)
        self.server = gate.factory.buildProtocol(self.wire.getPeer())
        self.refused = self.server is None
        if not self.refused:
            self.wire.protocol = self.server
            self.server.makeConnection(self.wire)

    def handshake(self):
        """Shake hands as far as it goes, and read what the server says then."""
        self._exchange(self.tls.do_handshake)
        self._exchange(self._read)
        return self

    def begin(self):
        """Send the first flight, and no more."""
        with contextlib.suppress(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.server.dataReceived(self.outgoing.read())

    def send(self, octets):
        self.tls.write(octets)
        self._exchange(self._read)
        return self

    def _read(self):
        while True:
            octets = self.tls.read(65536)
            if not octets:
                return
            self.received += octets

    def _exchange(self, step):
        for _ in range(20):
            try:
                step()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError as error:
                self.alert = error
                done = True
            sent = self.outgoing.read()
            if sent and not self.wire.gone:
                self.server.dataReceived(sent)
            # What was written is aggregated until the next turn of the reactor.
            self.clock.advance(0)
            answer = self.wire.value()
            self.wire.clear()
            self.incoming.write(answer)
            if done or not (sent or answer):
                return


class Gate:
    """A factory with its trust, journal and clock."""

    def __init__(self, pki, *, total=100, per_address=100, alpn=(b"http/1.1",), minimum="TLSv1.2"):
        self.pki = pki
        self.clock = Clock()
        self.clock.advance(NOW.timestamp())
        self.journal = Recorder()
        settings = TrustSettings(
            pki.settings.certificate, pki.settings.private_key, pki.settings.client_ca, minimum
        )
        self.trust = ServerTrust(settings, self.journal, self.clock, self.clock.seconds)
        self.factory = MutualTLSFactory(
            self.trust,
            Factory.forProtocol(Greeter),
            door="https",
            alpn=alpn,
            limits=ConnectionLimits(total, per_address),
            clock=self.clock,
        )

    def reload(self, settings):
        """Use another generation, if it can be used."""
        self.trust.use(self.trust.prepare(settings))

    def connect(self, certificate=None, **options):
        return Client(self, certificate, **options)


@pytest.fixture(scope="session")
def pki(tmp_path_factory):
    return Pki(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="session")
def authority():
    return Authority


@pytest.fixture(scope="session", name="with_sha1")
def _with_sha1():
    return with_sha1


@pytest.fixture(scope="session")
def make_gate(pki):
    """Return what builds a gate over the session's PKI, or over one's own."""

    def make(own=None, **options):
        return Gate(own or pki, **options)

    return make


@pytest.fixture
def own_pki(tmp_path):
    """Return a PKI whose files a test may change."""
    return Pki(tmp_path)

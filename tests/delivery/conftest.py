"""A connection to an upstream in memory, where the test plays the server; certificates for real ones."""

import ipaddress
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ITLSTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.delivery.esmtp import Habits, SmtpConnection, Timeouts
from mailgate.delivery.settings import UpstreamSettings
from mailgate.queue.interface import Claim, PendingRecipient

CONTENT = "Subject: 회의\r\n\r\n안녕하세요\r\n".encode()


@implementer(ITLSTransport)
class Wire(StringTransport):
    """A transport that keeps what was written, write by write, and how it was ended."""

    def __init__(self):
        super().__init__()
        self.writes = []
        self.no_delay = False
        self.tls = None
        self.aborted = False

    def write(self, data):
        self.writes.append(data)
        super().write(data)

    def setTcpNoDelay(self, enabled):
        self.no_delay = enabled

    def abortConnection(self):
        self.aborted = True
        self.disconnecting = True

    def startTLS(self, context):
        self.tls = context


class Conversation:
    """A connection under test and the server's side of it."""

    def __init__(self, upstream=None, tls=None, timeouts=None, habits=None):
        self.clock = Clock()
        self.upstream = upstream or UpstreamSettings(host="smtp.internal", tls="none")
        self.connection = SmtpConnection(
            self.upstream, "gate.example.com", tls, self.clock, timeouts or Timeouts(), habits or Habits()
        )
        self.failure = None
        self.is_ready = False
        self.connection.ready.addCallbacks(self._ready, self._failed)
        self.wire = Wire()
        self.connection.makeConnection(self.wire)

    def _ready(self, _):
        self.is_ready = True

    def _failed(self, failure):
        self.failure = failure.value

    def sent(self):
        """Return what the client wrote since the last look."""
        octets = self.wire.value()
        self.wire.clear()
        self.wire.writes.clear()
        return octets

    def server(self, *lines):
        """Let the server say lines, and return what the client writes to that."""
        self.connection.dataReceived(b"".join(line + b"\r\n" for line in lines))
        return self.sent()

    def start(self, *extensions):
        """Bring the connection to where it takes messages, with what the server offers."""
        self.server(b"220 smtp.internal")
        offered = [b"250-smtp.internal", *(b"250-" + extension for extension in extensions)]
        self.server(*offered, b"250 HELP")
        assert self.is_ready
        return self

    def send(self, claim):
        """Send a claim; the list holds the attempt once there is one."""
        attempts = []
        self.connection.send(claim).addCallback(attempts.append)
        return attempts

    def lose(self, reason=None):
        """Let the connection be lost."""
        self.connection.connectionLost(Failure(reason or ConnectionDone()))


def make_claim(*recipients, content=CONTENT, **fields):
    values = {
        "id": "01900000-0000-7000-8000-000000000001",
        "message_id": "<1@gate.example.com>",
        "client": "sensor",
        "sender": "a@example.com",
        "recipients": tuple(
            PendingRecipient(position, address)
            for position, address in enumerate(recipients or ("kim@example.com",))
        ),
        "content": content,
        "eight_bit": False,
        "smtputf8": False,
        "attempts": 0,
        "created_at": 0.0,
        "expires_at": 1e6,
    }
    return Claim(**values | fields)


@pytest.fixture
def converse():
    """Return the class of conversations."""
    return Conversation


@pytest.fixture
def claim_of():
    """Return the maker of claims."""
    return make_claim


class Authority:
    """A CA that signs servers' certificates, good and bad."""

    def __init__(self, folder):
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Internal CA")])
        self.certificate = (
            self._build(self._name, self._key.public_key(), timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.path = folder / "ca.crt"
        self.path.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def _build(self, subject, key, left):
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=2))
            .not_valid_after(now + left)
        )

    def issue(self, *names, left=timedelta(days=1), usage=ExtendedKeyUsageOID.SERVER_AUTH, file="server"):
        """Return the paths of a certificate and its key; without names it has no subjectAltName."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        builder = self._build(subject, key.public_key(), left).add_extension(
            x509.ExtendedKeyUsage([usage]), critical=False
        )
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName([_general_name(n) for n in names]), False)
        certificate, private = self._folder / f"{file}.crt", self._folder / f"{file}.key"
        certificate.write_bytes(builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return certificate, private


def _general_name(name):
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


@pytest.fixture
def make_authority(tmp_path_factory):
    """Return the maker of CAs."""
    return lambda: Authority(tmp_path_factory.mktemp("ca"))

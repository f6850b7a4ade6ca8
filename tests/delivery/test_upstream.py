"""Connections to real servers on the loopback interface, with real TLS."""

import gc
import socket
import ssl
import time
from datetime import timedelta

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import AuthResult
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID
from OpenSSL import SSL
from twisted.internet import reactor
from twisted.internet.defer import succeed
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.error import ConnectError
from twisted.internet.interfaces import IOpenSSLContextFactory
from twisted.internet.protocol import Factory
from twisted.internet.task import LoopingCall
from twisted.protocols.basic import LineReceiver
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from zope.interface import implementer

from mailgate.delivery.connector import Connector
from mailgate.delivery.errors import DeliveryError, UpstreamError, describe
from mailgate.delivery.make import make_dispatcher, make_upstream_tls
from mailgate.delivery.settings import Credentials, DeliverySettings, UpstreamSettings
from mailgate.delivery.tls import UpstreamTls, load_authorities, upstream_tls
from mailgate.model.outcome import Status
from mailgate.trust.certificate import key_identifier

CONTENT = "Subject: 회의록\r\n\r\n.점\r\n..\r\n.\r\n끝\r\n".encode()


class Server(LineReceiver):
    """Says what it is told to each command; may offer STARTTLS."""

    def connectionMade(self):
        if self.factory.greets:
            self.sendLine(b"220 test")

    def lineReceived(self, line):
        verb = line.split()[0].upper()
        self.factory.seen.append(verb)
        if verb == b"EHLO":
            self.sendLine(b"250-test")
            self.sendLine(b"250 STARTTLS" if self.factory.starttls else b"250 PIPELINING")
        elif verb == b"STARTTLS":
            self.sendLine(b"220 go")
            self.factory.starttls = False
            self.transport.startTLS(self.factory.tls)
        elif verb == b"QUIT":
            self.sendLine(b"221 bye")
            self.transport.loseConnection()


@implementer(IOpenSSLContextFactory)
class ServerTls:
    """A server's side of TLS; OpenSSL's own, so that bad ones can be had too."""

    def __init__(self, certificate, key, ciphers=None, clients=None):
        self.context = SSL.Context(SSL.TLS_SERVER_METHOD)
        if clients:
            self.context.load_verify_locations(str(clients))
            self.context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
        self.context.use_certificate_file(str(certificate))
        self.context.use_privatekey_file(str(key))
        if ciphers:
            self.context.set_max_proto_version(SSL.TLS1_2_VERSION)
            self.context.set_cipher_list(ciphers)

    def getContext(self):
        return self.context


class TlsTests(TestCase):
    """The name check and its like, for STARTTLS and implicit TLS."""

    timeout = 20

    @pytest.fixture(autouse=True)
    def _given(self, make_authority):
        self.make_authority = make_authority
        self.authority = make_authority()

    async def _connect(
        self,
        *names,
        mode="implicit",
        host="localhost",
        authority=None,
        ciphers=None,
        clients=None,
        tls=None,
        **options,
    ):
        factory = Factory.forProtocol(Server)
        factory.noisy = False
        factory.greets = True
        factory.seen = self.seen = []
        factory.starttls = mode == "starttls"
        factory.tls = ServerTls(*(authority or self.authority).issue(*names, **options), ciphers, clients)
        served = TLSMemoryBIOFactory(factory.tls, False, factory) if mode == "implicit" else factory
        served.noisy = False
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(served)
        self.addCleanup(port.stopListening)
        upstream = UpstreamSettings(host=host, port=port.getHost().port, tls=mode, ca=self.authority.path)
        tls = tls or UpstreamTls(host, load_authorities(self.authority.path))
        connection = await Connector(upstream, "gate.example.com", tls, reactor).connect()
        try:
            assert connection.idle
        finally:
            connection.close()
            await connection.lost
        return connection

    async def _refused(self, *names, **options):
        with pytest.raises(UpstreamError) as caught:
            await self._connect(*names, **options)
        return str(caught.value)

    async def test_a_certificate_with_the_name_is_let_through(self):
        await self._connect("localhost")

    async def test_a_certificate_with_the_address_is_let_through(self):
        await self._connect("127.0.0.1", host="127.0.0.1")

    async def test_starttls_is_let_through(self):
        await self._connect("localhost", mode="starttls")
        assert self.seen[:3] == [b"EHLO", b"STARTTLS", b"EHLO"]

    async def test_a_certificate_for_another_name_is_refused(self):
        reason = await self._refused("other.internal")
        assert reason == "TLS failed: the server's certificate is for another name"
        assert self.seen == []

    async def test_a_certificate_for_another_name_is_refused_after_starttls(self):
        reason = await self._refused("other.internal", mode="starttls")
        assert reason == "TLS failed: the server's certificate is for another name"
        assert self.seen == [b"EHLO", b"STARTTLS"]

    async def test_a_certificate_for_another_address_is_refused(self):
        assert "another name" in await self._refused("127.0.0.2", host="127.0.0.1")

    async def test_a_certificate_without_subjectaltname_is_refused_although_its_cn_fits(self):
        reason = await self._refused()
        assert reason == "TLS failed: the server's certificate's names can't be checked (CertificateError)"
        assert self.seen == []

    async def test_an_expired_certificate_is_refused(self):
        reason = await self._refused("localhost", left=timedelta(days=-1))
        assert reason == "TLS failed: the server's certificate has expired"

    async def test_a_certificate_of_another_authority_is_refused(self):
        reason = await self._refused("localhost", authority=self.make_authority())
        assert "TLS failed: the server's certificate" in reason

    async def test_a_clients_certificate_is_refused(self):
        reason = await self._refused("localhost", usage=ExtendedKeyUsageOID.CLIENT_AUTH)
        assert reason == "TLS failed: the server's certificate is not meant for a server"

    async def test_ciphers_without_authentication_of_the_record_are_refused(self):
        assert (await self._refused("localhost", ciphers=b"ECDHE-ECDSA-AES128-SHA256")).startswith("TLS failed: ")

    async def test_ciphers_of_tls_1_2_with_it_are_let_through(self):
        await self._connect("localhost", ciphers=b"ECDHE-ECDSA-AES128-GCM-SHA256")

    def _tls(self, **fields):
        return upstream_tls(UpstreamSettings(host="localhost", ca=self.authority.path, **fields))

    def _shown(self):
        certificate, key = self.authority.issue("gate", usage=ExtendedKeyUsageOID.CLIENT_AUTH, file="gate")
        return {"certificate": certificate, "private_key": key}

    async def test_a_server_that_asks_who_we_are_is_shown_our_certificate(self):
        for mode in ("implicit", "starttls"):
            tls = self._tls(**self._shown())
            await self._connect("localhost", mode=mode, clients=self.authority.path, tls=tls)

    async def test_without_a_certificate_such_a_server_refuses_us(self):
        reason = await self._refused("localhost", clients=self.authority.path, mode="starttls")
        assert reason.startswith("TLS failed: ")

    async def test_a_renewed_certificate_is_shown_from_then_on(self):
        tls = self._tls()
        await self._refused("localhost", clients=self.authority.path, tls=tls)
        tls.use(self._tls(**self._shown()))
        await self._connect("localhost", clients=self.authority.path, tls=tls)

    async def test_a_public_key_that_is_pinned_is_let_through_and_no_other(self):
        certificate, _ = self.authority.issue("localhost")
        pin = key_identifier(x509.load_pem_x509_certificate(certificate.read_bytes()))
        kept = certificate.read_bytes(), certificate.with_suffix(".key").read_bytes()
        reason = await self._refused("localhost", tls=self._tls(pins=frozenset({pin})))
        assert reason == "TLS failed: the server's certificate has a public key that is not pinned"
        certificate.write_bytes(kept[0])
        certificate.with_suffix(".key").write_bytes(kept[1])
        self.authority.issue = lambda *_names, **_options: (certificate, certificate.with_suffix(".key"))
        await self._connect("localhost", tls=self._tls(pins=frozenset({"00" * 32, pin})))

    async def test_clear_text_instead_of_tls_is_refused(self):
        factory = Factory.forProtocol(Server)
        factory.noisy = False
        factory.greets = True
        factory.seen = []
        port = await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
        self.addCleanup(port.stopListening)
        upstream = UpstreamSettings(host="localhost", port=port.getHost().port, tls="implicit")
        tls = UpstreamTls("localhost", load_authorities(self.authority.path))
        connecting = Connector(upstream, "gate.example.com", tls, reactor).connect()
        error = await self.assertFailure(connecting, UpstreamError)
        assert str(error).startswith("TLS failed: ")

    async def test_a_refused_connection_says_so(self):
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            number = unused.getsockname()[1]
        upstream = UpstreamSettings(host="127.0.0.1", port=number, tls="none")
        with pytest.raises(ConnectError) as caught:
            await Connector(upstream, "gate.example.com", None, reactor).connect()
        assert "refused" in describe(Failure(caught.value))


class Mailbox:
    """What a real server got."""

    def __init__(self):
        self.mails = []

    async def handle_DATA(self, server, session, envelope):
        self.mails.append((envelope.mail_from, tuple(envelope.rcpt_tos), envelope.original_content))
        return "250 2.0.0 queued"

    async def handle_RCPT(self, server, session, envelope, address, options):
        if address.startswith("nobody@"):
            return "550 5.1.1 no such user"
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 ok"


class ListQueue:
    """Takes settlements; has nothing due."""

    def __init__(self):
        self.settled = []

    def claim(self, limit, now):
        return succeed([])

    def next_due(self):
        return succeed(None)

    def renew(self, ids, now):
        return succeed(None)

    def settle(self, settlement):
        self.settled.append(settlement)
        return succeed(True)

    def purge(self, now):
        return succeed(0)


def nobody(client):
    """Name no one to tell of what ends undelivered."""


class Silence:
    def record(self, event, /, **fields):
        pass


# aiosmtpd stops its event loop while the server's side of a closed connection is still being torn down.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
class RealServerTests(TestCase):
    """The whole of delivery against aiosmtpd, over STARTTLS with a login."""

    timeout = 30

    @pytest.fixture(autouse=True)
    def _given(self, make_authority, claim_of):
        self.authority = make_authority()
        self.claim_of = claim_of

    def _serve(self):
        certificate, key = self.authority.issue("localhost")
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate, key)
        self.mailbox = Mailbox()
        self.logins = []

        def authenticate(server, session, envelope, mechanism, data):
            self.logins.append((mechanism, data.login, data.password))
            return AuthResult(success=data.password == "열쇠".encode(), handled=False)

        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            number = unused.getsockname()[1]
        controller = Controller(
            self.mailbox,
            hostname="127.0.0.1",
            port=number,
            tls_context=context,
            require_starttls=True,
            authenticator=authenticate,
            auth_required=True,
            enable_SMTPUTF8=True,
        )
        controller.start()
        # Whatever it left open must be collected here, and not in the middle of some later test.
        self.addCleanup(gc.collect)
        self.addCleanup(controller.stop)
        return number

    def _dispatcher(self, number, password="열쇠", **fields):
        upstream = UpstreamSettings(
            host="localhost",
            port=number,
            ca=self.authority.path,
            credentials=Credentials("gate", password),
            **fields,
        )
        self.queue = ListQueue()
        settings = DeliverySettings(hostname="gate.example.com", upstreams=(upstream,))
        dispatcher = make_dispatcher(
            settings, self.queue, reactor, time.time, Silence(), make_upstream_tls(settings), nobody
        )
        dispatcher.start()
        self.addCleanup(dispatcher.stop)
        return dispatcher

    def _settled(self, count):
        """Wait until so many messages are settled."""
        deadline = time.monotonic() + 15

        def look():
            if len(self.queue.settled) >= count:
                loop.stop()
            assert time.monotonic() < deadline, self.queue.settled

        loop = LoopingCall(look)
        return loop.start(0.02)

    async def test_messages_arrive_octet_by_octet(self):
        dispatcher = self._dispatcher(self._serve(), connections=3)
        contents = [b"Subject: %d\r\n\r\n" % number + CONTENT * (1 + number * 100) for number in range(20)]
        now = time.time()
        for number, content in enumerate(contents):
            claim = self.claim_of(
                "kim@example.com",
                "nobody@example.com",
                id=str(number),
                content=content,
                eight_bit=True,
                created_at=now,
                expires_at=now + 100,
            )
            dispatcher.deliver(claim)
        await self._settled(20)
        assert sorted(content for _, _, content in self.mailbox.mails) == sorted(contents)
        assert {(sender, to) for sender, to, _ in self.mailbox.mails} == {("a@example.com", ("kim@example.com",))}
        for settlement in self.queue.settled:
            assert [each.status for each in settlement.outcomes] == [Status.ACCEPTED, Status.FAILED]
        assert set(self.logins) == {("PLAIN", b"gate", "열쇠".encode())}
        assert len(self.logins) <= 3

    async def test_a_korean_address_arrives(self):
        dispatcher = self._dispatcher(self._serve())
        now = time.time()
        dispatcher.deliver(
            self.claim_of("김@example.com", smtputf8=True, eight_bit=True, created_at=now, expires_at=now + 100)
        )
        await self._settled(1)
        assert self.mailbox.mails[0][1] == ("김@example.com",)

    async def test_nagle_is_off_on_the_real_socket(self):
        number = self._serve()
        upstream = UpstreamSettings(
            host="localhost", port=number, ca=self.authority.path, credentials=Credentials("gate", "열쇠")
        )
        tls = UpstreamTls("localhost", load_authorities(self.authority.path))
        connection = await Connector(upstream, "gate.example.com", tls, reactor).connect()
        assert connection.transport.getTcpNoDelay()
        connection.close()
        await connection.lost

    async def test_a_wrong_password_is_the_upstreams_trouble(self):
        number = self._serve()
        upstream = UpstreamSettings(
            host="localhost", port=number, ca=self.authority.path, credentials=Credentials("gate", "wrong")
        )
        tls = UpstreamTls("localhost", load_authorities(self.authority.path))
        connecting = Connector(upstream, "gate.example.com", tls, reactor).connect()
        error = await self.assertFailure(connecting, UpstreamError)
        assert str(error).startswith("the server refused the login: 535")


class Making(TestCase):
    """What can be wrong before anything is delivered."""

    @pytest.fixture(autouse=True)
    def _given(self, tmp_path):
        self.path = tmp_path / "internal-ca.crt"

    def _make(self, **fields):
        upstream = UpstreamSettings(**{"host": "smtp.internal", "port": 25} | fields)
        settings = DeliverySettings(hostname="gate.example.com", upstreams=(upstream,))
        return make_dispatcher(
            settings, ListQueue(), reactor, time.time, Silence(), make_upstream_tls(settings), nobody
        )

    def test_a_missing_ca_is_named(self):
        error = self.assertRaises(DeliveryError, self._make, ca=self.path)
        assert str(error) == f"{self.path}: the upstream's CA can't be read: No such file or directory"

    def test_a_ca_that_is_none_is_named(self):
        self.path.write_text("hello\n")
        error = self.assertRaises(DeliveryError, self._make, ca=self.path)
        assert str(error) == f"{self.path}: no certificate in PEM form, as an upstream's CA needs"

    def test_a_login_without_tls_is_refused(self):
        error = self.assertRaises(DeliveryError, self._make, tls="none", credentials=Credentials("gate", "열쇠"))
        assert "smtp.internal:25" in str(error)
        assert "열쇠" not in str(error)

    def test_a_client_certificate_that_is_missing_is_named(self):
        error = self.assertRaises(DeliveryError, self._make, certificate=self.path, private_key=self.path)
        assert str(error).startswith("upstream smtp.internal: the client certificate file ")

    def test_a_host_that_is_no_name_is_refused(self):
        error = self.assertRaises(DeliveryError, self._make, host="smtp internal")
        assert "smtp internal" in str(error)

    def test_a_hostname_in_u_labels_is_refused(self):
        upstream = UpstreamSettings(host="smtp.internal")
        settings = DeliverySettings(hostname="우편.kr", upstreams=(upstream,))
        error = self.assertRaises(
            DeliveryError, make_dispatcher, settings, ListQueue(), reactor, time.time, Silence(), (None,), nobody
        )
        assert "우편.kr" in str(error)

    def test_there_is_an_upstream(self):
        settings = DeliverySettings(hostname="gate.example.com", upstreams=())
        self.assertRaises(
            DeliveryError, make_dispatcher, settings, ListQueue(), reactor, time.time, Silence(), (), nobody
        )

    def test_the_systems_authorities_serve_where_no_ca_is_given(self):
        assert self._make() is not None

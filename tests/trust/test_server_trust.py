"""Loading, reloading, and every fault of a file told in one sentence."""

import errno
import ssl
from dataclasses import replace
from pathlib import Path
from unittest import mock

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness.pki import DAY, NOW
from twisted.trial.unittest import SynchronousTestCase

from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError

SERVER = [ExtendedKeyUsageOID.SERVER_AUTH]
NAMES = [x509.DNSName("gate.example.com")]


def key_pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


class Base(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, own_pki, authority, make_gate):
        self.pki = own_pki
        self.authority = authority
        self.gate = make_gate(own_pki)

    def write_server(self, **options):
        """Replace the server's certificate and key by ones of the given making."""
        certificate, key = self.pki.ca.issue("server", **({"usages": SERVER, "names": NAMES} | options))
        self.pki.write("server.crt", certificate.public_bytes(Encoding.PEM))
        self.pki.write("server.key", key_pem(key))

    def client(self, name="kim", ca=None):
        return self.pki.client(name, *(ca or self.pki.ca).issue(name))


class FaultTests(Base):
    def assert_fault(self, *words, **changes):
        settings = replace(self.pki.settings, **changes)
        error = self.assertRaises(
            TrustError, ServerTrust, settings, self.gate.journal, self.gate.clock, self.gate.clock.seconds
        )
        sentence = str(error)
        for word in words:
            self.assertIn(word, sentence)
        self.assertNotIn("\n", sentence)
        self.assertNotIn("error:", sentence)
        # The generation in use stays in use.
        self.assertEqual(str(self.assertRaises(TrustError, self.gate.reload, settings)), sentence)
        self.assertEqual(self.gate.connect(self.client()).handshake().received, b"hello kim\n")

    def test_no_such_file(self):
        for field in ("certificate", "private_key", "client_ca"):
            path = self.pki.folder / "absent.pem"
            self.assert_fault(str(path), "No such file", **{field: path})

    def test_a_folder(self):
        self.assert_fault(str(self.pki.folder), "directory", certificate=self.pki.folder)

    def test_no_pem(self):
        path = self.pki.write("noise.pem", "암호가 아닌 것".encode())
        self.assert_fault(str(path), "no certificate in PEM form", certificate=path)
        self.assert_fault(str(path), "no certificate in PEM form", client_ca=path)
        self.assert_fault(str(path), "no key in PEM form", private_key=path)

    def test_a_bundle_that_is_cut_off(self):
        for field, name in (("client_ca", "ca.crt"), ("certificate", "server.crt")):
            whole = (self.pki.folder / name).read_bytes()
            path = self.pki.write("cut.pem", whole + whole[:300])
            self.assert_fault(str(path), "cut off within a certificate", **{field: path})

    def test_an_empty_file(self):
        self.assert_fault("no certificate", client_ca=self.pki.write("empty.pem", b""))

    def test_broken_base64(self):
        octets = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        self.assert_fault("broken.pem", certificate=self.pki.write("broken.pem", octets))

    def test_another_key(self):
        path = self.pki.write("other.key", key_pem(ec.generate_private_key(ec.SECP256R1())))
        self.assert_fault(str(path), "server.crt", "doesn't fit", private_key=path)

    def test_a_key_with_a_passphrase(self):
        key = ec.generate_private_key(ec.SECP256R1())
        path = self.pki.write("locked.key", key_pem(key, BestAvailableEncryption(b"secret")))
        self.assert_fault(str(path), "encrypted", private_key=path)

    def test_a_key_of_a_kind_that_tls_has_not(self):
        path = self.pki.write("dsa.key", key_pem(dsa.generate_private_key(2048)))
        self.assert_fault(str(path), "RSA, EC and Ed25519", private_key=path)

    def test_no_ca(self):
        certificate, _ = self.pki.ca.issue("server")
        path = self.pki.write("leaf.crt", certificate.public_bytes(Encoding.PEM))
        self.assert_fault(str(path), "CN=server", "no CA", client_ca=path)

    def test_only_expired_cas(self):
        ca = self.authority("옛 CA", begin=NOW - 9 * DAY, end=NOW - DAY)
        path = self.pki.write("old-ca.crt", ca.certificate.public_bytes(Encoding.PEM))
        self.assert_fault(str(path), "still valid", client_ca=path)

    def assert_server_fault(self, *words, **options):
        certificate, key = self.pki.ca.issue("server", **({"usages": SERVER} | options))
        path = self.pki.write("new.crt", certificate.public_bytes(Encoding.PEM))
        self.assert_fault(str(path), *words, certificate=path, private_key=self.pki.write("new.key", key_pem(key)))

    def test_an_expired_server(self):
        self.assert_server_fault("expired on 20", "UTC", begin=NOW - 9 * DAY, end=NOW - DAY)

    def test_a_server_of_tomorrow(self):
        self.assert_server_fault("not valid before 20", begin=NOW + DAY)

    def test_a_certificate_for_clients(self):
        self.assert_server_fault("lacks serverAuth", usages=[ExtendedKeyUsageOID.CLIENT_AUTH])

    def test_a_key_that_openssl_finds_too_short(self):
        key = rsa.generate_private_key(65537, 1024)
        self.assert_server_fault("OpenSSL can't use", "too small", key=key)


class LoadTests(Base):
    def test_kinds_of_server_keys(self):
        for key in (ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)):
            self.write_server(key=key)
            self.gate.reload(self.pki.settings)
            self.assertEqual(self.gate.connect(self.client()).handshake().received, b"hello kim\n")

    def test_a_server_without_key_usage_extensions(self):
        self.write_server(usages=())
        self.gate.reload(self.pki.settings)
        self.assertEqual(self.gate.connect(self.client()).handshake().received, b"hello kim\n")

    def test_the_ca_itself_is_not_sent(self):
        client = self.gate.connect(self.client(), version=ssl.TLSVersion.TLSv1_2)
        client.begin()
        self.gate.clock.advance(0)
        flight = client.wire.value()
        leaf = self.gate.trust.generation.certificate
        self.assertIn(leaf.public_bytes(Encoding.DER), flight)
        self.assertNotIn(self.pki.ca.certificate.public_bytes(Encoding.DER), flight)

    def test_the_chain_is_sent(self):
        between = self.authority("중간 CA", issuer=self.pki.ca)
        certificate, key = between.issue("server", usages=SERVER, names=NAMES)
        octets = b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, between.certificate))
        self.pki.write("server.crt", octets)
        self.pki.write("server.key", key_pem(key))
        self.gate.reload(self.pki.settings)
        # The client knows only the root.
        self.assertEqual(self.gate.connect(self.client()).handshake().received, b"hello kim\n")

    def test_the_journal_is_told_of_each_generation(self):
        other = self.authority("둘째 CA")
        octets = b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (other, self.pki.ca))
        self.gate.reload(replace(self.pki.settings, client_ca=self.pki.write("two.crt", octets)))
        entry = self.gate.journal.of("trust.loaded")[-1]
        self.assertEqual((entry["subject"], entry["client_cas"]), ("CN=server", 2))


class ReloadTests(Base):
    def test_new_connections_meet_the_new_generation_and_live_ones_go_on(self):
        live = self.gate.connect(self.client()).handshake()
        other = self.authority("새 CA")
        path = self.pki.write("new-ca.crt", other.certificate.public_bytes(Encoding.PEM))
        self.gate.reload(replace(self.pki.settings, client_ca=path))
        self.assertEqual(live.send(b"still here").received, b"hello kim\nstill here")
        self.assertEqual(self.gate.connect(self.client()).handshake().received, b"")
        self.assertEqual(self.gate.connect(self.client("lee", other)).handshake().received, b"hello lee\n")

    def test_live_connections_can_be_walked_with_their_peers(self):
        self.gate.connect(self.client()).handshake()
        self.gate.connect(self.client("lee"))
        names = sorted(str(each.peer and each.peer.common_name) for each in self.gate.factory.connections)
        self.assertEqual(names, ["None", "kim"])


class KeyFileTests(Base):
    def test_one_that_others_may_read_is_told_of(self):
        path = self.pki.folder / "server.key"
        for mode, told in ((0o600, []), (0o400, []), (0o640, ["0640"]), (0o604, ["0640", "0604"])):
            path.chmod(mode)
            self.gate.journal.events = [] if not told else self.gate.journal.events
            self.gate.reload(self.pki.settings)
            self.assertEqual([entry["mode"] for entry in self.gate.journal.of("trust.key_exposed")], told)

    def test_one_that_can_not_be_read_any_more_is_the_one_in_use(self):
        certificate, key = self.pki.ca.issue("server", usages=SERVER, names=NAMES)
        in_use = self.gate.trust.generation.key
        denied = mock.patch.object(Path, "read_bytes", _denied(Path.read_bytes, "server.key"))
        with denied:
            self.gate.reload(self.pki.settings)
        self.assertIs(self.gate.trust.generation.key, in_use)
        self.pki.write("server.crt", certificate.public_bytes(Encoding.PEM))
        self.pki.write("server.key", key_pem(key))
        with denied:
            error = self.assertRaises(TrustError, self.gate.reload, self.pki.settings)
        self.assertIn("doesn't fit", str(error))
        self.gate.reload(self.pki.settings)
        self.assertIsNot(self.gate.trust.generation.key, in_use)


def _denied(read_bytes, name):
    def read(path):
        if path.name == name:
            raise PermissionError(errno.EACCES, "Permission denied")
        return read_bytes(path)

    return read


class SessionTests(Base):
    def test_nothing_is_resumed(self):
        """A resumed session would skip every check of the certificate."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            path = self.client()
            first = self.gate.connect(path, version=version).handshake()
            self.assertEqual(first.received, b"hello kim\n")
            again = self.gate.connect(path, version=version, resuming=first).handshake()
            self.assertFalse(again.tls.session_reused)
            self.assertEqual(again.received, b"hello kim\n")

    def test_only_forward_secret_authenticated_ciphers(self):
        for cipher in ("AES128-GCM-SHA256", "ECDHE-ECDSA-AES128-SHA256", "ECDHE-ECDSA-AES128-SHA"):
            client = self.gate.connect(self.client(), version=ssl.TLSVersion.TLSv1_2, ciphers=cipher).handshake()
            self.assertEqual(client.received, b"")
        self.assertIn("cipher suite", self.gate.journal.of("handshake.refused")[0]["reason"])

    def test_old_versions(self):
        client = self.gate.connect(
            self.client(), version=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0"
        ).handshake()
        self.assertEqual(client.received, b"")
        (entry,) = self.gate.journal.of("handshake.refused")
        self.assertIn("no TLS version", entry["reason"])

    def test_a_higher_minimum(self):
        self.gate.reload(replace(self.pki.settings, minimum="TLSv1.3"))
        old = self.gate.connect(self.client(), version=ssl.TLSVersion.TLSv1_2).handshake()
        self.assertEqual(old.received, b"")
        self.assertEqual(self.gate.connect(self.client()).handshake().received, b"hello kim\n")

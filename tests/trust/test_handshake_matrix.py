"""Who gets through the handshake, under both versions of TLS, and what the journal says of those who don't."""

import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID
from twisted.trial.unittest import SynchronousTestCase

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)


class Matrix:
    version: ssl.TLSVersion

    @pytest.fixture(autouse=True)
    def _fixtures(self, pki, authority, make_gate):
        self.pki = pki
        self.authority = authority
        self.gate = make_gate()

    def issued(self, name, ca=None, **options):
        certificate, key = (ca or self.pki.ca).issue(name, **options)
        return certificate, self.pki.client(name, certificate, key)

    def connect(self, path):
        return self.gate.connect(path, version=self.version).handshake()

    def assert_refused(self, client, words):
        self.assertEqual(client.received, b"")
        self.assertIsNotNone(client.alert)
        self.assertTrue(client.wire.gone)
        self.assertEqual(self.gate.factory.connections, ())
        (entry,) = self.gate.journal.of("handshake.refused")
        self.assertIn(words, entry["reason"])
        self.assertEqual(entry["address"], "192.0.2.7")
        self.assertEqual(entry["door"], "https")
        return entry

    def assert_welcome(self, client, name):
        self.assertIsNone(client.alert)
        self.assertEqual(client.received, f"hello {name}\n".encode())
        self.assertEqual(client.tls.version(), {"TLSv1_2": "TLSv1.2", "TLSv1_3": "TLSv1.3"}[self.version.name])
        self.assertEqual(self.gate.journal.of("handshake.refused"), [])

    def test_elliptic_curve(self):
        _, path = self.issued("장치 7")
        self.assert_welcome(self.connect(path), "장치 7")

    def test_rsa_for_a_hundred_years_of_a_ca_without_key_usage(self):
        """What the operator's own openssl recipe makes: dates beyond 2050 are GeneralizedTime."""
        key = rsa.generate_private_key(65537, 2048)
        ca = self.authority("MyCustomCA", key=key, key_usage=False, end=NOW + 36500 * DAY)
        self.pki.write("ca-old.crt", ca.certificate.public_bytes(Encoding.PEM))
        _, path = self.issued(
            "unique_client",
            ca,
            key=rsa.generate_private_key(65537, 2048),
            end=NOW + 36500 * DAY,
            names=[x509.DNSName("unique_client.example.com")],
        )
        self.gate.trust.reload(replace(self.pki.settings, client_ca=self.pki.folder / "ca-old.crt"))
        self.assert_welcome(self.connect(path), "unique_client")

    def test_intermediate_sent_by_the_client(self):
        between = self.authority("부서 CA", issuer=self.pki.ca)
        certificate, key = between.issue("kim")
        path = self.pki.client("kim", certificate, key, intermediates=[between.certificate])
        self.assert_welcome(self.connect(path), "kim")

    def test_bundle_with_an_intermediate_but_not_its_root(self):
        root = self.authority("뿌리")
        between = self.authority("가지", issuer=root)
        self.pki.write("between.crt", between.certificate.public_bytes(Encoding.PEM))
        _, path = self.issued("lee", between)
        self.gate.trust.reload(replace(self.pki.settings, client_ca=self.pki.folder / "between.crt"))
        self.assert_welcome(self.connect(path), "lee")

    def test_every_ca_of_a_bundle(self):
        other = self.authority("둘째 CA")
        octets = self.pki.ca.certificate.public_bytes(Encoding.PEM) + other.certificate.public_bytes(Encoding.PEM)
        self.gate.trust.reload(replace(self.pki.settings, client_ca=self.pki.write("both.crt", octets)))
        _, path = self.issued("second", other)
        self.assert_welcome(self.connect(path), "second")

    def test_without_a_certificate(self):
        entry = self.assert_refused(self.connect(None), "it sent no certificate")
        self.assertNotIn("subject", entry)

    def test_another_ca(self):
        certificate, path = self.issued("stranger", self.authority("남의 CA"), names=[x509.DNSName("A.Example")])
        entry = self.assert_refused(self.connect(path), "not a trusted CA")
        self.assertEqual(entry["subject"], "CN=stranger")
        self.assertEqual(entry["serial"], f"{certificate.serial_number:x}")
        self.assertEqual(entry["names"], ("DNS:a.example",))

    def test_another_ca_of_the_same_name(self):
        _, path = self.issued("impostor", self.authority("회사 CA"))
        entry = self.assert_refused(self.connect(path), "the signature is not by the trusted CA of that name")
        self.assertEqual(entry["subject"], "CN=impostor")

    def test_self_signed(self):
        ca = self.authority("self")
        _, path = self.issued("self", ca)
        self.assert_refused(self.connect(path), "trusted CA")

    def test_expired(self):
        _, path = self.issued("old", begin=NOW - 2 * DAY, end=NOW - DAY)
        entry = self.assert_refused(self.connect(path), "it has expired")
        self.assertEqual(entry["subject"], "CN=old")

    def test_not_yet_valid(self):
        _, path = self.issued("young", begin=NOW + DAY, end=NOW + 2 * DAY)
        self.assert_refused(self.connect(path), "it is not yet valid")

    def test_without_extended_key_usage(self):
        _, path = self.issued("plain", usages=())
        entry = self.assert_refused(self.connect(path), "no extendedKeyUsage")
        self.assertEqual(entry["subject"], "CN=plain")

    def test_for_servers_only(self):
        _, path = self.issued("server", usages=[ExtendedKeyUsageOID.SERVER_AUTH])
        self.assert_refused(self.connect(path), "not for a client")

    def test_for_anything_is_not_for_a_client(self):
        _, path = self.issued("any", usages=[ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
        self.assert_refused(self.connect(path), "not for a client")

    def test_client_beside_other_usages(self):
        usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        _, path = self.issued("both", usages=usages)
        self.assert_welcome(self.connect(path), "both")

    def test_name_with_a_control_character(self):
        _, path = self.issued("kim\r\nBcc: lee", key=ec.generate_private_key(ec.SECP256R1()))
        self.assert_refused(self.connect(path), "control character")


class TLS12Tests(Matrix, SynchronousTestCase):
    version = ssl.TLSVersion.TLSv1_2


class TLS13Tests(Matrix, SynchronousTestCase):
    version = ssl.TLSVersion.TLSv1_3

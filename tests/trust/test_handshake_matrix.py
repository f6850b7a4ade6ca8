"""Who gets through the handshake, under both versions of TLS, and what the journal says of those who don't."""

import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness.pki import DAY, NOW
from twisted.trial.unittest import SynchronousTestCase

from mailgate.trust.certificate import key_identifier


class Matrix:
    version: ssl.TLSVersion

    @pytest.fixture(autouse=True)
    def _fixtures(self, pki, authority, make_gate, with_sha1):
        self.pki = pki
        self.with_sha1 = with_sha1
        self.authority = authority
        self.gate = make_gate()

    def issued(self, name, ca=None, **options):
        certificate, key = (ca or self.pki.ca).issue(name, **options)
        return certificate, self.pki.client(name, certificate, key)

    def connect(self, path, **options):
        return self.gate.connect(path, version=self.version, **options).handshake()

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
        self.gate.reload(replace(self.pki.settings, client_ca=self.pki.folder / "ca-old.crt"))
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
        self.gate.reload(replace(self.pki.settings, client_ca=self.pki.folder / "between.crt"))
        self.assert_welcome(self.connect(path), "lee")

    def test_every_ca_of_a_bundle(self):
        other = self.authority("둘째 CA")
        octets = self.pki.ca.certificate.public_bytes(Encoding.PEM) + other.certificate.public_bytes(Encoding.PEM)
        self.gate.reload(replace(self.pki.settings, client_ca=self.pki.write("both.crt", octets)))
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
        _, path = self.issued("stranger", self.authority("회사 CA"))
        self.assert_refused(self.connect(path), "its issuer is not a trusted CA")

    def test_another_ca_of_the_same_name_that_claims_to_have_its_key(self):
        _, path = self.issued("impostor", self.authority("회사 CA"), claimed_key=self.pki.ca.key)
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

    def revoking(self, *lists, cas=(), **changes):
        """Load a generation with the CRLs, and the CAs beside the company's."""
        every = (self.pki.ca, *cas)
        octets = b"".join(ca.certificate.public_bytes(Encoding.PEM) for ca in every)
        settings = replace(
            self.pki.settings,
            client_ca=self.pki.write("cas.crt", octets),
            client_crl=self.pki.write("ca.crl", b"".join(each.public_bytes(Encoding.PEM) for each in lists)),
            **changes,
        )
        self.gate.reload(settings)

    def test_revoked(self):
        certificate, path = self.issued("stolen")
        _, other = self.issued("kim")
        self.revoking(self.pki.ca.revoke(certificate))
        client = self.connect(path)
        entry = self.assert_refused(client, "its certificate was not accepted: it is revoked")
        self.assertIn("CERTIFICATE_REVOKED", client.alert.reason)
        self.assertEqual((entry["subject"], entry["issuer"]), ("CN=stolen", "CN=회사 CA"))
        self.assertEqual(self.connect(other).received, b"hello kim\n")

    def test_issued_by_a_revoked_intermediate(self):
        between = self.authority("부서 CA", issuer=self.pki.ca)
        certificate, key = between.issue("kim")
        path = self.pki.client("kim", certificate, key, intermediates=[between.certificate])
        lists = (self.pki.ca.revoke(between.certificate), between.revoke())
        self.revoking(*lists, cas=[between])
        self.assert_refused(self.connect(path), "a CA certificate in its chain was not accepted: it is revoked")
        bare = self.pki.client("bare", certificate, key)
        self.assertEqual(self.connect(bare).received, b"")

    def test_an_intermediate_that_only_the_client_knows_has_no_list(self):
        between = self.authority("부서 CA", issuer=self.pki.ca)
        certificate, key = between.issue("kim")
        path = self.pki.client("kim", certificate, key, intermediates=[between.certificate])
        self.revoking(self.pki.ca.revoke())
        self.assert_refused(self.connect(path), "there is no CRL of its CA")

    def test_an_intermediate_without_its_root_is_trusted_as_it_is(self):
        root = self.authority("뿌리")
        between = self.authority("가지", issuer=root)
        _, path = self.issued("lee", between)
        self.revoking(self.pki.ca.revoke(), between.revoke(), cas=[between])
        self.assert_welcome(self.connect(path), "lee")

    def test_a_list_that_has_expired(self):
        _, path = self.issued("kim")
        self.revoking(self.pki.ca.revoke(begin=NOW - 2 * DAY, end=NOW - DAY))
        self.assert_refused(self.connect(path), "the CRL of its CA expired on ")

    def test_a_list_that_has_expired_and_is_used_all_the_same(self):
        _, path = self.issued("kim")
        self.revoking(self.pki.ca.revoke(begin=NOW - 2 * DAY, end=NOW - DAY), expired_crl="use")
        self.assert_welcome(self.connect(path), "kim")

    def test_revoked_by_a_list_that_has_expired(self):
        certificate, path = self.issued("stolen")
        self.revoking(self.pki.ca.revoke(certificate, begin=NOW - 2 * DAY, end=NOW - DAY), expired_crl="use")
        self.assert_refused(self.connect(path), "it is revoked")

    def test_the_old_and_the_new_ca_of_one_name_side_by_side(self):
        new = self.authority("회사 CA")
        stolen, path = self.issued("stolen", new)
        _, kim = self.issued("kim", new)
        _, lee = self.issued("lee")
        self.revoking(self.pki.ca.revoke(), new.revoke(stolen), cas=[new])
        self.assert_refused(self.connect(path), "it is revoked")
        self.assertEqual(self.connect(kim).received, b"hello kim\n")
        self.assertEqual(self.connect(lee).received, b"hello lee\n")

    def three_tiers(self, *, revoked=(), **options):
        """Load a root, two CAs below it, and their lists, and return the last one."""
        first = self.authority("1단 CA", issuer=self.pki.ca)
        second = self.authority("2단 CA", issuer=first, **options)
        lists = [
            self.pki.ca.revoke(*(each.certificate for each in (first,) if "first" in revoked)),
            first.revoke(),
        ]
        self.revoking(*lists, second.revoke(), cas=[first, second])
        return second

    def test_an_intermediate_of_a_revoked_intermediate(self):
        second = self.three_tiers(revoked={"first"})
        _, path = self.issued("kim", second)
        self.assert_refused(self.connect(path), "a CA certificate in its chain was not accepted: it is revoked")

    def test_an_intermediate_of_an_intermediate(self):
        _, path = self.issued("kim", self.three_tiers())
        client = self.connect(path)
        self.assert_welcome(client, "kim")
        issuers = self.gate.trust.complete(client.server.peer).issuers
        self.assertEqual(len(issuers), 3)
        self.assertEqual(issuers[-1].spki, key_identifier(self.pki.ca.certificate))
        second = next(ca for ca in self.gate.trust.generation.authorities.certificates if "2단" in str(ca.subject))
        alone = self.pki.write("alone.crt", second.public_bytes(Encoding.PEM))
        self.gate.reload(replace(self.pki.settings, client_ca=alone))
        self.assertEqual(len(self.gate.trust.complete(client.server.peer).issuers), 1)

    def test_a_live_connection_is_judged_by_what_is_above_its_ca_now(self):
        between = self.authority("부서 CA", issuer=self.pki.ca)
        alone = self.pki.write("between.crt", between.certificate.public_bytes(Encoding.PEM))
        self.gate.reload(replace(self.pki.settings, client_ca=alone))
        _, path = self.issued("kim", between)
        client = self.connect(path)
        self.assert_welcome(client, "kim")
        self.assertIsNone(self.gate.trust.object_to(client.server.peer))
        self.revoking(self.pki.ca.revoke(between.certificate), between.revoke(), cas=[between])
        self.assertTrue(self.gate.trust.object_to(client.server.peer).revoked)

    def test_a_ca_that_rolled_over_by_a_certificate_of_the_old_key_for_the_new_one(self):
        old = self.pki.ca
        new = self.authority("회사 CA", issuer=old)
        _, path = self.issued("kim", new)
        self.revoking(old.revoke(new.certificate), new.revoke(), cas=[new])
        self.assert_refused(self.connect(path), "it is revoked")

    def test_an_expired_root_beside_its_intermediate_needs_no_list(self):
        root = self.authority("옛 뿌리", begin=NOW - 9 * DAY, end=NOW - DAY)
        between = self.authority("가지", issuer=root)
        _, path = self.issued("lee", between)
        self.revoking(self.pki.ca.revoke(), between.revoke(), cas=[root, between])
        self.assert_welcome(self.connect(path), "lee")

    def test_what_the_last_list_of_an_expired_root_revoked_stays_revoked(self):
        root = self.authority("옛 뿌리", begin=NOW - 9 * DAY, end=NOW - DAY)
        between = self.authority("가지", issuer=root)
        _, path = self.issued("lee", between)
        last = root.revoke(between.certificate, begin=NOW - 3 * DAY, end=NOW - 2 * DAY)
        self.revoking(self.pki.ca.revoke(), last, between.revoke(), cas=[root, between])
        self.assert_refused(self.connect(path), "it is revoked")

    def test_the_same_serial_number_of_another_ca_of_the_name_is_not_revoked(self):
        new = self.authority("회사 CA")
        certificate, path = self.issued("kim")
        for cas in ([new], []):
            lists = (self.pki.ca.revoke(), new.revoke(certificate.serial_number))
            self.revoking(*(lists if cas else lists[:1]), cas=cas)
            self.assertEqual(self.connect(path).received, b"hello kim\n")

    def test_a_short_key(self):
        _, path = self.issued("weak", key=rsa.generate_private_key(65537, 1024))
        self.assert_refused(self.connect(path, trusting_weak=True), "too short")

    def test_a_digest_that_is_broken(self):
        ca = self.authority("회사 CA", key=rsa.generate_private_key(65537, 2048))
        self.gate.reload(
            replace(
                self.pki.settings,
                client_ca=self.pki.write("rsa.crt", ca.certificate.public_bytes(Encoding.PEM)),
            )
        )
        certificate, key = ca.issue("weak")
        octets = self.with_sha1(certificate, ca.key)
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path = self.pki.write("weak.pem", ssl.DER_cert_to_PEM_cert(octets).encode() + private)
        self.assert_refused(self.connect(path, trusting_weak=True), "too weak")

    def test_a_thousand_names(self):
        names = [x509.DNSName(f"cam-{number}.example.com") for number in range(1000)]
        _, path = self.issued("many", names=names)
        self.assert_welcome(self.connect(path), "many")

    def test_a_chain_without_its_intermediate(self):
        between = self.authority("부서 CA", issuer=self.pki.ca)
        _, path = self.issued("lone", between)
        self.assert_refused(self.connect(path), "not a trusted CA")


class TLS12Tests(Matrix, SynchronousTestCase):
    version = ssl.TLSVersion.TLSv1_2


class TLS13Tests(Matrix, SynchronousTestCase):
    version = ssl.TLSVersion.TLSv1_3

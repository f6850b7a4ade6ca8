"""What ends is told in time, and not too often."""

from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness.pki import DAY, NOW
from twisted.trial.unittest import SynchronousTestCase

from mailgate.model.identity import ClientIdentity
from mailgate.trust.certificate import peer_certificate

HOUR = 3600


class ExpiryTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, own_pki, authority, make_gate):
        self.pki = own_pki
        self.authority = authority
        self.gate = make_gate(own_pki)

    def setUp(self):
        self.gate.trust.expiry.start()
        self.addCleanup(self.gate.trust.close)

    def pass_days(self, days):
        for _ in range(int(days * 24)):
            self.gate.clock.advance(HOUR)

    def told(self, what, event="trust.expiring"):
        return [entry for entry in self.gate.journal.of(event) if entry["what"] == what]

    def serve(self, end):
        names = [x509.DNSName("gate.example.com")]
        certificate, key = self.pki.ca.issue(
            "server", usages=[ExtendedKeyUsageOID.SERVER_AUTH], names=names, end=end
        )
        self.pki.write("server.crt", certificate.public_bytes(Encoding.PEM))
        self.pki.write("server.key", key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        self.gate.reload(self.pki.settings)

    def test_the_gateways_own_certificate_thirty_seven_and_one_day_before_and_when_it_is_over(self):
        self.serve(NOW + 40 * DAY)
        self.pass_days(9.9)
        self.assertEqual(self.told("server certificate")[1:], [])
        self.pass_days(31)
        entries = self.told("server certificate")[-3:]
        self.assertEqual([entry["days"] for entry in entries], [30, 7, 1])
        self.assertEqual(entries[0]["ends"], (NOW + 40 * DAY).isoformat())
        [over] = self.told("server certificate", "trust.expired")
        self.assertEqual((over["subject"], over["days"]), ("CN=server", 0))

    def test_one_that_was_renewed_is_told_of_no_more(self):
        self.serve(NOW + 5 * DAY)
        before = len(self.told("server certificate"))
        self.serve(NOW + 300 * DAY)
        self.pass_days(10)
        self.assertEqual(len(self.told("server certificate")), before)

    def test_a_ca(self):
        over = self.authority("옛 CA", begin=NOW - 9 * DAY, end=NOW - DAY)
        soon = self.authority("곧 끝나는 CA", end=NOW + 6 * DAY)
        every = (self.pki.ca, over, soon)
        octets = b"".join(ca.certificate.public_bytes(Encoding.PEM) for ca in every)
        self.gate.reload(replace(self.pki.settings, client_ca=self.pki.write("cas.crt", octets)))
        self.assertEqual([entry["subject"] for entry in self.told("client CA")], ["CN=곧 끝나는 CA"])
        self.assertEqual([entry["subject"] for entry in self.told("client CA", "trust.expired")], ["CN=옛 CA"])

    def use_list(self, **dates):
        path = self.pki.write("ca.crl", self.pki.ca.revoke(**dates).public_bytes(Encoding.PEM))
        self.gate.reload(replace(self.pki.settings, client_crl=path))

    def test_a_list_every_day_from_a_week_before_its_end(self):
        self.use_list(begin=NOW - 20 * DAY, end=NOW + 9 * DAY)
        self.pass_days(10)
        self.assertEqual([entry["days"] for entry in self.told("CRL")], [7, 6, 5, 4, 3, 2, 1])
        self.assertEqual(len(self.told("CRL", "trust.expired")), 1)

    def test_a_list_that_is_made_anew_every_few_days_only_when_it_is_late(self):
        self.use_list(begin=NOW - DAY, end=NOW + 6 * DAY)
        self.assertEqual(self.told("CRL"), [])
        self.pass_days(5.5)
        self.assertEqual([entry["days"] for entry in self.told("CRL")], [2, 2, 1])

    def test_a_client_when_it_is_seen(self):
        certificate, _ = self.pki.ca.issue("cam", end=NOW + 29 * DAY)
        identity = ClientIdentity("장치-7", "장치-7", peer_certificate(certificate))
        for _ in range(3):
            self.gate.trust.saw(identity)
        self.assertEqual(
            [(each["client"], each["days"]) for each in self.told("client certificate")], [("장치-7", 29)]
        )
        self.pass_days(22.5)
        self.gate.trust.saw(identity)
        self.assertEqual([each["days"] for each in self.told("client certificate")], [29, 7])

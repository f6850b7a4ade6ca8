"""Certificates that OpenSSL reads and our parser doesn't end the handshake like any other, without a traceback."""

import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from OpenSSL.crypto import FILETYPE_ASN1, load_certificate
from twisted.trial.unittest import SynchronousTestCase

from mailgate.trust.handshake import Handshake

P256 = bytes.fromhex("06082a8648ce3d030107")
SM2 = bytes.fromhex("06082a811ccf5501822d")
VERSION_3, VERSION_6 = b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x05"
COMMON_NAME, BIT_STRING = b"\x0c\x05name7", b"\x03\x05\0ame7"

ODD = {
    "a version that doesn't exist": (VERSION_3, VERSION_6),
    "a key of a curve that the parser doesn't know": (P256, SM2),
    "a name that is a bit string": (COMMON_NAME, BIT_STRING),
}


@pytest.mark.parametrize("title", ODD)
@pytest.mark.parametrize("accepted", [True, False])
def test_an_unreadable_certificate_is_refused_with_a_reason(pki, make_gate, title, accepted):
    octets = pki.ca.issue("name7")[0].public_bytes(Encoding.DER)
    handshake = Handshake([b"http/1.1"], make_gate().trust)
    odd = load_certificate(FILETYPE_ASN1, octets.replace(*ODD[title], 1))
    assert handshake.judge(odd, 0 if accepted else 18, 0, accepted=accepted) is False
    assert handshake.peer is None
    assert ("can't be read" if accepted else "self-signed") in handshake.refused.reason


class StrangerTests(SynchronousTestCase):
    @pytest.fixture(autouse=True)
    def _fixtures(self, pki, make_gate):
        self.pki = pki
        self.gate = make_gate()

    def test_the_journal_says_why_and_nothing_is_raised(self):
        certificate, key = self.pki.ca.issue("stranger")
        octets = certificate.public_bytes(Encoding.DER).replace(VERSION_3, VERSION_6, 1)
        path = self.pki.write(
            "odd.pem",
            ssl.DER_cert_to_PEM_cert(octets).encode()
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        )
        with pytest.raises(x509.InvalidVersion):
            x509.load_der_x509_certificate(octets)
        client = self.gate.connect(path).handshake()
        self.assertTrue(client.wire.gone)
        self.assertEqual(self.gate.factory.connections, ())
        (entry,) = self.gate.journal.of("handshake.refused")
        self.assertIn("not accepted", entry["reason"])

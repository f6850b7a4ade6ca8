"""An examination says of a certificate what the handshake would say."""

import ssl
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID
from harness.pki import DAY, NOW

from mailgate.trust.examine import examine


class Court:
    """A gate with two CAs, one of them an intermediate, that have revoked something."""

    def __init__(self, pki, authority, make_gate, with_sha1):
        self.pki, self.authority, self.with_sha1 = pki, authority, with_sha1
        self.gate = make_gate(pki)
        self.old = authority("옛 CA", key=rsa.generate_private_key(65537, 2048))
        self.between = authority("부서 CA", issuer=pki.ca)
        self.closed = authority("닫힌 부서 CA", issuer=pki.ca)
        self.stolen = pki.ca.issue("stolen")
        lists = (
            pki.ca.revoke(self.stolen[0], self.closed.certificate),
            self.between.revoke(),
            self.closed.revoke(),
            self.old.revoke(),
        )
        cas = (pki.ca, self.between, self.closed, self.old)
        settings = replace(
            pki.settings,
            client_ca=pki.write("cas.crt", b"".join(ca.certificate.public_bytes(Encoding.PEM) for ca in cas)),
            client_crl=pki.write("cas.crl", b"".join(each.public_bytes(Encoding.PEM) for each in lists)),
        )
        self.gate.reload(settings)

    def weakly_signed(self):
        certificate, key = self.old.issue("weak")
        return x509.load_der_x509_certificate(self.with_sha1(certificate, self.old.key)), key


CASES = {
    "a good one": lambda court: court.pki.ca.issue("kim"),
    "of an intermediate": lambda court: court.between.issue("kim"),
    "of another CA": lambda court: court.authority("남의 CA").issue("kim"),
    "of a CA of the same name": lambda court: court.authority("회사 CA").issue("kim"),
    "self-signed": lambda court: court.authority("kim").issue("kim"),
    "expired": lambda court: court.pki.ca.issue("kim", begin=NOW - 2 * DAY, end=NOW - DAY),
    "not yet valid": lambda court: court.pki.ca.issue("kim", begin=NOW + DAY, end=NOW + 2 * DAY),
    "revoked": lambda court: court.stolen,
    "of a revoked intermediate": lambda court: court.closed.issue("kim"),
    "for servers": lambda court: court.pki.ca.issue("kim", usages=[ExtendedKeyUsageOID.SERVER_AUTH]),
    "for nothing": lambda court: court.pki.ca.issue("kim", usages=()),
    "with a short key": lambda court: court.pki.ca.issue("kim", key=rsa.generate_private_key(65537, 1024)),
    "signed weakly": lambda court: court.weakly_signed(),
    "with a NUL in its name": lambda court: court.pki.ca.issue("kim\0"),
    "for a hundred years": lambda court: court.pki.ca.issue("kim", end=NOW + 36500 * DAY),
}
WELCOME = {"a good one", "of an intermediate", "for a hundred years"}


@pytest.fixture
def court(own_pki, authority, make_gate, with_sha1):
    return Court(own_pki, authority, make_gate, with_sha1)


@pytest.mark.parametrize("title", CASES)
def test_it_agrees_with_the_handshake(court, title):
    certificate, key = CASES[title](court)
    examination = examine(certificate, (), court.gate.trust.generation.authorities, NOW)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    octets = certificate.public_bytes(Encoding.DER)
    path = court.pki.write("peer.pem", ssl.DER_cert_to_PEM_cert(octets).encode() + private)
    client = court.gate.connect(path, trusting_weak=True).handshake()
    assert (client.received != b"") == (title in WELCOME)
    assert (examination.peer is not None) == (title in WELCOME)
    assert all(finding.good for finding in examination.findings) == (title in WELCOME)


def test_what_it_says_of_a_good_one(court):
    certificate, _ = court.between.issue("kim", end=NOW + 30 * DAY)
    found = {
        each.about: each.words
        for each in examine(certificate, (), court.gate.trust.generation.authorities, NOW).findings
    }
    assert found["dates"].endswith("UTC: 30 days left")
    assert found["chain"] == "CN=kim ← CN=부서 CA ← CN=회사 CA"
    assert found["revocation"].startswith("not in the CRL of CN=부서 CA of ")
    assert "CN=회사 CA" in found["revocation"]


def test_an_intermediate_that_the_client_sends(own_pki, authority, make_gate):
    gate = make_gate(own_pki)
    between = authority("부서 CA", issuer=own_pki.ca)
    certificate, _ = between.issue("kim")
    assert examine(certificate, (), gate.trust.generation.authorities, NOW).peer is None
    assert (
        examine(certificate, [between.certificate], gate.trust.generation.authorities, NOW).peer.common_name
        == "kim"
    )


def test_as_of_another_day_the_issuers_are_those_of_that_day_and_the_lists_of_today(own_pki, authority, make_gate):
    gate = make_gate(own_pki)
    short = authority("짧은 CA", end=NOW + 5 * DAY)
    lists = short.revoke(end=NOW + 2 * DAY).public_bytes(Encoding.PEM)
    settings = replace(
        own_pki.settings,
        client_ca=own_pki.write("short.crt", short.certificate.public_bytes(Encoding.PEM)),
        client_crl=own_pki.write("short.crl", lists),
    )
    gate.reload(settings)
    certificate, _ = short.issue("kim", begin=NOW + DAY, end=NOW + 300 * DAY)

    def found(day):
        every = examine(certificate, (), gate.trust.generation.authorities, NOW + day * DAY, NOW).findings
        return {finding.about: finding.good for finding in every if not finding.good}

    assert found(3) == {}
    assert found(6) == {"chain": False}
    assert found(0) == {"dates": False}
    assert found(301) == {"dates": False, "chain": False}

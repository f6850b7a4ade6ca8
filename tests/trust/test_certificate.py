"""What a certificate is read as, and which ones name nobody."""

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.trust.certificate import UnusableCertificateError, peer_certificate

CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])


def issue(names, *extensions):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "회사"), *names])
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(0xABC123)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2126, 1, 1, tzinfo=UTC))
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(key, hashes.SHA256())


def common_name(text):
    return x509.NameAttribute(NameOID.COMMON_NAME, text)


def test_everything_it_says():
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("Cam.Example"),
            x509.UniformResourceIdentifier("spiffe://회사.kr/Cam".encode("idna").decode()),
            x509.RFC822Name("cam@x.kr"),
        ]
    )
    certificate = issue([common_name("장치 7")], CLIENT, names)
    peer = peer_certificate(certificate)
    assert peer.subject == "CN=장치 7,O=회사"
    assert peer.common_name == "장치 7"
    assert peer.dns == ("cam.example",)
    assert len(peer.uris) == 1
    assert peer.serial == "abc123"
    assert peer.fingerprint == certificate.fingerprint(hashes.SHA256()).hex()
    digest = hashes.Hash(hashes.SHA256())
    digest.update(certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
    assert peer.spki == digest.finalize().hex()
    assert (peer.not_before.year, peer.not_after.year, peer.not_after.tzinfo) == (2026, 2126, UTC)


def test_without_names():
    peer = peer_certificate(issue([], CLIENT))
    assert (peer.common_name, peer.dns, peer.uris) == (None, (), ())


def test_two_common_names_are_none():
    assert peer_certificate(issue([common_name("kim"), common_name("lee")], CLIENT)).common_name is None


@pytest.mark.parametrize(
    ("names", "extensions", "words"),
    [
        ([common_name("kim")], [], "no extendedKeyUsage"),
        (
            [common_name("kim")],
            [x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])],
            "lacks clientAuth",
        ),
        ([common_name("kim\nlee")], [CLIENT], "control character"),
        ([common_name("kim")], [CLIENT, x509.SubjectAlternativeName([x509.DNSName("a\r\nb")])], "control"),
        (
            [common_name("kim")],
            [x509.UnrecognizedExtension(x509.ExtendedKeyUsage.oid, b"\x30\x80")],
            "extensions can't be read",
        ),
        (
            [common_name("kim")],
            [CLIENT, x509.UnrecognizedExtension(x509.SubjectAlternativeName.oid, b"\x30\x80")],
            "can't be read",
        ),
    ],
)
def test_unusable(names, extensions, words):
    with pytest.raises(UnusableCertificateError, match=words):
        peer_certificate(issue(names, *extensions))

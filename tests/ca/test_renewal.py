"""A certificate that follows another: the same client, whatever the key."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType
from mailgate.ca.renewal import RenewalRefusedError, renewed
from mailgate.ca.request import issued_for, request_like
from mailgate.ca.stored import private_key

NAMES = (x509.DNSName("cam.example.com"), x509.UniformResourceIdentifier("spiffe://x.kr/cam"))


class House:
    def __init__(self, folder):
        self.authority = CertificateAuthority(folder)
        self.authority.create("우리 CA", KeyType.EC, 300, force=False)
        request = ClientRequest("cam", ("cam.example.com",), ("spiffe://x.kr/cam",))
        [self.issued] = self.authority.issue_clients([request], KeyType.EC, 30, force=False)

    def renew(self, request, days=90):
        current = self.issued.certificate.public_bytes(Encoding.DER)
        with self.authority.issuing() as issuer:
            return renewed(issuer, request, current, self.authority.now(), days)

    def refused(self, request):
        with pytest.raises(RenewalRefusedError) as caught:
            self.renew(request)
        return str(caught.value)


@pytest.fixture(scope="module")
def house(tmp_path_factory):
    return House(tmp_path_factory.mktemp("ca") / "certs")


def request(key=None, name="cam", names=NAMES):
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    edwards = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return builder.sign(key, None if edwards else hashes.SHA256()).public_bytes(Encoding.DER)


def test_the_names_stay_and_dates_and_serial_number_are_new(house):
    before = house.issued.certificate
    after = house.renew(request_like(before, private_key(house.issued.key_file)))
    san = x509.SubjectAlternativeName
    assert after.subject == before.subject
    assert after.extensions.get_extension_for_class(san) == before.extensions.get_extension_for_class(san)
    assert after.public_key() == before.public_key()
    assert after.serial_number != before.serial_number
    assert (after.not_valid_after_utc - house.authority.now()) // datetime.timedelta(days=1) in {89, 90}
    usage = after.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate,
    ],
)
def test_another_key_will_do(house, make):
    key = make()
    after = house.renew(request(key))
    assert after.public_key() == key.public_key()


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 1024),
        lambda: ec.generate_private_key(ec.SECP224R1()),
        ed448.Ed448PrivateKey.generate,
    ],
)
def test_a_key_that_tls_does_not_take(house, make):
    assert "the request's key must be" in house.refused(request(make()))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "other"}, "the request's subject must be that of the certificate: CN=cam"),
        ({"names": ()}, "the request's subjectAltName must have the names"),
        ({"names": NAMES[:1]}, "all and no other"),
        ({"names": (*NAMES, x509.DNSName("ceo.example.com"))}, "all and no other"),
    ],
)
def test_another_identity_is_nobodys(house, changes, words):
    assert words in house.refused(request(**changes))


def test_names_that_are_repeated_are_issued_once(house):
    san = x509.SubjectAlternativeName
    after = house.renew(request(names=NAMES * 1000))
    kept = house.issued.certificate.extensions.get_extension_for_class(san)
    assert after.extensions.get_extension_for_class(san) == kept


def test_the_order_of_names_is_no_identity(house):
    assert house.renew(request(names=NAMES[::-1])).subject == house.issued.certificate.subject


def test_a_request_that_is_none(house):
    good = request()
    for octets in (b"", b"noise", good[:-5]):
        assert "no certificate request" in house.refused(octets)
    assert "isn't signed with its own key" in house.refused(good[:-3] + bytes([good[-3] ^ 1]) + good[-2:])


def test_no_longer_than_the_ca(house):
    with house.authority.issuing() as issuer:
        end = issuer.certificate.not_valid_after_utc
    assert house.renew(request(), days=3650).not_valid_after_utc == end


def test_an_intermediate_signs_and_the_root_can_revoke_it(house, tmp_path, openssl):
    below = CertificateAuthority(tmp_path / "below")
    below.create_below(house.authority, "발급 CA", KeyType.EC, 100, force=False)
    [issued] = below.issue_clients([ClientRequest("lee")], KeyType.EC, 30, force=False)
    root = house.authority.certificate_file
    chain = ("-CAfile", root, "-untrusted", below.certificate_file)
    assert openssl("verify", "-purpose", "sslclient", *chain, issued.certificate_file).endswith(": OK\n")
    # The file has the certificate in between, so that whoever knows the root alone can verify it.
    assert issued.certificate_file.read_text().count("BEGIN CERTIFICATE") == 2
    assert [each for each in house.authority.issued() if "발급" in each.subject.rfc4514_string()]
    assert (tmp_path / "below/chain.crt").read_text().count("BEGIN CERTIFICATE") == 2


def test_what_came_back_is_for_our_key_and_name(house):
    key = ec.generate_private_key(ec.SECP256R1())
    after = house.renew(request(key))
    packed = pkcs7.serialize_certificates([after, house.issued.certificate], Encoding.DER)
    assert issued_for(key, house.issued.certificate, packed) == after
    server = house.authority.issue_server(["cam"], [], "cam-server", KeyType.EC, 30, force=True)
    other = private_key(server.key_file)
    with pytest.raises(CertificateAuthorityError, match="holds no certificate for our key and name"):
        issued_for(
            other, house.issued.certificate, pkcs7.serialize_certificates([server.certificate], Encoding.DER)
        )
    stranger = ec.generate_private_key(ec.SECP256R1())
    for octets in (b"noise", packed):
        with pytest.raises(CertificateAuthorityError, match="The gateway's answer holds no certificate"):
            issued_for(stranger, house.issued.certificate, octets)

"""CRLs are read, checked, and told of, before anyone meets them."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding
from harness.pki import DAY, NOW

from mailgate.trust.certificate import key_identifier
from mailgate.trust.revocation import check_not_older, read_revocation_lists
from mailgate.trust.settings import TrustError


@pytest.fixture(scope="session")
def company(authority):
    return authority("회사 CA")


@pytest.fixture
def read(tmp_path):
    """Reads CRLs, or octets, as the file of the given CAs."""

    def read(*lists, cas):
        octets = b"".join(each if isinstance(each, bytes) else each.public_bytes(Encoding.PEM) for each in lists)
        return read_revocation_lists(tmp_path / "ca.crl", octets, [ca.certificate for ca in cas], NOW)

    return read


@pytest.fixture
def fault(read):
    def fault(*lists, cas):
        with pytest.raises(TrustError) as caught:
            read(*lists, cas=cas)
        assert "ca.crl" in str(caught.value)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    return fault


def test_serials_and_dates(read, company):
    [(key, found)] = read(company.revoke(255, 4096), cas=[company]).items()
    assert key == key_identifier(company.certificate)
    assert (found.subject, found.serials) == ("CN=회사 CA", {"ff", "1000"})
    assert (found.this_update, found.next_update) == (NOW - DAY, NOW + 30 * DAY)
    assert not found.expired(found.next_update - timedelta(seconds=1))
    assert found.expired(found.next_update)


def test_der_and_text_around_pem(read, company):
    crl = company.revoke(7)
    for octets in (
        crl.public_bytes(Encoding.DER),
        b"Certificate Revocation List (CRL):\n" + crl.public_bytes(Encoding.PEM) + b"\n",
    ):
        [found] = read(octets, cas=[company]).values()
        assert found.serials == {"7"}


def test_the_newest_list_of_each_ca_counts(read, authority, company):
    other = authority("둘째 CA")
    older, newer = company.revoke(1, begin=NOW - 2 * DAY), company.revoke(1, 2)
    for lists in ((older, newer, other.revoke()), (other.revoke(), newer, older)):
        found = read(*lists, cas=[company, other])
        assert found[key_identifier(company.certificate)].serials == {"1", "2"}
        assert found[key_identifier(other.certificate)].serials == frozenset()


def test_a_ca_that_was_renewed_under_its_key_is_the_same_ca(read, authority, company):
    renewed = authority("회사 CA", key=company.key)
    assert len(read(company.revoke(), cas=[company, renewed])) == 1


def test_an_expired_list_is_taken_for_others_to_judge(read, company):
    assert read(company.revoke(begin=NOW - 2 * DAY, end=NOW - DAY), cas=[company])


@pytest.mark.parametrize("octets", [b"", "암호가 아닌 것".encode(), b"-----BEGIN X509 CRL-----\n"])
def test_what_is_no_list(fault, company, octets):
    assert "holds no CRL in PEM or DER form" in fault(octets, cas=[company])


@pytest.mark.parametrize("octets", [b"0\x03abc", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_what_can_not_be_read(fault, company, octets):
    assert "can't be read" in fault(octets, cas=[company])


def test_a_list_of_somebody_else_is_passed_over_and_is_no_list_of_ours(read, fault, authority, company):
    strange = authority("남의 CA").revoke(7)
    [found] = read(strange, company.revoke(), cas=[company]).values()
    assert found.serials == frozenset()
    assert "no CRL of CN=회사 CA" in fault(strange, cas=[company])


def test_a_file_that_is_cut_off_within_its_second_list(fault, authority, company):
    octets = company.revoke().public_bytes(Encoding.PEM) + authority("둘째 CA").revoke().public_bytes(Encoding.PEM)
    assert "is cut off within a CRL" in fault(octets[:-50], cas=[company])


def test_a_list_that_another_ca_of_the_name_has_signed(fault, authority, company):
    impostor = authority("회사 CA")
    assert "whose signature is not by that CA" in fault(impostor.revoke(), cas=[company])


def test_a_ca_without_a_list(fault, authority, company):
    assert "no CRL of CN=둘째 CA" in fault(company.revoke(), cas=[company, authority("둘째 CA")])


def test_a_ca_that_is_over_needs_none(read, authority, company):
    over = authority("옛 CA", begin=NOW - 9 * DAY, end=NOW - DAY)
    assert len(read(company.revoke(), cas=[company, over])) == 1


def test_a_list_from_the_future(fault, company):
    assert "from the future" in fault(company.revoke(begin=NOW + DAY), cas=[company])


def test_a_weak_digest(fault, authority, with_sha1):
    old = authority("옛 CA", key=rsa.generate_private_key(65537, 2048))
    assert "sha1, which is too weak" in fault(with_sha1(old.revoke(), old.key), cas=[old])


def test_a_ca_that_may_not_sign_lists(fault, authority):
    strict = authority("엄격한 CA", crl_sign=False)
    assert "lacks cRLSign" in fault(strict.revoke(), cas=[strict])


def test_a_ca_without_key_usage_may(read, authority):
    old = authority("MyCustomCA", key_usage=False)
    assert len(read(old.revoke(), cas=[old])) == 1


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.IssuingDistributionPoint(
            full_name=None,
            relative_name=None,
            only_contains_user_certs=True,
            only_contains_ca_certs=False,
            only_some_reasons=None,
            indirect_crl=False,
            only_contains_attribute_certs=False,
        ),
    ],
)
def test_a_list_of_a_part_only(fault, company, extension):
    for critical in (True, False):
        assert "not a complete one" in fault(company.revoke(extensions=[(extension, critical)]), cas=[company])


def test_an_extension_that_nobody_here_knows_and_one_must(fault, company):
    unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00")
    assert "it has the extension 1.2.3.4" in fault(company.revoke(extensions=[(unknown, True)]), cas=[company])


def test_a_signature_algorithm_that_nobody_knows(fault, company):
    octets = company.revoke().public_bytes(Encoding.DER)
    ecdsa = bytes.fromhex("06082a8648ce3d040302")
    assert "can't be read" in fault(octets.replace(ecdsa, ecdsa[:-1] + b"\x09"), cas=[company])


def test_two_cas_of_one_key_share_what_either_says(read, authority, company):
    namesake = authority("다른 이름", key=company.key)
    older, newer = company.revoke(7, begin=NOW - 2 * DAY, end=NOW + DAY), namesake.revoke()
    [found] = read(older, newer, cas=[company, namesake]).values()
    assert found.serials == {"7"}
    assert found.next_update == NOW + DAY


def test_each_of_two_cas_of_one_key_needs_its_own_list_and_none_may_go_back(read, fault, authority, company):
    namesake = authority("다른 이름", key=company.key)
    assert "no CRL of CN=다른 이름" in fault(company.revoke(), cas=[company, namesake])
    of_namesake = namesake.revoke(begin=NOW - 9 * DAY)
    in_use = read(company.revoke(7), of_namesake, cas=[company, namesake])
    older = read(company.revoke(begin=NOW - 5 * DAY), of_namesake, cas=[company, namesake])
    with pytest.raises(TrustError, match="a CRL of CN=회사 CA that is older"):
        check_not_older(Path("ca.crl"), older, in_use)
    check_not_older(Path("ca.crl"), in_use, read(company.revoke(), cas=[company]))


class TestReload:
    @pytest.fixture
    def trust(self, own_pki, make_gate):
        gate = make_gate(own_pki)

        def load(*lists):
            octets = b"".join(each.public_bytes(Encoding.PEM) for each in lists)
            path = own_pki.write("ca.crl", octets)
            gate.reload(replace(own_pki.settings, client_crl=path))

        gate.load = load
        return gate

    def test_a_list_that_is_older_than_the_one_in_use_is_not_taken(self, trust, own_pki):
        stolen, _ = own_pki.ca.issue("stolen")
        trust.load(own_pki.ca.revoke(stolen, begin=NOW - DAY))
        with pytest.raises(TrustError, match="older than the one in use"):
            trust.load(own_pki.ca.revoke(begin=NOW - 2 * DAY))
        assert trust.trust.generation.authorities.revoked == 1
        trust.load(own_pki.ca.revoke(begin=NOW))
        assert trust.journal.of("trust.loaded")[-1]["revoked"] == 0

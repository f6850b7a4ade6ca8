"""What an authority revokes, held against openssl."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.crl import Revocation, new_list
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType
from mailgate.ca.listing import listed
from mailgate.ca.revoking import Revoking

DAY = datetime.timedelta(days=1)


class House:
    """An authority whose clock the test turns, and its list."""

    def __init__(self, folder):
        self.folder = folder
        self.time = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
        self.authority = CertificateAuthority(folder, lambda: self.time)
        self.authority.create("우리 CA", KeyType.EC, 3650, force=False)
        self.revoking = Revoking(self.authority)

    def client(self, name="cam", days=30, *, force=False):
        [issued] = self.authority.issue_clients([ClientRequest(name)], KeyType.EC, days, force=force)
        return issued.certificate

    def revoke(self, whom, reason="unspecified", days=30):
        return self.revoking.revoke(whom, reason, days)

    def state(self, name):
        return {entry.state for entry in listed(self.folder, self.time) if entry.common_name == name}


@pytest.fixture
def house(tmp_path):
    return House(tmp_path / "certs")


def test_a_name_is_every_certificate_of_it_that_is_still_valid(house):
    short, old, new = house.client(days=1), house.client(force=True), house.client(force=True)
    other = house.client("other")
    house.time += 2 * DAY
    written = house.revoke("cam")
    assert {each.serial_number for each in written.added} == {old.serial_number, new.serial_number}
    assert {entry.serial_number for entry in written.list} == {old.serial_number, new.serial_number}
    assert (house.state("cam"), house.state("other")) == ({"revoked", "expired"}, {"valid"})
    assert short.serial_number != other.serial_number


def test_a_serial_number_is_one_of_them(house):
    old, new = house.client(), house.client(force=True)
    written = house.revoke(f"00{old.serial_number:X}", "key-compromise")
    [entry] = written.list
    assert entry.serial_number == old.serial_number
    assert entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.key_compromise
    [rest] = house.revoke("cam").added
    assert rest.serial_number == new.serial_number


def test_a_list_keeps_what_was_revoked_and_counts(house):
    for number, name in enumerate(("a", "b", "c"), start=1):
        house.client(name)
        house.time += DAY
        written = house.revoke(name)
        assert len(written.list) == number
        assert written.list.last_update_utc == house.time
        assert written.list.next_update_utc == house.time + 30 * DAY


def number(written):
    return written.list.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number


def test_each_list_has_a_higher_number_than_the_one_before(house):
    first, second = (number(house.revoking.renew(30, only_if_due=False)) for _ in range(2))
    house.time += DAY
    assert first < second < number(house.revoking.renew(30, only_if_due=False))


def test_a_list_that_is_lost_loses_nobody(house):
    house.client()
    before = house.revoke("cam", "key-compromise")
    house.revoking.list_file.unlink()
    house.time += DAY
    after = house.revoking.renew(30, only_if_due=False)
    [entry], [kept] = before.list, after.list
    assert (kept.serial_number, kept.revocation_date_utc) == (entry.serial_number, entry.revocation_date_utc)
    assert list(kept.extensions) == list(entry.extensions)
    assert number(after) > number(before)
    with pytest.raises(CertificateAuthorityError, match="revoked already"):
        house.revoke("cam")
    (house.folder / "issued" / f"{kept.serial_number:x}.revoked").write_text("nonsense")
    with pytest.raises(CertificateAuthorityError, match="no note of a revocation"):
        house.revoking.renew(30, only_if_due=False)


def test_an_older_list_that_was_put_back_is_completed(house):
    house.client()
    empty = house.revoking.renew(30, only_if_due=False).file.read_bytes()
    house.revoke("cam")
    for complete in (lambda: house.revoke("cam"), lambda: house.revoking.renew(30, only_if_due=True)):
        house.revoking.list_file.write_bytes(empty)
        assert len(complete().list) == 1


def test_a_list_of_many(house):
    house.client()
    many = [Revocation(number << 128, "unspecified", house.time) for number in range(1, 25_000)]
    with house.authority.issuing() as issuer:
        large = new_list(issuer, None, many, house.time, 30).public_bytes(Encoding.PEM)
    assert len(large) > 1024 * 1024
    house.revoking.list_file.write_bytes(large)
    assert len(house.revoke("cam").list) == 25_000


def test_a_serial_number_as_other_programs_write_it(house):
    plain = f"{house.client().serial_number:x}"
    pairs = plain.zfill(len(plain) + len(plain) % 2)
    colons = ":".join(pairs[at : at + 2] for at in range(0, len(pairs), 2))
    house.revoke(f"serial={pairs.upper()}")
    for written in (colons, f"0x{plain}"):
        with pytest.raises(CertificateAuthorityError, match="revoked already"):
            house.revoke(written)


def test_openssl_agrees(house, openssl):
    house.client()
    house.client("other")
    house.revoke("cam")
    arguments = ["verify", "-crl_check", "-CAfile", house.folder / "ca.crt", "-CRLfile", house.folder / "ca.crl"]
    assert "certificate revoked" in openssl(*arguments, house.folder / "cam.crt", check=False)
    assert openssl(*arguments, house.folder / "other.crt").endswith(": OK\n")
    assert "verify OK" in openssl(
        "crl", "-in", house.folder / "ca.crl", "-noout", "-CAfile", house.folder / "ca.crt", check=False
    )


def test_a_certificate_that_openssl_issued_with_the_same_ca(openssl_directory):
    authority = CertificateAuthority(openssl_directory)
    [name] = {entry.common_name for entry in listed(openssl_directory, authority.now()) if entry.kind == "client"}
    authority.reissue(None)
    [certificate] = Revoking(authority).revoke(name, "unspecified", 30).added
    [entry] = [entry for entry in listed(openssl_directory, authority.now()) if entry.common_name == name]
    assert (entry.serial, entry.state) == (f"{certificate.serial_number:x}", "revoked")


@pytest.mark.parametrize("whom", ["nobody", "abcdef", ""])
def test_who_was_never_issued_a_certificate(house, whom):
    house.client()
    with pytest.raises(CertificateAuthorityError, match="has issued no certificate that is still valid"):
        house.revoke(whom)
    assert not house.revoking.list_file.exists()


def test_the_ca_itself_is_nobody(house):
    [ca] = [entry for entry in listed(house.folder, house.time) if entry.kind == "ca"]
    for whom in ("우리 CA", ca.serial):
        with pytest.raises(CertificateAuthorityError):
            house.revoke(whom)


def test_who_is_revoked_already(house):
    house.client()
    house.revoke("cam")
    with pytest.raises(CertificateAuthorityError, match="cam is revoked already"):
        house.revoke("cam")


def test_a_list_is_renewed_when_half_of_its_time_is_over(house):
    first = house.revoking.renew(30, only_if_due=True)
    assert len(first.list) == 0
    assert house.revoking.renew(30, only_if_due=True) is None
    house.time += 14 * DAY
    assert house.revoking.renew(30, only_if_due=True) is None
    house.time += 2 * DAY
    assert house.revoking.renew(30, only_if_due=True).list.last_update_utc == house.time
    assert house.revoking.renew(7, only_if_due=False).list.next_update_utc == house.time + 7 * DAY


def test_a_list_that_is_none_or_another_cas_is_not_replaced(house, tmp_path):
    house.revoking.list_file.write_text("noise")
    with pytest.raises(CertificateAuthorityError, match="no readable CRL"):
        house.revoking.renew(30, only_if_due=False)
    other = House(tmp_path / "other")
    other.authority.create("남의 CA", KeyType.EC, 3650, force=True)
    other.revoking.renew(30, only_if_due=False)
    house.revoking.list_file.write_bytes(other.revoking.list_file.read_bytes())
    with pytest.raises(CertificateAuthorityError, match="another CA's: CN=남의 CA"):
        house.revoking.renew(30, only_if_due=False)

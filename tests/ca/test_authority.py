"""What an authority issues, refuses and keeps, held against openssl and real handshakes."""

import datetime
import fcntl
import os
import ssl
import stat
import subprocess
import sys

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from mailgate.ca import issue
from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType

DAY = datetime.timedelta(days=1)


class Clock:
    def __init__(self):
        self.now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "certs"


@pytest.fixture
def authority(directory, clock):
    authority = CertificateAuthority(directory, clock)
    authority.create("우리 CA", KeyType.EC, 3650, force=False)
    return authority


def issue_server(authority, *names, addresses=(), file_name="server", key_type=KeyType.EC, days=397, force=False):
    return authority.issue_server(names or ("localhost",), addresses, file_name, key_type, days, force=force)


def issue_client(authority, name="unique_client", key_type=KeyType.EC, days=397, *, force=False, **request):
    [issued] = authority.issue_clients([ClientRequest(name, **request)], key_type, days, force=force)
    return issued


def extension(certificate, kind):
    return certificate.extensions.get_extension_for_class(kind)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if not path.is_dir()
    }


def test_the_ca_may_sign_leaves_crls_and_cas_that_have_none_below_them(authority, clock):
    certificate = x509.load_pem_x509_certificate(authority.certificate_file.read_bytes())

    constraints = extension(certificate, x509.BasicConstraints)
    assert constraints.critical
    assert constraints.value == x509.BasicConstraints(ca=True, path_length=1)
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    assert extension(certificate, x509.SubjectKeyIdentifier).value == x509.SubjectKeyIdentifier.from_public_key(
        certificate.public_key()
    )
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "우리 CA"
    assert certificate.not_valid_after_utc == clock.now + 3650 * DAY
    assert certificate.not_valid_before_utc == clock.now - datetime.timedelta(hours=1)


@pytest.mark.parametrize(
    ("key_type", "kind"), [(KeyType.EC, ec.EllipticCurvePrivateKey), (KeyType.RSA, rsa.RSAPrivateKey)]
)
def test_a_whole_set_of_each_key_type_passes_the_strictest_check(
    key_type, kind, directory, openssl, mutual_handshake
):
    authority = CertificateAuthority(directory)
    authority.create("CA", key_type, 36500, force=False)
    issue_server(authority, "localhost", key_type=key_type, days=36500)
    issue_client(authority, key_type=key_type, days=36500)

    for leaf, purpose in (("server", "sslserver"), ("unique_client", "sslclient")):
        openssl("verify", "-x509_strict", "-purpose", purpose, "-CAfile", "ca.crt", f"{leaf}.crt", cwd=directory)
        key = serialization.load_pem_private_key((directory / f"{leaf}.key").read_bytes(), None)
        assert isinstance(key, kind)
        certificate = x509.load_pem_x509_certificate((directory / f"{leaf}.crt").read_bytes())
        assert certificate.public_key() == key.public_key()
    assert mutual_handshake(directory, client="unique_client", strict=True)


def test_a_server_certificate_has_all_names_and_one_purpose(authority, directory, openssl, clock):
    issued = issue_server(authority, "gate.example.com", "메일.한국", "10.0.0.7", addresses=("::1", "10.0.0.7"))

    certificate = issued.certificate
    names = extension(certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["gate.example.com", "xn--h32bq4v.xn--3e0b707e"]
    assert list(map(str, names.get_values_for_type(x509.IPAddress))) == ["10.0.0.7", "::1"]
    assert list(extension(certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.SERVER_AUTH]
    usage = extension(certificate, x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_encipherment
    assert certificate.not_valid_after_utc == clock.now + 397 * DAY
    shown = openssl("x509", "-in", issued.certificate_file, "-noout", "-text")
    assert "IP Address:10.0.0.7" in shown
    assert "TLS Web Server Authentication" in shown
    assert "TLS Web Client Authentication" not in shown
    said = openssl(
        "verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "server.crt", cwd=directory, check=False
    )
    assert "certificate purpose" in said
    assert "X509v3 Authority Key Identifier" in shown


def test_a_server_with_a_long_name_goes_without_cn(authority, directory, mutual_handshake):
    long_name = ".".join(["ab" * 20] * 3)
    issued = issue_server(authority, long_name)
    issue_client(authority)

    assert not list(issued.certificate.subject)
    assert extension(issued.certificate, x509.SubjectAlternativeName).critical
    assert mutual_handshake(directory, client="unique_client", host=long_name, strict=True)


def test_a_client_certificate_carries_its_id_and_serves_no_server(authority, directory, openssl):
    issued = issue_client(authority, "장치7")

    assert issued.certificate_file == directory / "장치7.crt"
    assert issued.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "장치7"
    names = extension(issued.certificate, x509.SubjectAlternativeName).value
    assert list(names) == [x509.DNSName("xn--7-hi7fp5o")]
    assert list(extension(issued.certificate, x509.ExtendedKeyUsage).value) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    said = openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "장치7.crt", cwd=directory, check=False)
    assert "certificate purpose" in said


def test_a_client_may_carry_several_dns_names_and_uris(authority):
    issued = issue_client(
        authority, "장치 7", dns=("a.x.kr", "b.x.kr", "A.x.kr"), uris=("spiffe://x.kr/device/7",)
    )

    names = extension(issued.certificate, x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["a.x.kr", "b.x.kr"]
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == ["spiffe://x.kr/device/7"]


def test_a_client_whose_id_is_no_host_name_is_told_what_to_give(authority, directory):
    before = contents(directory)

    with pytest.raises(CertificateAuthorityError, match="give --dns NAME or --uri URI"):
        issue_client(authority, "장치 7")

    assert contents(directory) == before


def test_several_clients_are_issued_all_or_none(authority, directory):
    issue_client(authority, "나")
    before = contents(directory)

    for last in ("나", "../다", "ca", "가"):
        with pytest.raises(CertificateAuthorityError):
            authority.issue_clients([ClientRequest("가"), ClientRequest(last)], KeyType.EC, 397, force=False)

    assert contents(directory) == before
    both = authority.issue_clients([ClientRequest("가"), ClientRequest("다")], KeyType.EC, 397, force=False)
    assert [issued.key_file.name for issued in both] == ["가.key", "다.key"]


def test_serial_numbers_are_random_and_every_certificate_is_kept(authority, directory):
    issued = [
        issue_client(authority),
        issue_client(authority, force=True),
        issue_server(authority),
        issue_server(authority, force=True),
    ]

    serials = [each.certificate.serial_number for each in issued]
    assert len(set(serials)) == 4
    assert min(serials).bit_length() > 100
    kept = {
        path.name: x509.load_pem_x509_certificate(path.read_bytes()) for path in (directory / "issued").iterdir()
    }
    assert kept == {f"{each.certificate.serial_number:x}.crt": each.certificate for each in issued}


def test_a_foreign_certificate_that_is_replaced_is_kept(openssl_directory):
    old = x509.load_pem_x509_certificate((openssl_directory / "client.crt").read_bytes())
    authority = CertificateAuthority(openssl_directory)

    issue_client(authority, "client", force=True)

    kept = openssl_directory / "issued" / f"{old.serial_number:x}.crt"
    assert x509.load_pem_x509_certificate(kept.read_bytes()) == old


def test_keys_and_folders_are_private(authority, directory):
    issue_server(authority)
    issue_client(authority)

    assert mode(directory) == 0o700
    assert mode(directory / "issued") == 0o700
    assert {mode(path) for path in directory.glob("*.key")} == {0o600}
    assert len(list(directory.glob("*.key"))) == 3


def test_a_fresh_checkouts_folder_becomes_private_and_one_in_use_is_only_told_of(tmp_path):
    fresh, used = tmp_path / "fresh", tmp_path / "used"
    for directory, file in ((fresh, "README.md"), (used, "diary.txt")):
        directory.mkdir()
        directory.chmod(0o755)
        (directory / file).write_text("…")

    assert CertificateAuthority(fresh).create("CA", KeyType.EC, 10, force=False).notes == ()
    [note] = CertificateAuthority(used).create("CA", KeyType.EC, 10, force=False).notes

    assert mode(fresh) == 0o700
    assert mode(used) == 0o755
    assert "open to others" in note


def test_nothing_is_replaced_unless_told(authority, directory):
    issue_server(authority)
    issue_client(authority)
    before = contents(directory)

    for attempt in (
        lambda: authority.create("CA", KeyType.EC, 10, force=False),
        lambda: issue_server(authority),
        lambda: issue_client(authority),
    ):
        with pytest.raises(CertificateAuthorityError, match="exists already"):
            attempt()
    assert contents(directory) == before

    (directory / "ca.crt").unlink()
    with pytest.raises(CertificateAuthorityError, match=r"ca\.key exists already"):
        authority.create("CA", KeyType.EC, 10, force=False)

    authority.create("CA", KeyType.EC, 10, force=True)
    assert contents(directory)["ca.key"] != before["ca.key"]


def test_a_dangling_link_counts_as_a_file(authority, directory):
    (directory / "server.key").symlink_to(directory / "elsewhere.key")

    with pytest.raises(CertificateAuthorityError, match="exists already"):
        issue_server(authority)


def test_another_file_name_for_another_server_but_never_the_cas(authority, directory):
    issued = issue_server(authority, "smtp.internal", file_name="smtp")

    assert issued.key_file == directory / "smtp.key"
    for name in ("ca", "CA", "../smtp", ".smtp"):
        with pytest.raises(CertificateAuthorityError):
            issue_server(authority, "smtp.internal", file_name=name, force=True)


def test_no_certificate_outlives_its_ca(authority, clock):
    clock.now += 3600 * DAY

    issued = issue_client(authority)

    ca = x509.load_pem_x509_certificate(authority.certificate_file.read_bytes())
    assert issued.certificate.not_valid_after_utc == ca.not_valid_after_utc
    assert any("Shortened" in note for note in issued.notes)


def test_as_many_days_as_the_ca_has_are_no_news(authority, clock):
    clock.now += datetime.timedelta(hours=2)

    issued = issue_client(authority, days=3650)

    assert issued.notes == ()


def test_an_expired_or_future_ca_issues_nothing(authority, clock, directory):
    before = contents(directory)
    for shift, said in ((3651 * DAY, "expired"), (-3653 * DAY, "not valid before")):
        clock.now += shift
        with pytest.raises(CertificateAuthorityError, match=said):
            issue_server(authority)
    assert contents(directory) == before


def test_without_a_ca_the_sentence_says_how_to_make_one(tmp_path):
    with pytest.raises(CertificateAuthorityError, match="mailgate ca init"):
        issue_client(CertificateAuthority(tmp_path / "nowhere"))


def test_a_handshake_with_another_cas_client_fails(authority, directory, tmp_path, mutual_handshake):
    issue_server(authority)
    other = CertificateAuthority(tmp_path / "other")
    other.create("우리 CA", KeyType.EC, 3650, force=False)
    stranger = issue_client(other)
    for path in (stranger.certificate_file, stranger.key_file):
        (directory / path.name).write_bytes(path.read_bytes())

    with pytest.raises((ssl.SSLError, ConnectionError)):
        mutual_handshake(directory, client="unique_client")


def test_the_folder_is_locked_from_the_look_to_the_write(authority, directory, monkeypatch):
    real, refused = issue.new_key, []

    def try_to_lock(key_type):
        descriptor = os.open(directory, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            refused.append(key_type)
        finally:
            os.close(descriptor)
        return real(key_type)

    monkeypatch.setattr(issue, "new_key", try_to_lock)
    issue_server(authority)
    issue_client(authority)
    authority.create("CA", KeyType.EC, 10, force=True)

    assert len(refused) == 3


def test_two_at_once_issue_a_client_once(authority, directory):
    program = "from mailgate.cli import main; main()"
    command = [sys.executable, "-c", program, "ca", "client", "나", "--dir", str(directory)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    said = [run.communicate(timeout=60) for run in runs]

    assert sorted(run.returncode for run in runs) == [0, 1, 1]
    assert sum("exists already" in error for _, error in said) == 2
    key = serialization.load_pem_private_key((directory / "나.key").read_bytes(), None)
    certificate = x509.load_pem_x509_certificate((directory / "나.crt").read_bytes())
    assert certificate.public_key() == key.public_key()

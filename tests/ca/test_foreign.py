"""What other programs made works as the issuer, can be re-issued, and doesn't break the list."""

import datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from mailgate.ca.authority import CertificateAuthority, ClientRequest, utc_now
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.issue import KeyType, certificate_pem, key_pem
from mailgate.ca.listing import ListedCertificate, UnreadableFile, listed

DAY = datetime.timedelta(days=1)

KEY_COMMANDS = {
    "PKCS #1": [["genrsa", "-traditional", "-out", "ca.key", "2048"]],
    "PKCS #8": [["genpkey", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048", "-out", "ca.key"]],
    "SEC 1": [["ecparam", "-genkey", "-name", "prime256v1", "-out", "ca.key"]],
    "SEC 1 alone": [["ecparam", "-genkey", "-name", "secp384r1", "-noout", "-out", "ca.key"]],
    "Ed25519": [["genpkey", "-algorithm", "ED25519", "-out", "ca.key"]],
}
SELF_SIGN = [
    "req",
    "-x509",
    "-new",
    "-key",
    "ca.key",
    "-days",
    "3650",
    "-out",
    "ca.crt",
    "-subj",
    "/CN=MyCustomCA",
]


def issue_both(authority):
    server = authority.issue_server(["localhost"], [], "server", KeyType.EC, 397, force=False)
    [client] = authority.issue_clients([ClientRequest("unique_client")], KeyType.EC, 397, force=False)
    return server, client


@pytest.mark.parametrize("kind", KEY_COMMANDS)
def test_a_ca_made_by_openssl_issues_and_is_reissued(kind, openssl, tmp_path, mutual_handshake):
    for command in [*KEY_COMMANDS[kind], SELF_SIGN]:
        openssl(*command, cwd=tmp_path)
    authority = CertificateAuthority(tmp_path)
    server, client = issue_both(authority)

    assert mutual_handshake(tmp_path, client="unique_client")
    for issued in (server, client):
        assert any("no keyUsage" in note for note in issued.notes)

    authority.reissue(None)

    for leaf in ("server.crt", "unique_client.crt"):
        openssl("verify", "-x509_strict", "-CAfile", "ca.crt", leaf, cwd=tmp_path)
    assert mutual_handshake(tmp_path, client="unique_client", strict=True)


def test_reissuing_keeps_name_key_serial_and_end(openssl_directory, openssl, mutual_handshake):
    old = x509.load_pem_x509_certificate((openssl_directory / "ca.crt").read_bytes())
    key = (openssl_directory / "ca.key").read_bytes()

    new = CertificateAuthority(openssl_directory).reissue(None).certificate

    assert new.subject.public_bytes() == old.subject.public_bytes()
    assert new.public_key() == old.public_key()
    assert new.serial_number == old.serial_number
    assert new.not_valid_after_utc == old.not_valid_after_utc
    assert new.not_valid_before_utc <= old.not_valid_before_utc
    identifiers = [each.extensions.get_extension_for_class(x509.SubjectKeyIdentifier) for each in (old, new)]
    assert identifiers[0] == identifiers[1]
    usage = new.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.key_cert_sign
    assert usage.value.crl_sign
    assert (openssl_directory / "ca.key").read_bytes() == key
    assert x509.load_pem_x509_certificate((openssl_directory / "ca.crt").read_bytes()) == new
    openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt", "client.crt", cwd=openssl_directory)
    assert mutual_handshake(openssl_directory, strict=True)


def test_reissuing_with_days_takes_them_at_their_word(openssl_directory):
    new = CertificateAuthority(openssl_directory).reissue(30).certificate

    assert abs(new.not_valid_after_utc - (utc_now() + 30 * DAY)) < datetime.timedelta(minutes=1)


def test_a_leaf_that_names_its_ca_by_serial_number_survives(openssl, openssl_directory, mutual_handshake):
    extensions = (
        (openssl_directory / "client.ext").read_text().replace("keyid,issuer", "keyid:always,issuer:always")
    )
    (openssl_directory / "client.ext").write_text(extensions)
    openssl(
        *["x509", "-req", "-in", "client.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial"],
        *["-out", "client.crt", "-days", "36500", "-sha256", "-extfile", "client.ext"],
        cwd=openssl_directory,
    )

    CertificateAuthority(openssl_directory).reissue(None)

    openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "client.crt", cwd=openssl_directory)
    assert mutual_handshake(openssl_directory, strict=True)


def _self_made(directory, *extensions, subject="내 CA", issuer=None, key=None, ca_key=None):
    """Write a CA of our own making to `directory`: what openssl doesn't make without a page of settings."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(utc_now() - DAY)
        .not_valid_after(utc_now() + 100 * DAY)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    certificate = builder.sign(key, hashes.SHA256())
    (directory / "ca.crt").write_bytes(certificate_pem(certificate))
    (directory / "ca.key").write_bytes(key_pem(ca_key or key))
    return certificate


def test_reissuing_keeps_the_limits_of_a_ca(tmp_path):
    limits = x509.NameConstraints(permitted_subtrees=[x509.DNSName("x.kr")], excluded_subtrees=None)
    _self_made(tmp_path, (x509.BasicConstraints(ca=True, path_length=2), False), (limits, True))

    new = CertificateAuthority(tmp_path).reissue(None).certificate

    assert new.extensions.get_extension_for_class(x509.NameConstraints).value == limits
    assert new.extensions.get_extension_for_class(x509.BasicConstraints).value.path_length == 2
    assert new.extensions.get_extension_for_class(x509.BasicConstraints).critical
    assert new.not_valid_after_utc > utc_now() + 3000 * DAY


def test_a_ca_without_any_extension_can_be_reissued(tmp_path, openssl, mutual_handshake):
    _self_made(tmp_path)
    authority = CertificateAuthority(tmp_path)
    issue_both(authority)

    authority.reissue(None)

    openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt", cwd=tmp_path)
    assert mutual_handshake(tmp_path, client="unique_client", strict=True)


def test_an_expired_ca_can_be_reissued(tmp_path, openssl):
    for command in KEY_COMMANDS["PKCS #8"]:
        openssl(*command, cwd=tmp_path)
    openssl(*SELF_SIGN, cwd=tmp_path)
    later = utc_now() + 4000 * DAY
    authority = CertificateAuthority(tmp_path, lambda: later)

    assert authority.reissue(None).certificate.not_valid_after_utc == later + 3650 * DAY
    issue_both(authority)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"ca_key": ec.generate_private_key(ec.SECP256R1())}, "the key is not the certificate's"),
        ({"extensions": [(x509.BasicConstraints(ca=False, path_length=None), True)]}, "CA:FALSE"),
    ],
)
def test_what_is_no_ca_issues_nothing(made, said, tmp_path):
    extensions = made.pop("extensions", [])
    _self_made(tmp_path, *extensions, **made)
    before = set(tmp_path.iterdir())

    for attempt in (lambda authority: authority.reissue(None), issue_both):
        with pytest.raises(CertificateAuthorityError, match=said):
            attempt(CertificateAuthority(tmp_path))
    assert set(tmp_path.iterdir()) == before


def test_an_intermediate_ca_is_not_ours_to_reissue(tmp_path):
    root = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Root")])
    _self_made(tmp_path, (x509.BasicConstraints(ca=True, path_length=0), True), issuer=root)

    with pytest.raises(CertificateAuthorityError, match="issued by CN=Root"):
        CertificateAuthority(tmp_path).reissue(None)


def test_keys_that_cant_be_used_get_a_sentence(openssl_directory, openssl):
    key = openssl_directory / "ca.key"
    authority = CertificateAuthority(openssl_directory)
    openssl("rsa", "-aes256", "-in", key, "-out", "locked.key", "-passout", "pass:비밀", cwd=openssl_directory)
    openssl("dsaparam", "-out", "dsa.pem", "1024", cwd=openssl_directory)
    openssl("gendsa", "-out", "dsa.key", "dsa.pem", cwd=openssl_directory)

    for content, said in (
        ((openssl_directory / "locked.key").read_bytes(), "is encrypted"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no readable PEM private key"),
        (b"", "no readable PEM private key"),
        ((openssl_directory / "dsa.key").read_bytes(), "neither an RSA, an EC nor an Ed25519 key"),
    ):
        key.write_bytes(content)
        with pytest.raises(CertificateAuthorityError, match=said):
            authority.issue_clients([ClientRequest("다른")], KeyType.EC, 397, force=False)
    (openssl_directory / "ca.crt").write_bytes(b"\x30\x03junk")
    with pytest.raises(CertificateAuthorityError, match="no readable PEM certificate"):
        authority.reissue(None)


def test_the_list_takes_what_it_finds(openssl_directory, openssl):
    authority = CertificateAuthority(openssl_directory)
    authority.issue_clients([ClientRequest("장치7", uris=("spiffe://x.kr/7",))], KeyType.EC, 397, force=False)
    openssl("x509", "-in", "client.crt", "-outform", "DER", "-out", "der.cer", cwd=openssl_directory)
    bundle = (openssl_directory / "server.crt").read_bytes() + (openssl_directory / "ca.crt").read_bytes()
    (openssl_directory / "chain.pem").write_bytes(bundle)
    (openssl_directory / "only-a-key.pem").write_bytes((openssl_directory / "ca.key").read_bytes())
    (openssl_directory / "empty.crt").touch()
    (openssl_directory / "junk.crt").write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    (openssl_directory / "dangling.crt").symlink_to("nowhere")
    (openssl_directory / "folder.crt").mkdir()

    entries = listed(openssl_directory, utc_now())

    found = [(entry.file, entry.kind) for entry in entries if isinstance(entry, ListedCertificate)]
    assert found == [
        ("ca.crt", "ca"),
        ("chain.pem", "server"),
        ("chain.pem", "ca"),
        ("client.crt", "client"),
        ("der.cer", "client"),
        ("server.crt", "server"),
        ("장치7.crt", "client"),
    ]
    unreadable = [entry.file for entry in entries if isinstance(entry, UnreadableFile)]
    assert unreadable == ["dangling.crt", "empty.crt", "junk.crt"]
    device = next(entry for entry in entries if entry.file == "장치7.crt")
    assert (device.common_name, device.names) == ("장치7", ("URI:spiffe://x.kr/7",))


def test_the_list_shows_what_is_valid_expired_or_to_come(openssl_directory):
    now = utc_now()
    for then, state in ((now, "valid"), (now + 36501 * DAY, "expired"), (now - 2 * DAY, "not yet")):
        assert {entry.state for entry in listed(openssl_directory, then)} == {state}
    assert listed(openssl_directory, now)[0].days_left in {36499, 36500}


def test_a_certificate_that_was_replaced_or_taken_away_stays_in_the_list(tmp_path):
    authority = CertificateAuthority(tmp_path)
    authority.create("CA", KeyType.EC, 3650, force=False)
    [first] = authority.issue_clients([ClientRequest("가")], KeyType.EC, 397, force=False)
    [second] = authority.issue_clients([ClientRequest("가")], KeyType.EC, 397, force=True)

    files = [entry.file for entry in listed(tmp_path, utc_now())]
    assert files == ["ca.crt", "가.crt", f"issued/{first.certificate.serial_number:x}.crt"]

    second.certificate_file.unlink()
    assert f"issued/{second.certificate.serial_number:x}.crt" in {
        entry.file for entry in listed(tmp_path, utc_now())
    }


def test_every_kind_of_alternative_name_can_be_listed(tmp_path):
    alternatives = x509.SubjectAlternativeName(
        [
            x509.RFC822Name("dev@x.kr"),
            x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "장치")])),
            x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
            x509.OtherName(x509.ObjectIdentifier("1.2.4"), b"\x05\x00"),
        ]
    )
    _self_made(tmp_path, (alternatives, False), key=rsa.generate_private_key(65537, 2048))

    [entry] = listed(tmp_path, utc_now())

    assert entry.kind == "other"
    assert entry.names == ("email:dev@x.kr", "dirName:CN=장치", "RID:1.2.3", "otherName:1.2.4")

"""``mailgate ca`` as an operator meets it: files, sentences, exit codes."""

import json
import stat

import pytest
from click.testing import CliRunner
from cryptography import x509

from mailgate.cli import main


@pytest.fixture
def mailgate(tmp_path, monkeypatch):
    """Run a command in a folder of its own; returns the click result, with no exception but a clean exit."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments, status=0):
        result = CliRunner().invoke(main, arguments)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code == status, result.output
        return result

    return run


def test_the_way_from_nothing_to_a_client(mailgate, tmp_path):
    mailgate("ca", "init")
    mailgate("ca", "server", "localhost", "gate.example.com", "--ip", "127.0.0.1")
    printed = mailgate("ca", "client", "unique_client", "장치7").stdout

    assert "certs/장치7.crt, certs/장치7.key: CN=장치7; DNS:xn--7-hi7fp5o; until " in printed
    certificates = tmp_path / "certs"
    assert {path.name for path in certificates.iterdir()} == {
        *("ca.crt", "ca.key", "server.crt", "server.key", "issued"),
        *("unique_client.crt", "unique_client.key", "장치7.crt", "장치7.key"),
    }
    assert stat.S_IMODE(certificates.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in certificates.glob("*.key")} == {0o600}


def test_another_directory(mailgate, tmp_path):
    mailgate("ca", "init", "--dir", "deep/er", "--name", "우리 CA")
    mailgate("ca", "client", "가", "--dir", "deep/er")

    assert (tmp_path / "deep/er/가.key").is_file()
    assert not (tmp_path / "certs").exists()


def test_a_hundred_years_of_rsa(mailgate, tmp_path):
    for arguments in (["init"], ["server", "localhost"], ["client", "unique_client"]):
        mailgate("ca", *arguments, "--days", "36500", "--key-type", "rsa")

    for name in ("ca", "server", "unique_client"):
        certificate = x509.load_pem_x509_certificate((tmp_path / f"certs/{name}.crt").read_bytes())
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 36500
        assert certificate.public_key().key_size == 3072


def test_a_refusal_is_one_sentence_and_status_1(mailgate):
    assert "mailgate ca init" in mailgate("ca", "server", "localhost", status=1).stderr
    mailgate("ca", "init")
    mailgate("ca", "client", "가")

    for arguments, said in (
        (["init"], "exists already"),
        (["client", "가"], "exists already"),
        (["client", "장치 7"], "--dns NAME or --uri URI"),
        (["client", "../밖"], "can't be a name"),
        (["client", "나", "--uri", "device 7"], "not a URI"),
        (["server", "a b"], "not a host name"),
        (["server", "a", "--ip", "1.2.3"], "not an IP address"),
        (["list", "--dir", "nowhere"], "No such file or directory"),
    ):
        result = mailgate("ca", *arguments, status=1)
        assert result.stdout == ""
        assert result.stderr.startswith("Error: ")
        assert result.stderr.count("\n") == 1
        assert said in result.stderr


def test_force_replaces(mailgate, tmp_path):
    mailgate("ca", "init")
    mailgate("ca", "client", "가")
    before = (tmp_path / "certs/가.key").read_bytes()

    mailgate("ca", "client", "가", "--force")

    assert (tmp_path / "certs/가.key").read_bytes() != before


@pytest.mark.parametrize(
    "arguments",
    [
        ["client", "가", "나", "--dns", "a.x.kr"],
        ["client", "가", "--days", "0"],
        ["client", "가", "--days", "36526"],
        ["init", "--reissue", "--force"],
        ["init", "--reissue", "--name", "다른 CA"],
        ["init", "--reissue", "--key-type", "rsa"],
        ["server"],
    ],
)
def test_what_makes_no_sense_is_a_usage_error(arguments, mailgate, tmp_path):
    mailgate("ca", *arguments, status=2)

    assert list(tmp_path.iterdir()) == []


def test_reissue_keeps_the_key(mailgate, tmp_path):
    mailgate("ca", "init", "--days", "10")
    key = (tmp_path / "certs/ca.key").read_bytes()
    before = (tmp_path / "certs/ca.crt").read_bytes()

    mailgate("ca", "init", "--reissue")

    assert (tmp_path / "certs/ca.key").read_bytes() == key
    assert (tmp_path / "certs/ca.crt").read_bytes() != before


def test_a_note_is_told_once_on_standard_error(mailgate):
    mailgate("ca", "init", "--days", "100")

    result = mailgate("ca", "client", "가", "나")

    assert result.stderr.count("Shortened to") == 1
    assert result.stdout.count("\n") == 2


def test_the_list_lines_up_with_hangul_in_it(mailgate):
    mailgate("ca", "init", "--name", "우리 CA")
    mailgate("ca", "client", "장치7", "a")

    header, ca, *_, device = mailgate("ca", "list").stdout.splitlines()

    assert header.split() == ["FILE", "KIND", "CN", "NAMES", "SERIAL", "NOT", "AFTER", "DAYS", "LEFT", "STATE"]
    assert ca.split()[:2] == ["ca.crt", "ca"]
    assert device.split()[:4] == ["장치7.crt", "client", "장치7", "DNS:xn--7-hi7fp5o"]
    assert device.endswith("valid")
    columns = header.index("KIND")
    assert device.index("client") == columns - len("장치")


def test_the_list_as_json(mailgate, tmp_path):
    mailgate("ca", "init")
    mailgate("ca", "client", "장치7", "--uri", "spiffe://x.kr/7")
    (tmp_path / "certs/junk.crt").write_text("쓰레기")

    ca, junk, device = json.loads(mailgate("ca", "list", "--json").stdout)

    assert (ca["kind"], ca["state"]) == ("ca", "valid")
    assert ca["days_left"] in {3649, 3650}
    assert junk == {"file": "junk.crt", "state": "unreadable", "reason": "not a well-formed certificate"}
    certificate = x509.load_pem_x509_certificate((tmp_path / "certs/장치7.crt").read_bytes())
    assert int(device["serial"], 16) == certificate.serial_number
    assert device["names"] == ["URI:spiffe://x.kr/7"]
    assert device["not_after"] == certificate.not_valid_after_utc.isoformat()


def test_a_foreign_name_cant_command_the_terminal(mailgate, tmp_path):
    mailgate("ca", "init")
    pem = (tmp_path / "certs/ca.crt").read_bytes()
    (tmp_path / "certs/\x1b[2J.crt").write_bytes(pem)

    assert "\x1b" not in mailgate("ca", "list").stdout


def test_a_folder_that_cant_be_made_gets_a_sentence(mailgate, tmp_path):
    (tmp_path / "file").write_text("not a folder")

    said = mailgate("ca", "init", "--dir", "file/certs", status=1).stderr

    assert said.startswith("Error: file")
    assert said.count("\n") == 1


def test_the_way_from_a_client_to_its_revocation(mailgate, tmp_path):
    mailgate("ca", "init")
    mailgate("ca", "client", "cam")
    assert "certs/ca.crl: 0 revoked; the next one is due by " in mailgate("ca", "crl").stdout
    assert mailgate("ca", "crl", "--renew").stdout == "certs/ca.crl is not due yet.\n"
    printed = mailgate("ca", "revoke", "cam", "--reason", "key-compromise").stdout
    assert "revoked CN=cam, serial " in printed
    assert "certs/ca.crl: 1 revoked" in printed
    assert "revoked" in mailgate("ca", "list").stdout
    assert "revoked already" in mailgate("ca", "revoke", "cam", status=1).stderr
    assert stat.S_IMODE((tmp_path / "certs/ca.crl").stat().st_mode) == 0o644

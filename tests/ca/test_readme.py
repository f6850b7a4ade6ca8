"""What certs/README.md says to type does what it says."""

import os
import ssl
import stat
import sys

import pytest
from cryptography import x509

OPERATORS_COMMANDS = [
    "openssl genrsa -out ca.key 2048",
    'openssl req -x509 -new -nodes -key ca.key -days 36500 -out ca.crt -subj "/CN=MyCustomCA"',
    'openssl req -new -key server.key -out server.csr -subj "/CN=server"',
    'openssl req -new -key client.key -out client.csr -subj "/CN=unique_client"',
    (
        "openssl x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out server.crt "
        "-days 36500 -sha256 -extfile server.ext"
    ),
    (
        "openssl x509 -req -in client.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out client.crt "
        "-days 36500 -sha256 -extfile client.ext"
    ),
]


@pytest.fixture
def mailgate_environment(tmp_path):
    """An environment whose PATH has the mailgate of this checkout, installed or not."""
    program = tmp_path / "bin" / "mailgate"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom mailgate.cli import main\nmain(prog_name='mailgate')\n")
    program.chmod(0o755)
    return {
        **os.environ,
        "PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
    }


def test_the_page_has_the_operators_own_commands(readme_commands):
    lines = "".join(readme_commands.shell_blocks(readme_commands.PLAIN_OPENSSL)).splitlines()

    assert [command for command in OPERATORS_COMMANDS if command not in lines] == []


def test_plain_openssl_certificates_verify_and_shake_hands(openssl, openssl_directory, mutual_handshake):
    openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslserver", "server.crt", cwd=openssl_directory)
    openssl("verify", "-CAfile", "ca.crt", "-purpose", "sslclient", "client.crt", cwd=openssl_directory)

    for host in ("localhost", "server.example.com"):
        seen = mutual_handshake(openssl_directory, host=host)

        assert seen["subject"] == ((("commonName", "unique_client"),),)
        assert ("DNS", "unique_client.example.com") in seen["subjectAltName"]


def test_plain_openssl_keys_are_private_and_certificates_last_a_hundred_years(openssl_directory):
    for name in ("ca", "server", "client"):
        assert stat.S_IMODE((openssl_directory / f"{name}.key").stat().st_mode) == 0o600
        certificate = x509.load_pem_x509_certificate((openssl_directory / f"{name}.crt").read_bytes())
        assert (certificate.not_valid_after_utc - certificate.not_valid_before_utc).days == 36500


def test_a_strict_client_refuses_the_ca_without_key_usage(openssl, openssl_directory, mutual_handshake):
    with pytest.raises(ssl.SSLError):
        mutual_handshake(openssl_directory, strict=True)

    said = openssl("verify", "-x509_strict", "-CAfile", "ca.crt", "server.crt", cwd=openssl_directory, check=False)
    assert "CA cert does not include key usage extension" in said


@pytest.mark.parametrize("way", [0, 1], ids=["mailgate", "openssl"])
def test_both_ways_to_reissue_the_ca_content_the_strict_client(
    way, openssl, openssl_directory, mutual_handshake, readme_commands, mailgate_environment
):
    commands = readme_commands.shell_blocks(readme_commands.STRICTER_CLIENTS)[way]

    readme_commands.run(commands, openssl_directory, mailgate_environment)

    for leaf in ("server.crt", "client.crt"):
        openssl("verify", "-x509_strict", "-CAfile", "ca.crt", leaf, cwd=openssl_directory)
    assert mutual_handshake(openssl_directory, strict=True)


def test_the_mailgate_way(openssl, tmp_path, mutual_handshake, readme_commands, mailgate_environment):
    commands = "".join(readme_commands.shell_blocks(readme_commands.MAILGATE))

    printed = readme_commands.run(commands, tmp_path, mailgate_environment)

    certificates = tmp_path / "certs"
    for host in ("localhost", "gate.example.com"):
        seen = mutual_handshake(certificates, client="unique_client", host=host, strict=True)
        assert ("DNS", "unique_client.example.com") in seen["subjectAltName"]
    assert mutual_handshake(certificates, client="장치8", strict=True)["subject"] == ((("commonName", "장치8"),),)
    assert "장치7.crt" in printed

"""A client renews its certificate at the gateway, with nobody's help."""

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from harness.gateway import message
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.files import locked
from mailgate.ca.issue import KeyType
from mailgate.ca.request import request_like
from mailgate.ca.revoking import Revoking
from mailgate.ca.stored import private_key
from mailgate.demo.stage import CLIENT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def renewing(new_gateway, internal):
    """A gateway that signs with an intermediate of the CA that its clients know."""
    gateway = new_gateway(internal.port)
    certificates = gateway.stage.certificates
    root = CertificateAuthority(certificates)
    below = CertificateAuthority(certificates / "issuing")
    if not below.certificate_file.exists():
        below.create_below(root, "발급 CA", KeyType.EC, 300, force=False)
    bundle = root.certificate_file.read_text() + below.certificate_file.read_text()
    (certificates / "clients-ca.crt").write_text(bundle)
    gateway.tables["tls"]["client_ca"] = "certs/clients-ca.crt"
    gateway.tables["est"] = {"ca": "certs/issuing", "days": 45}
    return gateway


def renew(gateway, *options, name=CLIENT):
    certificates = gateway.stage.certificates
    url = f"https://localhost:{gateway.port}"
    files = ("--cert", certificates / f"{name}.crt", "--key", certificates / f"{name}.key")
    command = [
        sys.executable,
        "-c",
        "from mailgate.cli import main; main()",
        "renew",
        "--url",
        url,
        *files,
        "--ca",
        certificates / "ca.crt",
    ]
    return subprocess.run([*map(str, command), *options], capture_output=True, text=True, check=False)


def certificate(gateway, name=CLIENT):
    return x509.load_pem_x509_certificate((gateway.stage.certificates / f"{name}.crt").read_bytes())


def test_the_next_certificate_is_taken_at_once_and_the_old_one_too(renewing):
    gateway = renewing.start()
    certificates = gateway.stage.certificates
    before = certificate(gateway)
    for end in ("crt", "key"):
        shutil.copy(certificates / f"{CLIENT}.{end}", certificates / f"before.{end}")
    done = renew(gateway)
    assert done.returncode == 0, done.stderr
    after = certificate(gateway)
    assert after.public_key() != before.public_key()
    assert after.subject == before.subject
    assert (certificates / f"{CLIENT}.key").stat().st_mode & 0o077 == 0
    for name in (CLIENT, "before"):
        with gateway.client(name) as client:
            assert client.submit(message()).status == 202
    [event] = gateway.events("certificate.renewed")
    assert (event["client"], event["serial"]) == (CLIENT, f"{after.serial_number:x}")
    again = renew(gateway, "--keep-key")
    assert again.returncode == 0, again.stderr
    assert certificate(gateway).public_key() == after.public_key()
    # Certificates and the clock have whole seconds: within the second of its issue it is good for all 45.
    assert re.search(r"good for 4[45] more days", renew(gateway, "--if-within", "30").stdout)


def test_a_client_that_is_revoked_by_name_is_so_with_what_it_renewed(renewing):
    gateway = renewing
    certificates = gateway.stage.certificates
    issuing = CertificateAuthority(certificates / "issuing")
    lists = [Revoking(CertificateAuthority(certificates)), Revoking(issuing)]
    for each in lists:
        each.renew(30, only_if_due=False)

    def bundle():
        octets = "".join(each.list_file.read_text() for each in lists)
        (certificates / "all.crl").write_text(octets)

    bundle()
    gateway.tables["tls"]["client_crl"] = "certs/all.crl"
    gateway.start()
    assert renew(gateway).returncode == 0
    lists[1].revoke(CLIENT, "key-compromise", 30)
    with gateway.device() as device:
        bundle()
        assert device.line() == "535 5.7.8 - certificate revoked"
    done = renew(gateway)
    assert done.returncode == 1
    assert "refused our certificate" in done.stderr


def test_an_entry_that_names_a_fingerprint_is_not_renewed_into_nobody(renewing):
    gateway = renewing
    fingerprint = CertificateAuthority(gateway.stage.certificates)
    [issued] = fingerprint.issue_clients([ClientRequest("pinned")], KeyType.EC, 30, force=False)
    pin = issued.certificate.fingerprint(issued.certificate.signature_hash_algorithm).hex()
    gateway.tables["clients.pinned"] = {"senders": ["*@example.com"], "certificates": [f"SHA256:{pin}"]}
    gateway.start()
    done = renew(gateway, name="pinned")
    assert done.returncode == 1
    assert "would not be that of the client" in done.stderr
    assert certificate(gateway, "pinned") == issued.certificate


def test_a_client_that_was_revoked_a_moment_ago_gets_nothing(renewing):
    gateway = renewing
    certificates = gateway.stage.certificates
    root, issuing = CertificateAuthority(certificates), CertificateAuthority(certificates / "issuing")
    lists = [Revoking(each) for each in (root, issuing)]
    for each in lists:
        each.renew(30, only_if_due=False)
    gateway.tables["tls"]["client_crl"] = "certs/all.crl"

    def bundle():
        (certificates / "all.crl").write_text("".join(each.list_file.read_text() for each in lists))

    bundle()
    gateway.start()
    assert renew(gateway).returncode == 0
    # In the folder of the CA that signs: its list is looked at, though nobody has told the gateway.
    lists[1].revoke(CLIENT, "key-compromise", 30)
    done = renew(gateway)
    assert done.returncode == 1
    assert "not accepted any more" in done.stderr
    assert len(gateway.events("certificate.renewed")) == 1


def test_the_folder_of_the_ca_may_be_held_and_nothing_else_waits(renewing, internal):
    gateway = renewing.start()
    with locked(gateway.stage.certificates / "issuing"):
        done = renew(gateway)
        assert "can't be used right now" in done.stderr
        with gateway.client() as client:
            assert client.fetch("GET", "/.well-known/est/cacerts")[0] == 200
            assert client.submit(message()).status == 202
        until(internal.files, "the delivery")
    [event] = gateway.events("enrolment.error")
    assert "Another process is at work" in str(event["reason"])
    gateway.stop()


def test_a_client_that_is_removed_while_its_request_waits_gets_nothing(renewing):
    gateway = renewing.start()
    kept = gateway.stage.certificates / "issuing" / "issued"
    before, idle = set(kept.glob("*.crt")), threads_of(gateway)
    with ThreadPoolExecutor(1) as threads:
        with locked(gateway.stage.certificates / "issuing"):
            asked = threads.submit(renew, gateway)
            until(lambda: threads_of(gateway) > idle, "the request")
            gateway.tables["clients.other"] = gateway.tables.pop(f"clients.{CLIENT}")
            gateway.write_settings()
            os.kill(gateway.program.pid, signal.SIGHUP)
            until(lambda: gateway.events("connection.cut"), "the reload")
        assert asked.result().returncode == 1
    gateway.stop()
    assert set(kept.glob("*.crt")) == before
    assert gateway.events("certificate.renewed") == []


def threads_of(gateway):
    return len(list(Path(f"/proc/{gateway.program.pid}/task").iterdir()))


def test_a_client_may_not_fill_the_folder(renewing):
    gateway = renewing.start()
    kept = gateway.stage.certificates / "issuing" / "issued"
    before = len(list(kept.glob("*.crt"))) if kept.exists() else 0
    key = private_key(gateway.stage.certificates / f"{CLIENT}.key")
    body = base64.encodebytes(request_like(certificate(gateway), key))
    with gateway.client() as client:
        answers = [
            client.fetch("POST", "/.well-known/est/simplereenroll", octets, Content_Type="application/pkcs10")[0]
            for octets in (*[body] * 11, b"A" * 70_000)
        ]
    assert answers == [200] * 10 + [429, 413]
    assert len(list(kept.glob("*.crt"))) == before + 10


def test_the_certificate_of_another_ca_stays_that_cas(renewing, tmp_path):
    gateway = renewing
    certificates = gateway.stage.certificates
    partner = CertificateAuthority(tmp_path / "partner")
    partner.create("협력사 CA", KeyType.EC, 300, force=False)
    [issued] = partner.issue_clients([ClientRequest(CLIENT)], KeyType.EC, 30, force=False)
    for end, file in (("crt", issued.certificate_file), ("key", issued.key_file)):
        shutil.copy(file, certificates / f"partner.{end}")
    bundle = certificates / "clients-ca.crt"
    bundle.write_text(bundle.read_text() + partner.certificate_file.read_text())
    gateway.start()
    with gateway.client("partner") as client:
        assert client.submit(message()).status == 202
    done = renew(gateway, name="partner")
    assert done.returncode == 1
    assert "of another CA than the one that signs here" in done.stderr


def test_a_signing_ca_that_no_door_trusts_is_told_at_the_start(renewing):
    gateway = renewing
    gateway.tables["tls"]["client_ca"] = "certs/ca.crt"
    program = gateway.launch()
    until(lambda: not program.running, "the end of a gateway that can't start")
    assert "is not in client_ca" in gateway.log


def test_without_est_there_is_nothing_at_its_paths(gateway):
    done = renew(gateway)
    assert done.returncode == 1
    assert "there is nothing at this path" in done.stderr


def test_openssl_and_any_est_client_speak_it(renewing, tmp_path):
    gateway = renewing.start()
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the openssl program is not installed")

    def run(*arguments):
        done = subprocess.run([openssl, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    certificates = gateway.stage.certificates
    run(
        *("x509", "-x509toreq", "-in", certificates / f"{CLIENT}.crt", "-signkey", certificates / f"{CLIENT}.key"),
        *("-copy_extensions", "copyall", "-out", tmp_path / "request.pem"),
    )
    lines = (tmp_path / "request.pem").read_text().splitlines()
    body = "\n".join(line for line in lines if ":" not in line and not line.startswith("-----"))
    with gateway.client() as client:
        authorities = client.fetch("GET", "/.well-known/est/cacerts")
        issued = client.fetch(
            "POST", "/.well-known/est/simplereenroll", body.encode(), Content_Type="application/pkcs10"
        )
        assert (
            client.request("POST", "/.well-known/est/simplereenroll", b"x", Content_Type="text/plain").status
            == 415
        )
    for name, (status, kind, content) in (("ca", authorities), ("leaf", issued)):
        assert status == 200, content
        assert kind.startswith("application/pkcs7-mime")
        (tmp_path / f"{name}.p7").write_bytes(base64.b64decode(content))
        run(
            "pkcs7",
            "-inform",
            "DER",
            "-in",
            tmp_path / f"{name}.p7",
            "-print_certs",
            "-out",
            tmp_path / f"{name}.pem",
        )
    assert "OK" in run(
        *("verify", "-CAfile", certificates / "ca.crt", "-untrusted", tmp_path / "ca.pem", tmp_path / "leaf.pem")
    )


def test_a_device_with_a_shell_renews_when_it_is_due(renewing):
    gateway = renewing
    certificates = gateway.stage.certificates
    authority = CertificateAuthority(certificates)
    authority.issue_clients([ClientRequest(CLIENT)], KeyType.EC, 20, force=True)
    gateway.start()
    before = certificate(gateway)

    def run(days, port=gateway.port):
        files = (certificates / f"{CLIENT}.crt", certificates / f"{CLIENT}.key", certificates / "ca.crt")
        command = [ROOT / "examples/shell/renew.sh", f"localhost:{port}", *files, days]
        return subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)

    assert run(10).returncode == 0
    assert certificate(gateway) == before
    done = run(30)
    assert done.returncode == 0, done.stderr
    after = certificate(gateway)
    assert after != before
    assert after.public_key() == before.public_key()
    with gateway.client() as client:
        assert client.submit(message()).status == 202
    gateway.stop()
    assert run(90).returncode == 4
    assert certificate(gateway) == after
    assert not list(certificates.glob(".renew.*"))

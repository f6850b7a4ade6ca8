"""Every kind of certificate, over real sockets, at both doors, with both versions of TLS: let in, or told why."""

import http.client
import json
import socket
import ssl

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from harness.gateway import Gateway
from harness.pki import DAY, NOW, SERVER_AUTH, Authority, key_pem, pem, rsa_key, with_sha1
from harness.waiting import until

from mailgate.demo.stage import CLIENT

VERSIONS = {"TLS 1.2": ssl.TLSVersion.TLSv1_2, "TLS 1.3": ssl.TLSVersion.TLSv1_3}
TRUSTED = "its issuer is not a trusted CA"
NO_CLIENT = "unknown client"


class Certificates:
    """A company's CA with an intermediate, what it has revoked, and strangers."""

    def __init__(self, folder):
        self.folder = folder
        self.ca = Authority("회사 CA")
        self.between = Authority("부서 CA", issuer=self.ca)
        self.closed = Authority("닫힌 부서 CA", issuer=self.ca)
        self.old = Authority("옛 CA", key=rsa_key())
        self.stolen = self.ca.issue("cam")
        lists = (
            self.ca.revoke(self.stolen[0], self.closed.certificate),
            self.between.revoke(),
            self.closed.revoke(),
            self.old.revoke(),
        )
        self.bundle = self.write("clients-ca.crt", pem(*(each.certificate for each in self.every())))
        self.lists = self.write("clients.crl", pem(*lists))

    def every(self):
        return self.ca, self.between, self.closed, self.old

    def write(self, name, octets):
        path = self.folder / name
        path.write_bytes(octets)
        return path

    def file(self, certificate, key, *sent):
        """Return a file as `ssl` loads it."""
        octets = certificate if isinstance(certificate, bytes) else certificate.public_bytes(Encoding.DER)
        chain = ssl.DER_cert_to_PEM_cert(octets).encode() + pem(*sent)
        return self.write("peer.pem", chain + key_pem(key))

    def weakly_signed(self):
        certificate, key = self.old.issue("cam")
        return with_sha1(certificate, self.old.key), key

    def signed_by_another_of_the_name(self):
        return Authority("회사 CA").issue("cam", claimed_key=self.ca.key)

    def unknown_intermediate(self, *, sent):
        lone = Authority("외딴 부서 CA", issuer=self.ca)
        return (*lone.issue("cam"), *([lone.certificate] if sent else []))


MANY_NAMES = [x509.DNSName(f"cam-{number}.example.com") for number in range(1000)]
OTHER_NAME = [x509.DNSName("other.example.com")]
CASES = {
    "a good one": (lambda made: made.ca.issue("cam"), None),
    "of an intermediate": (lambda made: made.between.issue("cam"), None),
    "a thousand names": (lambda made: made.ca.issue("cam", names=MANY_NAMES), None),
    "a hundred years": (lambda made: made.ca.issue("cam", end=NOW + 36500 * DAY), None),
    "no certificate": (lambda _: None, "it sent no certificate"),
    "another CA": (lambda _: Authority("남의 CA").issue("cam"), TRUSTED),
    "another CA of the same name": (lambda _: Authority("회사 CA").issue("cam"), TRUSTED),
    "another CA that claims the key": (
        lambda made: made.signed_by_another_of_the_name(),
        "the signature is not by the trusted CA of that name",
    ),
    "expired": (lambda made: made.ca.issue("cam", begin=NOW - 9 * DAY, end=NOW - DAY), "it has expired"),
    "not yet valid": (
        lambda made: made.ca.issue("cam", begin=NOW + DAY, end=NOW + 9 * DAY),
        "it is not yet valid",
    ),
    "revoked": (lambda made: made.stolen, "its certificate was not accepted: it is revoked"),
    "of a revoked intermediate": (
        lambda made: made.closed.issue("cam"),
        "a CA certificate in its chain was not accepted: it is revoked",
    ),
    "of an intermediate that nobody has a CRL of": (
        lambda made: made.unknown_intermediate(sent=True),
        "there is no CRL of its CA",
    ),
    "for servers": (lambda made: made.ca.issue("cam", usages=SERVER_AUTH), "not for a client"),
    "without a usage": (lambda made: made.ca.issue("cam", usages=()), "no extendedKeyUsage"),
    "the name of another client": (lambda made: made.ca.issue("disabled"), "client disabled"),
    "the DNS name of another client": (
        lambda made: made.ca.issue("cam", names=OTHER_NAME),
        NO_CLIENT,
    ),
    "a name that nobody has": (lambda made: made.ca.issue("nobody"), NO_CLIENT),
    "a name of another CA's client": (lambda made: made.ca.issue("bound"), NO_CLIENT),
    "self-signed": (lambda _: Authority("cam").issue("cam"), "trusted CA"),
    "without its intermediate": (lambda made: made.unknown_intermediate(sent=False), TRUSTED),
    "a short key": (lambda made: made.ca.issue("cam", key=rsa_key(1024)), "too short"),
    "signed with SHA-1": (lambda made: made.weakly_signed(), "too weak"),
    "a NUL in its name": (lambda made: made.ca.issue("cam\0"), "control character"),
}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def gateway(made, tmp_path_factory):
    gateway = Gateway(tmp_path_factory.mktemp("gateway"), 1)
    gateway.tables["tls"] |= {"client_ca": str(made.bundle), "client_crl": str(made.lists)}
    del gateway.tables[f"clients.{CLIENT}"]
    gateway.tables["clients.cam"] = {"senders": ["*@example.com"]}
    gateway.tables["clients.other"] = {"senders": ["*"], "certificates": ["DNS:other.example.com"]}
    gateway.tables["clients.disabled"] = {"senders": ["*"], "enabled": False}
    partner = made.write("partner.crt", pem(Authority("협력사 CA").certificate))
    gateway.tables["clients.bound"] = {"senders": ["*"], "ca": str(partner)}
    gateway.start()
    yield gateway
    gateway.end()


def context(gateway, version, file):
    made = ssl.create_default_context(cafile=str(gateway.stage.certificates / "ca.crt"))
    made.minimum_version = made.maximum_version = version
    # A client that would show anything, weak keys too.
    made.set_ciphers("DEFAULT:@SECLEVEL=0")
    if file is not None:
        made.load_cert_chain(file)
    return made


def ask_https(gateway, tls, source):
    connection = http.client.HTTPSConnection(
        "localhost", gateway.port, timeout=30, context=tls, source_address=source
    )
    try:
        connection.request("GET", "/v1/whoami")
        answer = json.loads(connection.getresponse().read())
        return answer.get("client") or answer["detail"]
    finally:
        connection.close()


def ask_lines(gateway, tls, source):
    with (
        socket.create_connection(("localhost", gateway.lines_port), 30, source) as plain,
        tls.wrap_socket(plain, server_hostname="localhost") as secured,
        secured.makefile("rb") as lines,
    ):
        line = lines.readline().decode()
        if not line:
            raise ConnectionResetError
        return "cam" if " id=cam " in line else line


DOORS = {"https": ask_https, "lines": ask_lines}
TOLD = {
    ("https", NO_CLIENT): "client",
    ("https", "client disabled"): "is disabled",
}


@pytest.fixture(scope="module")
def sources():
    """Addresses of their own, since the journal has ten lines a minute for each."""
    return iter((f"127.0.0.{number}", 0) for number in range(2, 255))


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("title", CASES)
def test_who_is_let_in(gateway, made, sources, title, version, door):
    make, reason = CASES[title]
    peer = make(made)
    tls = context(gateway, VERSIONS[version], None if peer is None else made.file(*peer))
    before, source = len(gateway.events("handshake.refused")), next(sources)
    try:
        told = DOORS[door](gateway, tls, source)
    except (ssl.SSLError, ConnectionError):
        told = None
    if reason is None:
        assert told == "cam"
    elif reason in {NO_CLIENT, "client disabled"}:
        assert TOLD.get((door, reason), reason) in told
    else:
        assert told is None
        until(lambda: len(gateway.events("handshake.refused")) > before, "the journal")
        event = gateway.events("handshake.refused")[before]
        assert reason in str(event["reason"])
        assert (event["door"], event["address"]) == (door, source[0])
        assert peer is None or ("subject" in event and "serial" in event and "issuer" in event)

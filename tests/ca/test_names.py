"""Names are checked before they become certificates and files."""

import unicodedata
from pathlib import Path

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.ca import names
from mailgate.ca.errors import CertificateAuthorityError


@given(st.text())
def test_a_file_name_stays_in_its_directory(text):
    try:
        name = names.file_name(text)
    except CertificateAuthorityError:
        return
    for path in (Path("certs") / f"{name}.crt", Path("certs") / f".{name}.crt.0123456789ab"):
        assert path.parent == Path("certs")
        assert len(path.name.encode()) <= 255
    assert name == unicodedata.normalize("NFC", text)
    assert not name.startswith((".", "-"))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "..",
        ".",
        "../장치",
        "a/b",
        "/etc/passwd",
        "a\\b",
        ".hidden",
        "-rf",
        "a\nb",
        "a\0b",
        "a ",
        "\u202egnp",
    ],
)
def test_dangerous_file_names_are_refused(text):
    with pytest.raises(CertificateAuthorityError):
        names.file_name(text)


@pytest.mark.parametrize("text", ["ca", "CA", "server", "Server"])
def test_no_client_takes_the_place_of_the_ca_or_the_server(text):
    with pytest.raises(CertificateAuthorityError, match="No client can be called"):
        names.client_name(text)


def test_hangul_of_any_form_is_one_name():
    decomposed = unicodedata.normalize("NFD", "장치7")

    assert decomposed != "장치7"
    assert names.client_name(decomposed) == "장치7"


def test_a_cn_has_64_characters_at_most():
    assert names.common_name("가" * 64) == "가" * 64
    with pytest.raises(CertificateAuthorityError, match="64"):
        names.common_name("가" * 65)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("localhost", "localhost"),
        ("Gate.Example.COM", "gate.example.com"),
        ("메일.한국", "xn--h32bq4v.xn--3e0b707e"),
        ("xn--h32bq4v.xn--3e0b707e", "xn--h32bq4v.xn--3e0b707e"),
        ("unique_client.example.com", "unique_client.example.com"),
    ],
)
def test_dns_names_become_a_labels(text, expected):
    assert names.dns_name(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "a..b", "a.", "-a", "a-", "a b", "장치 7", "dev@x.kr", "a/b", "1.2.3.4", "*", "a.*.b", "*.x.kr",
        "xn--", "xn--a\u0080", "a" * 64, ".".join(["a" * 60] * 5), "a\n",
    ],
)  # fmt: skip
def test_what_is_no_dns_name_is_refused(text):
    with pytest.raises(CertificateAuthorityError, match="not a host name"):
        names.dns_name(text)


@given(st.text())
def test_a_dns_name_is_ascii_and_stable(text):
    try:
        name = names.dns_name(text)
    except CertificateAuthorityError:
        return
    assert name.isascii()
    assert 0 < len(name) <= 253
    assert names.dns_name(name) == name
    for label in name.split("."):
        if label.startswith("xn--"):
            idna.decode(label)


def test_only_a_server_may_have_a_wildcard():
    assert names.server_name("*.예제.한국").value == "*.xn--2j5b21b.xn--3e0b707e"
    for text in ("*.*.kr", "a*.kr", "*", "*."):
        with pytest.raises(CertificateAuthorityError):
            names.server_name(text)


@pytest.mark.parametrize("text", ["127.0.0.1", "::1", "2001:db8::7"])
def test_an_address_among_the_servers_names_is_an_address(text):
    assert names.server_name(text) == names.ip_name(text)


@pytest.mark.parametrize(
    "text", ["spiffe://example.com/device/7", "urn:uuid:f81d4fae-7dec-11d0-a765-00a0c91e6bf6"]
)
def test_uris_are_taken_as_they_come(text):
    assert names.uri_name(text) == text


@pytest.mark.parametrize(
    "text", ["", "device/7", "//x", "spiffe:", "http://a b", "spiffe://x/장치", "a:\n", "http://[x"]
)
def test_what_is_no_uri_is_refused(text):
    with pytest.raises(CertificateAuthorityError, match="not a URI"):
        names.uri_name(text)

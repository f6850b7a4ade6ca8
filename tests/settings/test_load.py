"""mailgate.toml: what it gives, and the sentences it is refused with."""

import re
import textwrap

import pytest
from sqlalchemy import make_url

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.model.address import Address
from mailgate.policy.rules import AddressPattern, Rate
from mailgate.queue.sqlite import path_of
from mailgate.settings import SettingsError, find_settings, load_settings
from mailgate.trust.certificate import key_identifier

WHOLE = """
hostname = "gate.example.com"

[tls]
certificate = "certs/server.crt"
private_key = "certs/server.key"
client_ca = "certs/ca.crt"

[queue]
url = "sqlite:///var/mailgate.db"

[[upstream]]
host = "smtp.internal"

[clients.unique_client]
senders = ["*@example.com"]
"""


@pytest.fixture
def load(tmp_path):
    def load(text, name="mailgate.toml"):
        path = tmp_path / name
        path.write_text(textwrap.dedent(text), "utf-8")
        return load_settings(path)

    return load


@pytest.fixture
def refused(load):
    def refused(text):
        with pytest.raises(SettingsError) as caught:
            load(text)
        sentence = str(caught.value)
        assert "mailgate.toml" in sentence
        assert "\n" not in sentence
        return sentence

    return refused


def test_a_queue_in_postgresql_keeps_its_url_as_it_is(load):
    url = "postgresql+psycopg://gate:geheim@/mail?host=db1:5432&host=db2:5432"
    settings = load(WHOLE.replace("sqlite:///var/mailgate.db", url))
    assert settings.queue.url == url
    assert "geheim" not in repr(settings)


def test_a_short_file_gets_the_documented_defaults(load, tmp_path):
    settings = load(WHOLE)
    assert settings.https.listen == ("tcp:8443",)
    assert settings.limits.max_message == 25 * 1024**2
    assert settings.limits.recipients == 100
    assert settings.queue.retention == 7 * 86400
    assert settings.queue.minimum_free_disk == 0.05
    assert settings.workers == 1
    assert (settings.queue.maximum_messages, settings.queue.maximum_age) == (1_000_000, None)
    assert settings.delivery.schedule.give_up_after == 5 * 86400
    assert settings.delivery.schedule.first == 30
    assert settings.delivery.schedule.longest == 3600
    (upstream,) = settings.delivery.upstreams
    assert (upstream.port, upstream.tls, upstream.connections) == (25, "starttls", 10)
    (client,) = settings.clients
    assert client.certificates == ("CN:unique_client",)
    assert client.recipients == (AddressPattern(None, None),)
    assert client.doors is None
    assert client.enabled
    assert settings.lines is None
    assert settings.limits.connections_per_client == 8


def test_the_line_door_is_there_once_its_table_is(load):
    assert load(WHOLE + "[lines]").lines.listen == ("tcp:8465",)
    settings = load(WHOLE + "[lines]\nlisten = ['tcp:1']\n[limits]\nconnections_per_client = 2")
    assert (settings.lines.listen, settings.limits.connections_per_client) == (("tcp:1",), 2)


def test_relative_paths_are_relative_to_the_file(load, tmp_path):
    settings = load(WHOLE)
    assert settings.tls.certificate == tmp_path / "certs/server.crt"
    assert settings.queue.url == f"sqlite:///{tmp_path}/var/mailgate.db"


@pytest.mark.parametrize(
    ("written", "host"),
    [
        ("smtp.internal.", "smtp.internal"),
        ("메일.한국", "xn--h32bq4v.xn--3e0b707e"),
        ("10.0.0.1", "10.0.0.1"),
        ("::1", "::1"),
    ],
)
def test_an_upstream_is_named_as_its_certificate_names_it(load, written, host):
    (upstream,) = load(WHOLE.replace("smtp.internal", written)).delivery.upstreams
    assert upstream.host == host


def test_an_absolute_queue_path_stays(load):
    assert load(WHOLE.replace("///var", "////srv")).queue.url == "sqlite:////srv/mailgate.db"


@pytest.mark.parametrize("folder", ["50%25", "a?b", "메일 #1"])
def test_the_queue_lies_where_the_file_says_whatever_the_folder_is_called(tmp_path, folder):
    home = tmp_path / folder
    home.mkdir()
    path = home / "mailgate.toml"
    path.write_text(WHOLE.replace("var/", ""), "utf-8")
    assert path_of(make_url(load_settings(path).queue.url)) == home / "mailgate.db"


def test_every_documented_key_is_read(load, tmp_path):
    (tmp_path / "secret").write_text("비밀\n", "utf-8")
    settings = load(
        """
        hostname = "gate.example.com"
        workers = 4
        [tls]
        certificate = "s.crt"
        private_key = "s.key"
        client_ca = "ca.crt"
        minimum = "TLSv1.3"
        [limits]
        max_message = "1 MiB"
        recipients = 3
        request_head = "5s"
        connections = 7
        connections_per_address = 2
        [https]
        listen = ["tcp:1", "systemd:domain=INET:index=0"]
        [queue]
        url = "sqlite:///q.db"
        retention = "1 day"
        minimum_free_disk = "10%"
        maximum_messages = 70
        maximum_age = "2 hours"
        [[upstream]]
        host = "a"
        tls = "implicit"
        ca = "in.crt"
        username = "gateway"
        password_file = "secret"
        connections = 2
        [[upstream]]
        host = "10.0.0.1"
        port = 2525
        tls = "none"
        [delivery]
        give_up_after = "1 day"
        first_retry = "1s"
        longest_retry = "2s"
        [clients."*"]
        senders = ["noreply@example.com"]
        [clients.cam]
        certificates = ["DNS:Cam_7.X.kr", "DNS:카메라.한국", "SHA256:AA:{}", "SPKI:{}", "URI:spiffe://x/Cam"]
        senders = ["*@한국.kr"]
        recipients = ["ops@x.kr"]
        doors = ["https", "lines"]
        rate = "60/minute"
        quota = "5000/day"
        max_message = "10 KiB"
        bounces = "운영@한국.kr"
        enabled = false
    """.format("bb" * 31, "q6urq6urq6urq6urq6urq6urq6urq6urq6urq6urq6s=")
    )
    assert settings.workers == 4
    assert (settings.queue.maximum_messages, settings.queue.maximum_age) == (70, 7200)
    first, second = settings.delivery.upstreams
    assert (first.port, first.ca, first.connections) == (465, tmp_path / "in.crt", 2)
    assert first.credentials is not None
    assert (first.credentials.username, first.credentials.password) == ("gateway", "비밀")
    assert (second.host, second.port, second.tls) == ("10.0.0.1", 2525, "none")
    everyone, cam = settings.clients
    assert (everyone.label, everyone.certificates) == ("*", ())
    assert cam.certificates == (
        "DNS:cam_7.x.kr",
        "DNS:xn--oi2by7cuz0a.xn--3e0b707e",
        "SHA256:aa" + "bb" * 31,
        "SPKI:" + "ab" * 32,
        "URI:spiffe://x/Cam",
    )
    assert cam.senders == (AddressPattern(None, "xn--3e0b707e.kr"),)
    assert cam.doors == {"https", "lines"}
    assert (cam.rate, cam.quota) == (Rate(60, 60.0), Rate(5000, 86400.0))
    assert (cam.max_message, cam.enabled) == (10240, False)
    assert (everyone.bounces, cam.bounces) == (None, Address("운영", "xn--3e0b707e.kr"))


def test_a_password_is_in_no_representation(load, tmp_path):
    (tmp_path / "secret").write_text("hunter2", "utf-8")
    settings = load(WHOLE.replace('"smtp.internal"', '"smtp.internal"\nusername = "u"\npassword_file = "secret"'))
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("client_ca =", "clientca ="), r'\[tls\] has an unknown key "clientca"; did you mean "client_ca"\?'),
        (("senders", "sender"), r'\[clients.unique_client\] has an unknown key "sender"; did you mean "senders"'),
        (("host =", "hots ="), r'\[\[upstream\]\] number 1 has an unknown key "hots"; did you mean "host"'),
        (("hostname", "colour"), r'the file has an unknown key "colour"; it may have hostname, tls'),
        (('"sqlite:///var/mailgate.db"', "5"), r"url in \[queue\]"),
        (
            ('"sqlite:///var/mailgate.db"', '"postgresql://x:geheim@y/z"'),
            r"/mailgate\.toml: queue\.url must be [^x]*$",
        ),
        (('"sqlite:///var/mailgate.db"', '"sqlite://"'), "sqlite:///FILE"),
        (("certs/ca.crt", r"certs/\u0000"), r"client_ca in \[tls\] is a string with control characters"),
        (("var/mailgate.db", r"var/\u0000"), r"url in \[queue\]"),
        (('"smtp.internal"', '"smtp.internal"\nca = "\\u0000"'), r"ca in \[\[upstream\]\] number 1"),
        (('"smtp.internal"', '"smtp internal"'), r"upstream.* host: 'smtp internal' is not a domain name"),
        (
            ('"smtp.internal"', '"smtp.internal"\nport = 70000'),
            r"port in \[\[upstream\]\] number 1 is a whole number",
        ),
        (
            ('"smtp.internal"', '"smtp.internal"\ntls = "yes"'),
            r'tls in .*: it may be "implicit" or "none" or "starttls"',
        ),
        (('"smtp.internal"', '"smtp.internal"\nusername = "u"'), "both username and password_file"),
        (
            ('"smtp.internal"', '"smtp.internal"\nusername = "u"\npassword_file = "nowhere"'),
            "the password file .*nowhere can't be read: No such file",
        ),
        (
            ('"smtp.internal"', '"smtp.internal"\ntls = "none"\nusername = "u"\npassword_file = "x"'),
            "cross the network in the clear",
        ),
        (('"smtp.internal"', '"smtp.internal"\ntls = "none"\nca = "x"'), "nothing would be checked"),
        (('["*@example.com"]', '["example.com"]'), r'clients."unique_client".senders: "example.com" is not an'),
        (('["*@example.com"]', "[]"), "senders"),
        (('["*@example.com"]', '["*"]\nrate = "fast"'), r'clients."unique_client".rate: "fast" is not a rate'),
        (('["*@example.com"]', '["*"]\ncertificates = []'), "no certificate could ever match"),
        (('["*@example.com"]', '["*"]\ncertificates = ["unique"]'), "does not start with CN:, DNS:"),
        (('["*@example.com"]', '["*"]\ncertificates = ["SHA256:12"]'), "not a SHA-256"),
        (('["*@example.com"]', '["*"]\ncertificates = ["SPKI:!!"]'), "not a SHA-256"),
        (('["*@example.com"]', '["*"]\ndoors = ["smtp"]'), 'doors in .*: it may be "https" or "lines"'),
        (('["*@example.com"]', '["*"]\ndoors = []'), "doors in .* is an empty list: it may be"),
        (
            ("[clients.unique_client]", '[clients."*"]\ncertificates = ["CN:x"]'),
            "the wildcard entry is for every other certificate",
        ),
        (("[clients.unique_client]", '[clients.""]'), "entry's name is empty"),
        (
            ("[clients.unique_client]", '[clients.a]\ncertificates=["CN:b"]\nsenders=["*"]\n[clients.b]'),
            '"a" and "b" both claim the certificate CN:b',
        ),
        (('"gate.example.com"', '"gate_example"'), "hostname: .*gate_example"),
        (("[queue]", '[delivery]\nfirst_retry = "2 hours"\n[queue]'), "first_retry is longer"),
        (("[queue]", '[limits]\nmax_message = "big"\n[queue]'), r'limits.max_message: "big" is not a size'),
        (("[queue]", "[limits]\nconnections = 0\n[queue]"), r"connections in \[limits\]"),
        (("[queue]", "[lines]\nlisten = []\n[queue]"), r"listen in \[lines\] is an empty list"),
        (("[queue]", "[lines]\nport = 1\n[queue]"), r'\[lines\] has an unknown key "port"'),
        (("[queue]", "[queue"), "is not TOML: .*line 9"),
        (("[clients.unique_client]", "[clients.장치8]"), r'needs quotes: \[clients\."장치8"\]'),
        (("[[upstream]]", "[upstream]"), r"two brackets, \[\[upstream\]\]"),
        (("[queue]", '[https]\nlisten = "tcp:1"\n[queue]'), r'listen in \[https\] is "tcp:1": expected `array`'),
        (('["*@example.com"]', '"*"'), r'senders in \[clients.unique_client\] is "\*": expected `array`'),
        (('["*@example.com"]', '["*"]\nmax_message = "26 MiB"'), "more than limits.max_message"),
        (
            ('["*@example.com"]', '["*"]\nbounces = "ops"'),
            r'clients."unique_client".bounces: an address has the form',
        ),
        (
            ('["*@example.com"]', '["*"]\nbounces = ["ops@x.kr"]'),
            r"bounces in .* is a list|bounces in .*: expected",
        ),
        (("[queue]", "[tls]\nx = 1\n[queue]"), "is not TOML"),
        (
            ('"certs/ca.crt"', '"certs/ca.crt"\nminimum = "TLSv1.1"'),
            'minimum in .* is "TLSv1.1": it may be "TLSv1.2" or',
        ),
        (('["*@example.com"]', '["*"]\nenabled = 1979-05-27'), "enabled in .* is a date or time"),
        (("private_key =", "#"), r'\[tls\] lacks "private_key"'),
        (
            ("hostname =", "workers = 0\nhostname ="),
            r"mailgate.toml: workers is a whole number: expected `int` >= 1",
        ),
        (("hostname =", "workers = 65\nhostname ="), r"workers is a whole number: expected `int` <= 64"),
        (("[tls]", "[tsl]"), 'unknown key "tsl"; did you mean "tls"'),
    ],
)
def test_what_is_wrong_is_one_sentence_that_names_the_key(refused, change, sentence):
    assert change[0] in WHOLE
    assert re.search(sentence, refused(WHOLE.replace(*change, 1)))


def test_all_unknown_keys_are_told_at_once(refused):
    sentence = refused(WHOLE.replace("client_ca", "a").replace("senders", "b"))
    assert '"a"' in sentence
    assert '"b"' in sentence


def test_a_missing_table_is_told(refused):
    assert "tls" in refused('hostname = "x.kr"')


def test_a_table_of_the_wrong_shape_is_told(refused):
    sentence = refused("""
        hostname = "gate.example.com"
        tls = 5
        upstream = "x"
        clients = 7
    """)
    assert "[tls] must be a table, not a whole number" in sentence
    assert "there is no [[upstream]] table" in sentence
    assert "there is no [clients.NAME] table" in sentence


def test_files_that_can_not_be_read_are_named(tmp_path):
    with pytest.raises(SettingsError, match=r"nowhere\.toml can't be read: No such file"):
        load_settings(tmp_path / "nowhere.toml")
    (tmp_path / "latin.toml").write_bytes(b"hostname = '\xe9'")
    with pytest.raises(SettingsError, match=r"latin\.toml is not UTF-8"):
        load_settings(tmp_path / "latin.toml")


@pytest.mark.parametrize(("octets", "sentence"), [(b"\xffsecret", "not UTF-8"), (b"\n", "is empty")])
def test_an_unusable_password_file_is_told_without_its_content(load, tmp_path, octets, sentence):
    (tmp_path / "secret").write_bytes(octets)
    with pytest.raises(SettingsError, match=sentence) as caught:
        load(WHOLE.replace('"smtp.internal"', '"smtp.internal"\nusername = "u"\npassword_file = "secret"'))
    assert caught.value.__cause__ is None or b"secret" not in repr(caught.value.__cause__).encode().replace(
        str(tmp_path).encode() + b"/secret", b""
    )


def test_the_settings_file_is_looked_for_here_and_then_in_etc(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert str(find_settings("other.toml")) == "other.toml"
    (tmp_path / "mailgate.toml").touch()
    assert str(find_settings(None)) == "mailgate.toml"
    monkeypatch.setattr("mailgate.settings.load.DEFAULT_PATHS", (tmp_path / "a", tmp_path / "b"))
    with pytest.raises(SettingsError, match="name a settings file with --config"):
        find_settings(None)


CERTIFICATE = 'certificate = "certs/gate.crt"\nprivate_key = "certs/gate.key"\n'


def test_an_upstream_that_is_shown_a_certificate_and_whose_key_is_pinned(load, tmp_path):
    pin = "ab" * 32
    host = 'host = "smtp.internal"\n'
    text = WHOLE.replace(host, f'{host}{CERTIFICATE}pins = ["{pin}", "{"CD:" * 31}CD"]\n')
    settings = load(text)
    [upstream] = settings.delivery.upstreams
    assert (upstream.certificate, upstream.private_key) == (
        tmp_path / "certs/gate.crt",
        tmp_path / "certs/gate.key",
    )
    assert upstream.pins == {pin, "cd" * 32}
    assert {tmp_path / "certs/gate.crt", tmp_path / "certs/ca.crt", tmp_path / "mailgate.toml"} <= {
        *settings.files
    }


@pytest.mark.parametrize(
    ("added", "words"),
    [
        ('certificate = "a.crt"', "needs both certificate and private_key"),
        (CERTIFICATE + 'tls = "none"', "they would not be used"),
        ('pins = ["abc"]', "is not a SHA-256"),
    ],
)
def test_a_certificate_or_pin_that_can_not_be(refused, added, words):
    host = 'host = "smtp.internal"\n'
    assert words in refused(WHOLE.replace(host, f"{host}{added}\n"))


def test_revocation_lists_and_what_they_mean_once_they_have_expired(load, refused, tmp_path):
    ca = 'client_ca = "certs/ca.crt"\n'
    assert load(WHOLE).tls.client_crl is None
    tls = load(WHOLE.replace(ca, f'{ca}client_crl = "certs/ca.crl"\nexpired_crl = "use"\n')).tls
    assert (tls.client_crl, tls.expired_crl) == (tmp_path / "certs/ca.crl", "use")
    assert '"refuse" or "use"' in refused(WHOLE.replace(ca, f'{ca}expired_crl = "ignore"\n'))


def test_a_client_that_is_bound_to_a_ca(load, refused, tmp_path):
    bound = WHOLE + 'ca = "partner.crt"\n'
    assert "partner.crt" in refused(bound)
    authority = CertificateAuthority(tmp_path / "partner")
    issued = authority.create("협력사 CA", KeyType.EC, 30, force=False)
    (tmp_path / "partner.crt").write_bytes(issued.certificate_file.read_bytes())
    [client] = load(bound).clients
    assert client.authorities == {key_identifier(issued.certificate)}
    assert tmp_path / "partner.crt" in load(bound).files
    [leaf] = authority.issue_clients([ClientRequest("cam")], KeyType.EC, 30, force=False)
    (tmp_path / "partner.crt").write_bytes(leaf.certificate_file.read_bytes())
    assert "which is no CA certificate" in refused(bound)

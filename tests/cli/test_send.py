"""``mailgate send`` against a real TLS server that demands a client certificate."""

import base64
import json
import socket
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseRequestHandler

import pytest
from click.testing import CliRunner
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from mailgate.ca.authority import CertificateAuthority, ClientRequest
from mailgate.ca.issue import KeyType
from mailgate.cli import gateway, main

ACCEPTED = {"id": "0198", "status": "queued", "recipients": [{"email": "kim@x.kr", "status": "queued"}]}


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        length = int(self.headers["Content-Length"])
        if not self.server.refuse_before_body:
            self.server.received.append((self.path, dict(self.headers), json.loads(self.rfile.read(length))))
        status, content_type, body = self.server.answer
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.server.refuse_before_body:
            # Without draining the reset could overtake the answer.
            self.close_connection = True
            self.rfile.read(length)

    def log_message(self, *arguments):
        pass


class Greeter(BaseRequestHandler):
    """Speaks first and no HTTP, as an SMTP server does; reads all there is, so that no reset eats the greeting."""

    def handle(self):
        self.request.sendall(b"220 mail.x.kr ESMTP\r\n")
        while self.request.recv(65536):
            pass


class Server(ThreadingHTTPServer):
    """Shakes hands in the connection's own thread, so that a refused client doesn't end the accepting one."""

    daemon_threads = False
    answer = (202, "application/json", json.dumps(ACCEPTED).encode())
    refuse_before_body = False

    def __init__(self, context):
        super().__init__(("127.0.0.1", 0), Handler)
        self.context = context
        self.received = []

    def finish_request(self, request, client_address):
        request.settimeout(10)
        with self.context.wrap_socket(request, server_side=True) as connection:
            super().finish_request(connection, client_address)

    def handle_error(self, request, client_address):
        pass

    @property
    def url(self):
        return f"https://localhost:{self.server_port}"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A CA with a server and a client, and a stranger of another CA."""
    directory = tmp_path_factory.mktemp("certs")
    for place, client in ((directory, "장치7"), (directory / "other", "stranger")):
        authority = CertificateAuthority(place)
        authority.create("CA", KeyType.EC, 10, force=False)
        authority.issue_clients([ClientRequest(client)], KeyType.EC, 10, force=False)
    CertificateAuthority(directory).issue_server(["localhost"], [], "server", KeyType.EC, 10, force=False)
    return directory


@contextmanager
def serving(certificates, version):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    server = Server(context)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(20)


@pytest.fixture(params=[ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
def server(request, certificates):
    with serving(certificates, request.param) as server:
        yield server


@pytest.fixture
def modern_server(certificates):
    with serving(certificates, ssl.TLSVersion.TLSv1_3) as server:
        yield server


@pytest.fixture
def send(certificates):
    """Run ``mailgate send`` with what every call needs; returns the click result, never with a traceback."""

    def run(url, *arguments, status=0, client="장치7", ca="ca.crt", text="안녕하세요", stdin=None):
        given = {
            "--url": url,
            "--cert": certificates / f"{client}.crt",
            "--key": certificates / f"{client}.key",
            "--ca": certificates / ca,
            "--from": "장치 7 <dev@x.kr>",
            "--to": "kim@x.kr",
            "--subject": "온도 경보",
        }
        base = [str(part) for option in given.items() for part in option]
        more = ["--text", text] if text is not None else []
        result = CliRunner().invoke(main, ["send", *base, *more, *map(str, arguments)], input=stdin)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert result.exit_code == status, result.output
        if status:
            assert result.stdout == ""
            assert result.stderr.startswith("Error: ")
        return result

    return run


def test_a_message_goes_out_whole_and_the_answer_is_printed(server, send, tmp_path):
    html, image, old = tmp_path / "본문.html", tmp_path / "그림 1.png", tmp_path / "옛글.txt"
    old.write_bytes("안녕".encode("cp949"))
    html.write_text("<p>안녕</p>")
    image.write_bytes(b"\x89PNG\r\n\0")

    result = send(
        *(server.url, "--to", "Lee <lee@x.kr>", "--html", html),
        *("--attach", image, "--attach", html, "--attach", old, "--idempotency-key", "key-1"),
    )

    assert json.loads(result.stdout) == ACCEPTED
    [(path, headers, message)] = server.received
    assert path == "/v1/messages"
    assert headers["Content-Type"] == "application/json"
    assert headers["Idempotency-Key"] == "key-1"
    attachments = message.pop("attachments")
    assert message == {
        "from": "장치 7 <dev@x.kr>",
        "to": ["kim@x.kr", "Lee <lee@x.kr>"],
        "subject": "온도 경보",
        "text": "안녕하세요",
        "html": "<p>안녕</p>",
    }
    assert [(each["filename"], each["content_type"]) for each in attachments] == [
        ("그림 1.png", "image/png"),
        ("본문.html", "text/html; charset=utf-8"),
        ("옛글.txt", "text/plain"),
    ]
    assert base64.b64decode(attachments[0]["content"]) == b"\x89PNG\r\n\0"


def test_the_text_comes_from_standard_input(modern_server, send):
    send(modern_server.url, text=None, stdin="여러 줄\n본문\n")

    [(_, headers, message)] = modern_server.received
    assert message["text"] == "여러 줄\n본문\n"
    assert "Idempotency-Key" not in headers


def test_html_alone_reads_no_standard_input(modern_server, send, tmp_path):
    html = tmp_path / "a.html"
    html.write_text("<p>안녕</p>")

    send(modern_server.url, "--html", html, text=None, stdin="not this")

    assert "text" not in modern_server.received[0][2]


def test_a_path_before_the_api_is_kept(modern_server, send):
    send(f"{modern_server.url}/gate/")
    send(f"{modern_server.url}/v1/messages")

    assert [path for path, _, _ in modern_server.received] == ["/gate/v1/messages", "/v1/messages"]


def test_a_problem_is_told_with_all_its_faults(modern_server, send):
    problem = {
        "title": "Sender not allowed",
        "status": 403,
        "detail": "이 보낸 사람은 허용되지 않습니다.",
        "code": "sender_not_allowed",
        "errors": [{"pointer": "#/from", "code": "not_in_policy", "detail": "dev@x.kr is not in senders"}],
    }
    modern_server.answer = (403, "application/problem+json", json.dumps(problem).encode())

    said = send(modern_server.url, status=1).stderr

    assert said == (
        "Error: 이 보낸 사람은 허용되지 않습니다. (403, sender_not_allowed)\n  #/from dev@x.kr is not in senders\n"
    )


@pytest.mark.parametrize("body", [b"<h1>Bad gateway</h1>", b"[]", b""])
def test_an_answer_that_is_no_problem_is_told_by_its_status(body, modern_server, send):
    modern_server.answer = (502, "text/html", body)

    assert "status 502" in send(modern_server.url, status=1).stderr


def test_a_success_that_is_no_json_is_none(modern_server, send):
    modern_server.answer = (200, "text/html", b"<h1>Hello</h1>")

    assert "not in JSON" in send(modern_server.url, status=1).stderr


def test_a_refusal_before_the_body_was_read_is_told(modern_server, send, tmp_path):
    modern_server.refuse_before_body = True
    problem = {"title": "Message too large", "detail": "The message is too large.", "code": "message_too_large"}
    modern_server.answer = (413, "application/problem+json", json.dumps(problem).encode())

    large = tmp_path / "large.bin"
    large.write_bytes(bytes(4 * 1024 * 1024))

    assert "message_too_large" in send(modern_server.url, "--attach", large, status=1).stderr
    assert modern_server.received == []


def test_a_refused_certificate_is_told_in_either_tls(server, send):
    said = send(server.url, status=1, client="other/stranger").stderr

    assert "refused our certificate" in said
    assert "stranger.crt" in said
    assert server.received == []


def test_a_refused_certificate_is_told_with_a_large_message_too(server, send, tmp_path):
    large = tmp_path / "large.bin"
    large.write_bytes(bytes(8 * 1024 * 1024))

    said = send(server.url, "--attach", large, status=1, client="other/stranger").stderr

    assert "refused our certificate" in said


def test_a_gateway_of_another_ca_is_not_trusted(server, send):
    said = send(server.url, status=1, ca="other/ca.crt").stderr

    assert "can't be trusted" in said
    assert "other/ca.crt" in said
    assert server.received == []


def test_a_ca_without_key_usage_is_taken_whatever_the_version_of_python(certificates):
    credentials = gateway.Credentials(
        certificates / "장치7.crt", certificates / "장치7.key", certificates / "ca.crt"
    )

    context = credentials.context()

    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode == ssl.CERT_REQUIRED
    assert context.check_hostname


def test_a_gateway_of_another_name_is_not_trusted(modern_server, send):
    said = send(modern_server.url.replace("localhost", "127.0.0.1"), status=1).stderr

    assert "is for another name" in said
    assert modern_server.received == []


def test_nothing_that_listens(send):
    with socket.create_server(("127.0.0.1", 0)) as reserved:
        port = reserved.getsockname()[1]

    assert f"Nothing listens at localhost:{port}" in send(f"https://localhost:{port}", status=1).stderr


def test_a_host_that_is_not_there(send):
    assert "can't be found" in send("https://nowhere.invalid:8443", status=1).stderr


@contextmanager
def plain_peer(answer):
    """Accept one plain connection, read a little, answer with bytes (or nothing for None until the test ends)."""
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(10)
    done = threading.Event()

    def serve():
        connection, _ = listener.accept()
        with connection:
            if answer is None:
                done.wait(20)
                return
            connection.settimeout(10)
            connection.recv(4096)
            connection.sendall(answer)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        done.set()
        thread.join(20)
        listener.close()


def test_a_peer_without_tls(send):
    with plain_peer(b"220 mail.x.kr ESMTP\r\n") as url:
        assert "does not speak TLS" in send(url, status=1).stderr


def test_an_answer_in_another_protocol(certificates, send):
    with serving(certificates, ssl.TLSVersion.TLSv1_3) as server:
        server.RequestHandlerClass = Greeter

        assert "not in HTTP" in send(server.url, status=1).stderr


def test_a_peer_that_hangs_up(send):
    with plain_peer(b"") as url:
        assert "closed the connection without an answer" in send(url, status=1).stderr


def test_a_peer_that_is_silent(send, monkeypatch):
    monkeypatch.setattr(gateway, "TIMEOUT", 0.2)
    with plain_peer(None) as url:
        assert "did not answer within" in send(url, status=1).stderr


@pytest.mark.parametrize(
    "url",
    ["http://localhost:8443", "localhost:8443", "https://", "https://x:port", "https://x/?a=b", "https://x/a b"],
)
def test_what_is_no_url_of_a_gateway(url, send):
    assert "URL" in send(url, status=1).stderr


@pytest.mark.parametrize("key", ["", "줄", "a\nb", "x" * 256])
def test_what_is_no_idempotency_key(key, send):
    assert "idempotency key" in send("https://localhost:1", "--idempotency-key", key, status=1).stderr


def test_an_encrypted_key_is_no_prompt_but_a_sentence(send, certificates, tmp_path):
    key = load_pem_private_key((certificates / "장치7.key").read_bytes(), None)
    locked = tmp_path / "locked.key"
    locked.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption("비밀".encode()))
    )

    assert "locked.key is encrypted" in send("https://localhost:1", "--key", locked, status=1).stderr


def test_text_that_is_not_utf_8_is_told(modern_server, send):
    assert "not UTF-8" in send(modern_server.url, "--subject", "\udcff", status=1).stderr


def test_an_internationalised_host_is_looked_up_by_its_a_label(send):
    said = send("https://메일.invalid", status=1).stderr

    assert "xn--h32bq4v.invalid can't be found" in said
    assert "not a host name" in send("https://메일..invalid", status=1).stderr


def test_files_that_cant_be_used_are_named(send, certificates, tmp_path):
    (tmp_path / "latin").write_bytes(b"\xff")
    url = "https://localhost:1"

    assert "nobody.crt: No such file" in send(url, status=1, client="nobody").stderr
    assert "no readable PEM certificate" in send(url, status=1, ca="ca.key").stderr
    assert "don't belong together" in send(url, "--key", certificates / "server.key", status=1).stderr
    assert "not readable PEM" in send(url, "--key", tmp_path / "latin", status=1).stderr
    assert "latin is not UTF-8" in send(url, "--html", tmp_path / "latin", status=1).stderr
    assert "missing: No such file" in send(url, "--attach", tmp_path / "missing", status=1).stderr
    assert "Standard input is not UTF-8" in send(url, text=None, stdin=b"\xff", status=1).stderr

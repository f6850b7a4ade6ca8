import json
import smtplib
import socket
import subprocess
import sys

import pytest

LETTER = "Subject: 안녕하세요\r\n\r\n온도가 42 °C입니다.\r\n".encode()
ENVELOPE = ("sensor-7@example.com", ["kim@example.com", "lee@xn--3e0b707e.example"])


def send(client: smtplib.SMTP, content: bytes, *options: str) -> tuple[int, bytes]:
    """Send octets just as they are, but for the stuffing of dots."""
    client.mail("sensor-7@example.com", [*options, "body=8bitmime"])
    client.rcpt("kim@example.com")
    client.putcmd("data")
    code, reply = client.getreply()
    assert code == 354, reply
    stuffed = (b"\r\n" + content).replace(b"\r\n.", b"\r\n..")[2:]
    client.send(stuffed + b".\r\n")
    return client.getreply()


def test_keeps_the_very_octets_and_the_envelope(server):
    client = server.connect()
    client.sendmail(*ENVELOPE, LETTER, mail_options=["body=8bitmime"])
    client.quit()
    (path,) = server.mail()
    assert path.read_bytes() == LETTER
    envelope = json.loads(path.with_suffix(".json").read_text())
    assert (envelope["mail_from"], envelope["rcpt_to"], envelope["tls"]) == (*ENVELOPE, True)
    assert {file.suffix for file in server.stage.mail.iterdir()} == {".eml", ".json"}


def test_takes_an_address_beyond_ascii_with_smtputf8_only(server):
    client = server.connect()
    client.command_encoding = "utf-8"
    assert client.mail("센서@example.com")[0] == 553
    assert client.mail("센서@example.com", ["SMTPUTF8"])[0] == 250
    assert client.rcpt("김철수@example.com")[0] == 250
    assert client.data(b"Subject: x\r\n\r\ny\r\n")[0] == 250
    (path,) = server.mail()
    assert json.loads(path.with_suffix(".json").read_text())["rcpt_to"] == ["김철수@example.com"]


@pytest.mark.parametrize(
    "content",
    [
        b".\r\n",
        b"..\r\n.\r\n.x\r\n",
        b"Subject: x\r\n\r\n.\r\n.\r\nMAIL FROM:<evil@example.com>\r\n.\r\n",
        b"",
        b"x" * 998 + b"\r\n",
    ],
    ids=["one dot", "several", "a hidden transaction", "nothing", "the longest line"],
)
def test_lone_dots_are_content(server, content):
    assert send(server.connect(), content)[0] == 250
    (path,) = server.mail()
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "content",
    [
        b"a\n.\nMAIL FROM:<evil@example.com>\r\n",
        b"a\r.\rMAIL FROM:<evil@example.com>\r\n",
        b"a\n.\r\n.\r\n",
        b"a\r\r\n",
        b"a\0b\r\n",
        b"x" * 999 + b"\r\n",
    ],
    ids=["bare LF", "bare CR", "LF before the end", "two CR", "NUL", "long line"],
)
def test_what_could_smuggle_is_read_to_its_true_end_and_refused(server, content):
    client = server.connect()
    assert send(client, content)[0] == 554
    assert client.noop()[0] == 250
    assert send(client, LETTER)[0] == 250
    assert [path.read_bytes() for path in server.mail()] == [LETTER]


def test_looks_through_a_large_message_of_long_lines_within_the_clients_patience(server):
    content = (("온" * 300).encode() + b"\r\n") * 20_000
    assert send(server.connect(), content)[0] == 250
    (path,) = server.mail()
    assert path.read_bytes() == content


def test_refuses_eight_bit_content_that_was_not_announced(server):
    client = server.connect()
    client.mail("a@example.com")
    client.rcpt("b@example.com")
    assert client.data(LETTER) == (554, b"5.6.1 8-bit content without BODY=8BITMIME")


def test_refuses_what_the_announced_size_forbids(server):
    client = server.connect()
    limit = int(client.esmtp_features["size"])
    assert client.mail("a@example.com", [f"SIZE={limit + 1}"])[0] == 552
    assert client.mail("a@example.com", [f"SIZE={limit}"])[0] == 250


def test_takes_no_mail_outside_tls(server):
    with smtplib.SMTP("localhost", server.port, timeout=10) as client:
        client.ehlo()
        assert client.has_extn("starttls")
        assert client.mail("a@example.com")[0] == 530


def test_drops_a_connection_that_sends_commands_behind_starttls(server):
    with socket.create_connection(("localhost", server.port), timeout=10) as raw:
        raw.sendall(b"EHLO x\r\nSTARTTLS\r\nMAIL FROM:<evil@example.com>\r\n")
        said = b""
        while octets := raw.recv(4096):
            said += octets
    assert said.splitlines()[-1].startswith(b"503 5.5.1 nothing may follow STARTTLS")


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("DATA", 503),
        ("RCPT TO:<a@example.com>", 503),
        ("MAIL a@example.com", 501),
        ("MAIL FROM:<a@example.com> RET=FULL", 555),
        ("STARTTLS", 503),
        ("한국", 500),
        ("VRFY x", 252),
        ("RSET", 250),
    ],
)
def test_commands_out_of_order_or_unknown(server, command, code):
    client = server.connect()
    client.command_encoding = "utf-8"
    assert client.docmd(command)[0] == code


def test_pipelined_transactions_are_answered_in_order(server):
    client = server.connect()
    transaction = "MAIL FROM:<a@example.com>\r\nRCPT TO:<b@example.com>\r\nDATA"
    client.send(f"{transaction}\r\n")
    assert [client.getreply()[0] for _ in range(3)] == [250, 250, 354]
    client.send(f"Subject: 1\r\n\r\nx\r\n.\r\n{transaction}\r\n")
    assert [client.getreply()[0] for _ in range(4)] == [250, 250, 250, 354]
    client.send("Subject: 2\r\n\r\nx\r\n.\r\nQUIT\r\n")
    assert [client.getreply()[0] for _ in range(2)] == [250, 221]
    assert [path.read_bytes()[:10] for path in server.mail()] == [b"Subject: 1", b"Subject: 2"]


def test_a_message_without_its_final_dot_is_not_kept(server):
    client = server.connect()
    client.mail("a@example.com")
    client.rcpt("b@example.com")
    client.docmd("DATA")
    client.send(b"Subject: half\r\n\r\n")
    client.close()
    other = server.connect()
    assert send(other, LETTER)[0] == 250
    assert [path.read_bytes() for path in server.mail()] == [LETTER]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--directory", "{folder}", "--port", "{taken}"], "port {taken} can't be listened on"),
        (
            ["--directory", "{folder}", "--certificate", "{folder}/no", "--key", "{folder}/no"],
            "are no certificate",
        ),
        (["--directory", "/dev/null/mail"], "/dev/null/mail: Not a directory"),
    ],
)
def test_says_in_one_sentence_why_it_cannot_start(server, tmp_path, arguments, sentence):
    facts = {"folder": tmp_path, "taken": server.port}
    done = subprocess.run(
        [sys.executable, "-m", "mailgate.demo.smtp_server", *(each.format(**facts) for each in arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert sentence.format(**facts) in done.stderr
    assert len(done.stderr.splitlines()) == 1

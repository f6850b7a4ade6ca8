"""Answers that a gateway gives only when its operator or its load wants so, given to each example."""

import socket
import ssl
import threading

import pytest

pytestmark = pytest.mark.e2e

WELCOME = "220 mailgate/1 gate.example.com id=camera size=26214400 time=1767225600 expires=364\n"
HOUR = 3600


class Answers:
    """Greets a client of the stage's CA, answers its SEND, and closes; one client after the other."""

    def __init__(self, certificates, greeting, answer):
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=certificates / "ca.crt")
        self._context.verify_mode = ssl.CERT_REQUIRED
        self._context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
        self._greeting, self._answer = greeting, answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(30)
        self._listener.close()

    def _serve(self):
        while True:
            try:
                plain, _ = self._listener.accept()
            except OSError:
                return
            with plain, self._context.wrap_socket(plain, server_side=True) as client:
                client.sendall(self._greeting.encode())
                received = b""
                while self._greeting.startswith("220 ") and b"\nSEND\n" not in received:
                    octets = client.recv(65536)
                    if not octets:
                        break
                    received += octets
                else:
                    client.sendall(self._answer.encode())


@pytest.fixture
def answers(stage):
    made = []

    def make(greeting=WELCOME, answer=""):
        made.append(Answers(stage.certificates, greeting, answer))
        return made[-1].port

    yield make
    for each in made:
        each.close()


def test_a_device_that_is_shut_out_while_it_sends_keeps_its_message(pause, answers):
    paused = pause(answers(answer="535 5.7.8 - client disabled\n"), "a-1")
    assert paused.reply == "535 5.7.8 - client disabled"
    assert "the message is kept" in paused.errors
    assert HOUR * 3 / 4 <= paused.seconds <= HOUR


@pytest.mark.parametrize("greeting", ["554 5.7.0 - not today\n", "450 4.7.0 - not today\n"])
def test_no_greeting_makes_a_device_give_up(pause, answers, greeting):
    paused = pause(answers(greeting=greeting), "a-2")
    assert paused.reply == greeting.rstrip()
    assert 3 <= paused.seconds <= 5


def test_a_greeting_may_say_how_long_to_wait(pause, answers):
    paused = pause(answers(greeting="421 4.7.0 - retry=400 closing: too many connections\n"), "a-3")
    assert 400 <= paused.seconds <= 500


def test_only_the_final_line_of_a_reply_says_how_long_to_wait(pause, answers):
    paused = pause(answers(answer="450-4.7.0 retry=4000 of something else\n450 4.7.0 a-4 retry=40 rate\n"), "a-4")
    assert paused.reply == "450 4.7.0 a-4 retry=40 rate"
    assert 40 <= paused.seconds <= 50


@pytest.mark.parametrize(
    "answer", ["250 2.0.0 a-5 id=0198c0de\n", "250-2.0.0 a detail\n250-2.0.0 another\n250 2.0.0 a-5 id=0198c0de\n"]
)
def test_a_gateway_that_tells_no_size_is_asked(example, answers, answer):
    port = answers(greeting="220 mailgate/1 gate.example.com id=camera caps=a,b\n", answer=answer)
    result = example.send(port, "a-5")
    assert (result.status, result.lines) == (0, ["250 2.0.0 a-5 id=0198c0de"]), result

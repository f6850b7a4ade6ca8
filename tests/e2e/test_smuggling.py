"""What could end a message early, or begin another: it arrives as one message, or is refused."""

import email
import email.policy

import pytest
from harness.gateway import SENDER, message
from harness.waiting import until

COMMANDS = (
    "MAIL FROM:<evil@example.com>\r\nRCPT TO:<boss@example.com>\r\nDATA\r\nSubject: 밀수\r\n\r\n안녕\r\n.\r\n"
)
ENDS = [
    *("\r\n.\r\n", "\n.\n", "\r.\r", "\r\n.\n", "\n.\r\n", "\r\n.\r", "\r.\r\n", "\r.\n", "\n.\r"),
    *("\r\n\0.\r\n", "\r\n.\0\r\n", "\r\r\n.\r\r\n", "\x85.\x85", "\u2028.\u2028", "\n\n.\n\n"),
]
EDGE = 16384
"""Where twisted.mail's own client begins a new chunk, and forgets that the one before ended with a line."""


@pytest.fixture(params=["embedded", "postfix"])
def server(request):
    """The internal server, and how many messages it has."""
    if request.param == "embedded":
        internal = request.getfixturevalue("internal")
        return internal.port, lambda: [kept.content for kept in internal.kept()]
    postfix = request.getfixturevalue("postfix")
    return postfix.port, postfix.messages


def texts():
    yield from (f"앞{end}{COMMANDS}" for end in ENDS)
    yield from (f".{end}" for end in ENDS)
    for shift in range(-4, 4):
        start = f"{'가' * 20}\r\n" * 4000
        # Wherever the edge falls in the composed message, some line ends there and a dot begins the next.
        yield start.encode()[: EDGE * 2 + shift].decode(errors="ignore") + "\r\n.\r\n" * 4000
    yield "x" * 100_000
    yield "\r\n".join("." * count for count in range(70))


def raw_contents():
    head = f"From: {SENDER}\r\nSubject: x\r\n\r\n"
    for end in ENDS:
        yield f"{head}a{end}{COMMANDS}"
    for shift in range(-4, 4):
        filler = "y" * 62 + "\r\n"
        block = (filler * (EDGE // len(filler) * 2))[: EDGE + shift - len(head) - 2]
        yield head + block[: block.rfind("\r\n")] + "\r\n.\r\n" * 6000
    yield head + "z" * 998 + "\r\n"
    yield head + "z" * 999 + "\r\n"
    yield head + "."
    yield head


@pytest.mark.parametrize("door", ["json", "rfc822"])
def test_nothing_becomes_two_messages(door, server, new_gateway):
    port, messages = server
    gateway = new_gateway(port).start()
    accepted = 0
    with gateway.client() as client:
        for text in texts() if door == "json" else raw_contents():
            if door == "json":
                answer = client.submit(message(text=text))
            else:
                answer = client.submit_raw(text.encode(), SENDER, "kim@example.com")
            assert answer.status in {202, 422}, answer.body
            accepted += answer.status == 202
        # The last one is delivered last or the count is short: either way nothing is on its way any more.
        last = client.submit(message("끝"))
        accepted += 1
        until(lambda: client.state(last["id"])["status"] == "accepted", "the last delivery")
        until(lambda: len(messages()) >= accepted, "all deliveries", 60)
    gateway.stop()
    assert len(messages()) == accepted
    for content in messages():
        mail = email.message_from_bytes(content, policy=email.policy.default)
        assert mail["From"].addresses[0].addr_spec == SENDER
        assert "boss@example.com" not in str(mail.get("Delivered-To"))
    subjects = {
        str(email.message_from_bytes(content, policy=email.policy.default)["Subject"]) for content in messages()
    }
    assert "밀수" not in subjects


@pytest.mark.parametrize("text", [f"앞{end}뒤{end}" for end in ENDS])
def test_the_text_of_a_message_is_one_message_with_that_text(text, gateway, internal):
    with gateway.client() as client:
        answer = client.submit(message(text=text))
        if answer.status == 422:
            assert answer["errors"][0]["pointer"] == "#/text"
            return
        until(lambda: len(internal.kept()) == 1, "the delivery")
    (kept,) = internal.kept()
    mail = email.message_from_bytes(kept.content, policy=email.policy.default)
    told = mail.get_body().get_content()
    lines = "\n".join(text.replace("\r\n", "\n").replace("\r", "\n").split("\n"))
    assert told.replace("\r\n", "\n").rstrip("\n") == lines.rstrip("\n")

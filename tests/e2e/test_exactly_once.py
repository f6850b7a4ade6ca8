"""A thousand messages over keep-alive connections: each arrives once, and as it was sent."""

import base64
import email
import email.policy
import random

from harness.gateway import SENDER, message
from harness.load import send_all
from harness.waiting import until

COUNT = 1000


def test_a_thousand_messages_arrive_exactly_once_as_they_were_sent(gateway, internal):
    noise = random.Random(7)
    texts = [f"{number}번\n" + "온도 42 °C " * noise.randrange(200) + "\n.\n..\n끝\n" for number in range(COUNT)]
    files = [noise.randbytes(noise.randrange(2000)) for _ in range(COUNT)]
    sent = send_all(gateway.client, [letter(text, file) for text, file in zip(texts, files, strict=True)])
    assert len(set(sent)) == COUNT
    received = delivered_once(gateway, internal)
    assert sorted(received) == sorted(sent)
    for message_id, text, file in zip(sent, texts, files, strict=True):
        mail = email.message_from_bytes(received[message_id], policy=email.policy.default)
        (attachment,) = mail.iter_attachments()
        assert mail.get_body().get_content().replace("\r\n", "\n") == text
        assert attachment.get_payload(decode=True) == file


def test_the_octets_of_a_finished_message_arrive_untouched(gateway, internal):
    noise = random.Random(8)
    bodies = [body(noise) for _ in range(COUNT)]

    def submit(client, number):
        header = f"Message-ID: <{number}@x>\r\nFrom: {SENDER}\r\nSubject: {number}\r\n\r\n".encode()
        return client.submit_raw(header + bodies[number], SENDER, "kim@example.com")

    send_all(gateway.client, list(range(COUNT)), submit)
    received = delivered_once(gateway, internal)
    assert {key: content.partition(b"\r\n\r\n")[2] for key, content in received.items()} == {
        f"<{number}@x>": bodies[number] for number in range(COUNT)
    }


def delivered_once(gateway, internal):
    """Wait for all messages, let the gateway finish, and return them by Message-ID, none of them twice."""
    until(lambda: len(internal.files()) >= COUNT, "all deliveries", 120)
    gateway.stop()
    kept = internal.kept()
    assert len(kept) == COUNT
    return {
        email.message_from_bytes(each.content, policy=email.policy.default)["Message-ID"]: each.content
        for each in kept
    }


def letter(text, file):
    attachment = {"filename": "기록.bin", "content": base64.b64encode(file).decode()}
    return message(text=text, attachments=[attachment])


def body(noise):
    """Return what makes bodies hard: dots, lines of every length, all octets that may be."""
    octets = bytes(set(range(1, 256)) - {10, 13})
    lines = [bytes(noise.choices(octets, k=noise.choice([1, 70, 998]))) for _ in range(noise.randrange(8))]
    lines += [b".", b"..", b".\t", b". x", b""]
    noise.shuffle(lines)
    return b"\r\n".join(lines) + b"\r\n"

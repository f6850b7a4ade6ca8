"""The line door of a real gateway: what a device was promised, and what its messages become."""

import base64
import re
import socket
from contextlib import ExitStack
from email import message_from_bytes
from email.policy import SMTP
from pathlib import Path

import pytest
from harness.device import counted
from harness.waiting import until

MANY = 10_000
LARGE = 20 * 1024 * 1024
FEW_OCTETS = 512 * 1024
KEEPALIVE = 2


def resident(gateway):
    status = Path(f"/proc/{gateway.program.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status)[1]) * 1024


def without_trace(content):
    """Return a mail without what tells one acceptance from another."""
    header, _, body = content.partition(b"\r\n\r\n")
    header = re.sub(rb"(?m)^(Received:(?:.|\r\n )*?|Message-ID:.*?|Date:.*?)\r\n(?! )", b"", header)
    return header, body


def test_the_same_message_through_both_doors_is_the_same_mail(gateway, internal):
    picture = bytes(range(256)) * 240
    message = {
        "from": "온도 센서 7 <sensor-7@example.com>",
        "to": ["김철수 <kim@example.com>", "lee@한국.example"],
        "cc": ["ops@example.com"],
        "bcc": ["audit@example.com"],
        "reply_to": ["help@example.com"],
        "subject": "3번 구역의 온도 경고",
        "headers": {"X-Device": "7"},
        "text": "3번 구역이 뜨겁습니다.\n.\n\nFrom here on\n",
        "html": "<p>3번 구역이 <b>뜨겁습니다</b>.</p><img src='cid:chart'>\n",
        "attachments": [
            {
                "filename": "chart",
                "content": base64.b64encode(picture[:999]).decode(),
                "content_type": "image/png",
                "content_id": "chart",
            },
            {
                "filename": "현장 사진.jpg",
                "content": base64.b64encode(picture).decode(),
                "content_type": "image/jpeg",
            },
        ],
    }
    with gateway.client() as client:
        assert client.submit(message).status == 202
    until(lambda: len(internal.files()) == 1, "the first delivery")
    lines = [
        "MAIL",
        f"FROM {message['from']}",
        "TO 김철수 <kim@example.com>",
        "TO lee@한국.example",
        "CC ops@example.com",
        "BCC audit@example.com",
        "REPLY help@example.com",
        f"SUBJ {message['subject']}",
        "HDR X-Device: 7",
        "TEXT 3번 구역이 뜨겁습니다.",
        "TEXT .",
        "TEXT ",
        "TEXT From here on",
    ]
    octets = "".join(f"{line}\n" for line in lines).encode()
    octets += counted("HTML", message["html"].encode())
    octets += counted("EMBED", picture[:999], "image/png", "chart")
    octets += counted("FILE", picture, "image/jpeg", "현장 사진.jpg")
    with gateway.device() as device:
        assert device.say(octets + b"SEND\n").startswith("250 2.0.0 - id=")
    until(lambda: len(internal.files()) == 2, "the second delivery")
    by_https, by_lines = internal.kept()
    assert without_trace(by_https.content) == without_trace(by_lines.content)
    assert (by_https.mail_from, by_https.rcpt_to) == (by_lines.mail_from, by_lines.rcpt_to)
    assert b" with HTTPS" in by_https.content
    assert b" with LINES" in by_lines.content


def test_a_key_is_the_same_key_at_both_doors_and_after_a_crash(gateway, internal):
    body = {"from": "sensor-7@example.com", "to": "kim@example.com", "subject": "a", "text": "b\n"}
    octets = "MAIL b7-12\nFROM sensor-7@example.com\nTO kim@example.com\nSUBJ a\nTEXT b\n"
    with gateway.device() as device:
        first = device.say(octets + "SEND\n")
    gateway.program.kill()
    gateway.start()
    with gateway.device() as device:
        assert device.say(octets + "SEND\n") == f"{first} dup"
        assert device.say(octets + "TEXT c\nSEND\n").startswith("555 5.5.6 b7-12 ")
        until(lambda: device.say("STAT b7-12\n") == f"{first} state=accepted", "the delivery")
    with gateway.client() as client:
        answer = client.submit(body, Idempotency_Key="b7-12")
        assert answer.headers["Idempotent-Replayed"] == "true"
        assert f"250 2.0.0 b7-12 id={answer['id']}" == first
    # The killed gateway may have delivered it, too late to write that down.
    assert len(set(internal.message_ids())) == 1


def test_ten_thousand_pipelined_messages_are_acknowledged_in_order_and_delivered_once(gateway, internal):
    message = "MAIL k{0}\nFROM sensor-7@example.com\nTO kim@example.com\nSUBJ {0}\nSEND\n"
    with gateway.device() as device:
        device.send("".join(message.format(number) for number in range(MANY)))
        keys = [device.line().split()[2] for _ in range(MANY)]
    assert keys == [f"k{number}" for number in range(MANY)]
    until(lambda: len(internal.files()) == MANY, "the deliveries", 120)
    assert len(set(internal.message_ids())) == MANY


def test_a_large_file_from_a_slow_device_takes_little_memory(new_gateway, internal):
    gateway = new_gateway(internal.port)
    gateway.tables["limits"] = {"max_message": "30 MiB"}
    gateway.start()
    with ExitStack() as opened:
        upload([opened.enter_context(gateway.device()) for _ in range(8)], gateway)
    until(lambda: len(internal.files()) == 1, "the delivery")
    [file] = message_from_bytes(internal.kept()[0].content, policy=SMTP).iter_attachments()
    assert file.get_payload(decode=True) == bytes(LARGE)
    until(lambda: spools(gateway) == [], "that the spools are given back")


def upload(devices, gateway):
    """Upload a file from each device, and complete the first one's message."""
    for device in devices:
        device.send("MAIL\nFROM sensor-7@example.com\nTO kim@example.com\nSUBJ 사진\n")
        device.send(f"FILE#{LARGE} image/jpeg a.jpg\n")
        device.send(bytes(FEW_OCTETS))
    until(lambda: len(spools(gateway)) == len(devices), "the spools")
    before = resident(gateway)
    piece = bytes(FEW_OCTETS)
    for _ in range(LARGE // FEW_OCTETS - 1):
        for device in devices:
            device.send(piece)
    until(lambda: sum(spools(gateway)) > len(devices) * LARGE, "what is on its way")
    assert resident(gateway) - before < len(devices) * FEW_OCTETS
    assert devices[0].say(b"\nSEND\n").startswith("250 ")


def spools(gateway):
    """Return the sizes of the files without a name that the gateway has open."""
    sizes = []
    for link in Path(f"/proc/{gateway.program.pid}/fd").iterdir():
        try:
            if "(deleted)" in str(link.readlink()) and "queue/" in str(link.readlink()):
                sizes.append(link.stat().st_size)
        except OSError:
            continue
    return sizes


def test_a_stop_tells_devices_and_loses_nothing(gateway, internal):
    with gateway.device() as idle, gateway.device() as busy:
        first = busy.say("MAIL k\nFROM sensor-7@example.com\nTO kim@example.com\nSEND\n")
        assert first.startswith("250 ")
        busy.send("MAIL k2\nFROM sensor-7@example.com\n")
        gateway.stop()
        for device in (idle, busy):
            assert device.line() == "421 4.3.2 - closing: the gateway is shutting down"
    until(lambda: len(internal.files()) == 1, "the delivery")


def test_the_door_is_closed_unless_the_settings_have_it(new_gateway, internal):
    gateway = new_gateway(internal.port)
    del gateway.tables["lines"]
    gateway.start()
    with pytest.raises(ConnectionRefusedError):
        gateway.device()
    gateway.stop()


def test_a_port_that_is_taken_is_told(new_gateway):
    gateway = new_gateway(1)
    with socket.create_server(("127.0.0.1", gateway.lines_port)):
        program = gateway.launch()
        until(lambda: not program.running, "the end of a gateway that can't start")
    assert f"the lines door can't listen on tcp:{gateway.lines_port}" in gateway.log


def test_keepalive_is_asked_of_the_kernel(gateway):
    with gateway.device() as device:
        port = device.tls.getsockname()[1]
        # The timer of another kind is that of an octet which the peer has not confirmed yet.
        until(lambda: timer(gateway, port)[0] == KEEPALIVE, "the timer of keepalive")
        assert timer(gateway, port)[1] < 240


def timer(gateway, port):
    """Return kind and seconds of the kernel's timer for the gateway's end of a connection (proc(5))."""
    rows = [row.split() for row in Path(f"/proc/{gateway.program.pid}/net/tcp").read_text().splitlines()[1:]]
    [found] = [row[5] for row in rows if row[2].endswith(f":{port:04X}")]
    kind, jiffies = found.split(":")
    return int(kind), int(jiffies, 16) / 100

"""Each example of a device against a real gateway: what it sends arrives once, and it retries as it should."""

import dataclasses
import re
from email import message_from_bytes
from email.policy import SMTP

import pytest
from harness.waiting import until

pytestmark = pytest.mark.e2e

PICTURE = b"R\nK\nQ\nSEND\r\n.\r\n\0\xff\xd8" + bytes(range(256)) * 240
SWALLOW_AFTER = 16 * 1024


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "camera.jpg"
    path.write_bytes(PICTURE)
    return path


def delivered(internal, reply):
    """Return the mail that a reply acknowledged, once the internal server has it."""
    identifier = re.fullmatch(r"250 2\.0\.0 \S+ id=(\S+?)(?: dup)?", reply.rstrip())[1].encode()

    def found():
        return [each.content for each in internal.kept() if b"<" + identifier + b"@" in each.content]

    until(lambda: bool(found()), "the delivery")
    assert len(found()) == 1
    return message_from_bytes(found()[0], policy=SMTP)


def test_a_message_with_a_picture_arrives_as_it_was_sent(example, gateway, internal, picture):
    result = example.send(gateway.lines_port, "b7-1", picture, "image/jpeg")
    assert result.status == 0, result
    [reply] = result.lines
    mail = delivered(internal, reply)
    assert mail["Subject"] == "온도 경고, 81 °C"
    assert (mail["From"], mail["To"]) == ("cam3@example.com", "ops@example.com")
    assert mail.get_body().get_content() == "3번 구역이 뜨겁습니다.\r\n"
    [file] = mail.iter_attachments()
    assert (file.get_filename(), file.get_content_type()) == ("camera.jpg", "image/jpeg")
    assert file.get_payload(decode=True) == PICTURE


def test_nothing_in_a_text_becomes_a_command(example, gateway, internal):
    text = "a\nSEND\nMAIL x\nFROM root@example.com\n.\n"
    result = example.send(gateway.lines_port, "b7-2", text=text)
    assert result.status == 0, result
    mail = delivered(internal, result.lines[0])
    assert mail.get_body().get_content().splitlines() == text.splitlines()


def test_five_gives_up(example, gateway, internal, picture):
    before = len(internal.files())
    result = example.send(gateway.lines_port, "b7-3", picture, "image/jpeg", device="narrow", tries=3)
    assert (result.status, len(result.lines)) == (5, 1), result
    assert result.lines[0].startswith(f"550 5.7.1 {example.key('b7-3')} ")
    assert len(internal.files()) == before


def test_four_sends_again_after_the_time_that_was_asked_for(example, gateway, internal):
    results = [
        example.send(gateway.lines_port, f"b7-{part}", device="hasty", tries=4) for part in ("4a", "4b", "4c")
    ]
    assert [result.status for result in results] == [0, 0, 0]
    lines = [line for result in results for line in result.lines]
    waits = [line for line in lines if line.startswith("450 4.7.0 ")]
    assert waits
    assert all(" retry=1 " in line for line in waits)
    for line in lines:
        if line.startswith("250"):
            delivered(internal, line)


def test_a_lost_reply_sends_again_and_the_message_was_sent_once(example, gateway, internal, cable, picture):
    def accepted():
        return [event for event in gateway.events("message.accepted") if event["size"] > len(PICTURE)]

    before, replayed = len(accepted()), len(gateway.events("message.replayed"))

    def cut():
        if len(accepted()) == before:
            return False
        cable.swallow_after = None
        return True

    cable.swallow_after, cable.cut = SWALLOW_AFTER, cut
    result = example.send(cable.port, "b7-5", picture, "image/jpeg", tries=2)
    assert result.status == 0, result
    assert (result.lines[0], len(result.lines)) == ("lost", 2), result
    assert len(accepted()) == before + 1
    assert len(gateway.events("message.replayed")) == replayed + 1
    delivered(internal, result.lines[-1])


def test_a_gateway_that_is_not_there_is_tried_again_later(example):
    assert example.send(1, "b7-6").status == 4


def test_a_gateway_of_another_ca_or_name_is_told_nothing(example, gateway, other_name, other_ca):
    before = gateway.events("message.accepted")
    assert dataclasses.replace(example, ca=other_ca).send(gateway.lines_port, "b7-7").status == 4
    assert example.send(other_name.port, "b7-7", host="127.0.0.2").status == 4
    assert sum(other_name.flights) > 0
    assert gateway.events("message.accepted") == before
    with gateway.device("camera") as device:
        assert device.say(f"STAT {example.key('b7-7')}\n").endswith(" never accepted")

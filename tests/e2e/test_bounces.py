"""Giving up tells somebody: a notice of non-delivery to the address in the client's settings."""

import email
import email.policy
import os
import random
import signal
import sys
from collections import Counter

import pytest
from harness.gateway import message
from harness.load import Stream
from harness.waiting import until

from mailgate.demo.stage import CLIENT

SUBJECT = "3번 구역의 온도 경고입니다, 확인하여 주시기 바랍니다 — 온도가 기준을 넘었습니다"
KILLS = 4


@pytest.fixture
def bouncing(new_gateway, postfix):
    """A gateway in front of Postfix, not yet started, whose client wants to hear of what ends undelivered."""
    gateway = new_gateway(postfix.port)
    gateway.tables[f"clients.{CLIENT}"]["bounces"] = "ops@example.com"
    return gateway


def notices(postfix):
    """Return the notices that Postfix has delivered."""
    mails = [email.message_from_bytes(each, policy=email.policy.default) for each in postfix.messages()]
    return [mail for mail in mails if mail.get_content_type() == "multipart/report"]


def groups(notice):
    """Return the fields about the message, and those about each recipient."""
    _, status, _ = notice.iter_parts()
    assert status.get_content_type() == "message/delivery-status"
    return status.get_payload()


def submit(client, *to, **fields):
    receipt = client.submit(message(SUBJECT, to=list(to), **fields))
    assert receipt.status == 202
    return receipt


def test_a_recipient_that_is_refused_is_told_of(bouncing, postfix):
    bouncing.start()
    with bouncing.client() as client:
        receipt = submit(client, "김철수 <kim@example.com>", "nobody@example.com")
        until(lambda: notices(postfix), "the notice")
        [notice] = notices(postfix)
        [queued] = bouncing.events("bounce.queued")
        until(lambda: client.state(queued["message"])["status"] == "accepted", "the notice's outcome")
        assert client.state(receipt["id"])["status"] == "partially_accepted"
    assert (queued["about"], queued["client"], queued["undelivered"]) == (receipt["id"], CLIENT, 1)
    assert notice["Return-Path"] == "<>"
    assert notice["Delivered-To"] == notice["To"] == "ops@example.com"
    assert notice["From"].addresses[0].addr_spec == "MAILER-DAEMON@gate.example.com"
    assert notice["Subject"] == f"전달 실패 / Undelivered: {SUBJECT}"
    assert (notice["In-Reply-To"], notice["Auto-Submitted"]) == (receipt["message_id"], "auto-replied")
    text, _, header = notice.iter_parts()
    for words in (SUBJECT, "nobody@example.com", "550 5.1.1", "there is nobody here", "다시 시도하지 않습니다"):
        assert words in text.get_content()
    assert "kim@example.com" not in text.get_content()
    about, recipient = groups(notice)
    assert about["Original-Envelope-Id"] == receipt["id"]
    assert about["Reporting-MTA"] == "dns; gate.example.com"
    assert recipient["Final-Recipient"] == "rfc822; nobody@example.com"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "5.1.1")
    assert recipient["Remote-MTA"] == "dns; localhost"
    assert "there is nobody here" in recipient["Diagnostic-Code"]
    returned = email.message_from_string(header.get_content(), policy=email.policy.default)
    assert (returned["Subject"], returned["Message-ID"]) == (SUBJECT, receipt["message_id"])


def test_a_recipient_that_is_given_up_is_told_of(bouncing, postfix):
    bouncing.tables["delivery"]["give_up_after"] = "5s"
    bouncing.start()
    with bouncing.client() as client:
        receipt = submit(client, "later@example.com")
        until(lambda: notices(postfix), "the notice")
        assert client.state(receipt["id"])["status"] == "expired"
    [notice] = notices(postfix)
    _, recipient = groups(notice)
    assert recipient["Final-Recipient"] == "rfc822; later@example.com"
    assert (recipient["Action"], recipient["Status"]) == ("failed", "4.2.1")
    assert "the mailbox is busy" in recipient["Diagnostic-Code"]
    assert "기한 초과" in notice.get_body().get_content()


def test_nobody_is_told_of_a_notice_and_the_address_is_of_the_settings_as_they_are(bouncing, postfix):
    entry = bouncing.tables[f"clients.{CLIENT}"]
    del entry["bounces"]
    bouncing.start()
    with bouncing.client() as client:
        submit(client, "nobody@example.com")
        until(lambda: bouncing.events("delivery.failed"), "the refusal")
        entry["bounces"] = "nobody@example.com"
        reload(bouncing)
        submit(client, "nobody@example.com")
        until(lambda: len(bouncing.events("delivery.failed")) == 3, "the refusal of the notice too")
        entry["bounces"] = "ops@example.com"
        reload(bouncing)
        last = submit(client, "nobody@example.com")
        until(lambda: notices(postfix), "the notice")
    bouncing.stop()
    refused, told = bouncing.events("bounce.queued")
    assert bouncing.events("delivery.failed")[2]["message"] == refused["message"]
    assert told["about"] == last["id"]
    assert [groups(notice)[0]["Original-Envelope-Id"] for notice in notices(postfix)] == [last["id"]]


def test_a_kill_in_between_makes_no_second_notice_and_loses_none(bouncing, postfix, capsys):
    chance = random.Random(KILLS)
    promised = set()
    for _ in range(KILLS):
        bouncing.start()
        stream = Stream(
            bouncing.client, lambda _: message(SUBJECT, to=["nobody@example.com"]), connections=8
        ).start()
        moment = chance.randrange(5, 100)
        until(lambda stream=stream, moment=moment: len(stream.accepted) >= moment, "the first messages")
        bouncing.program.kill()
        stream.stop()
        promised.update(stream.accepted)
    bouncing.start()
    until(lambda: promised <= {about for about, _ in delivered(postfix)}, "a notice of each message", 90)
    bouncing.stop()
    copies = Counter(delivered(postfix))
    repeats = copies.total() - len(copies)
    with capsys.disabled():
        sys.stdout.write(
            f"\n  {KILLS} kills: {len(promised)} accepted, {len(copies)} notices, {repeats} of them repeated\n"
        )
    assert max(Counter(about for about, _ in copies).values()) == 1
    # The same notice again is what a kill between its final dot and the record of the reply leaves behind.
    assert max(copies.values()) <= 1 + KILLS


def delivered(postfix):
    """Return for each notice the Message-ID of what it is about, and its own."""
    return [(notice["In-Reply-To"], notice["Message-ID"]) for notice in notices(postfix)]


def reload(gateway):
    """Have the gateway read its settings as they are now."""
    before = len(gateway.events("reload.done"))
    gateway.write_settings()
    os.kill(gateway.program.pid, signal.SIGHUP)
    until(lambda: len(gateway.events("reload.done")) > before, "the reload", 15)

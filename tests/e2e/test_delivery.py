"""The road itself: a message from a client with a certificate to the internal server."""

import email
import email.policy

import pytest
from harness.gateway import SENDER, message
from harness.waiting import until

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.issue import KeyType

KOREAN = message(
    to=["김철수 <kim@example.com>", {"email": "lee@한국.example", "name": "이영희"}],
    subject="3번 구역의 온도 경고입니다, 확인하여 주시기 바랍니다 — 온도가 기준을 넘었습니다",
    html="<p>3번 구역이 <b>뜨겁습니다</b>.</p>",
    attachments=[{"filename": "온도 기록.csv", "content": "7Jio64+ELDQyCg==", "content_type": "text/csv"}],
)


def parsed(content):
    return email.message_from_bytes(content, policy=email.policy.default)


def check_korean(content, receipt):
    """Hold the delivered message against what was sent, as a mail reader would show it."""
    mail = parsed(content)
    assert mail["Message-ID"] == receipt["message_id"]
    assert mail["Subject"] == KOREAN["subject"]
    assert mail["From"].addresses[0].display_name == "온도 센서 7"
    assert [address.display_name for address in mail["To"].addresses] == ["김철수", "이영희"]
    assert mail.get_body(("plain",)).get_content().replace("\r\n", "\n") == KOREAN["text"]
    assert "<b>뜨겁습니다</b>" in mail.get_body(("html",)).get_content()
    (attachment,) = mail.iter_attachments()
    assert attachment.get_filename() == "온도 기록.csv"
    assert attachment.get_payload(decode=True).decode() == "온도,42\n"


def test_a_message_reaches_the_embedded_server(gateway, internal):
    with gateway.client() as client:
        receipt = client.submit(KOREAN)
        assert receipt.status == 202
        assert receipt.headers["Location"] == f"/v1/messages/{receipt['id']}"
        until(lambda: len(internal.kept()) == 1, "the delivery")
        (kept,) = internal.kept()
        until(lambda: client.state(receipt["id"])["status"] == "accepted", "the outcome")
    assert kept.mail_from == SENDER
    assert kept.rcpt_to == ["kim@example.com", "lee@xn--3e0b707e.example"]
    check_korean(kept.content, receipt)


def test_a_message_reaches_postfix(new_gateway, postfix):
    gateway = new_gateway(postfix.port).start()
    with gateway.client() as client:
        receipt = client.submit(KOREAN)
        assert receipt.status == 202
        until(lambda: len(postfix.messages()) == 2, "the delivery")
        until(lambda: client.state(receipt["id"])["status"] == "accepted", "the outcome")
    for content in postfix.messages():
        check_korean(content, receipt)
        assert "TLSv1.3" in parsed(content).get_all("Received")[0]
    assert "\nDelivered-To: lee@xn--3e0b707e.example\n" in b"".join(postfix.messages()).decode()


@pytest.mark.parametrize("server", ["embedded", "postfix"])
def test_a_server_whose_certificate_has_another_name_gets_no_mail(server, new_gateway, stage, request):
    authority = CertificateAuthority(stage.certificates)
    authority.issue_server(["mail.example.com"], [], "internal", KeyType.EC, 30, force=True)
    internal = request.getfixturevalue("internal" if server == "embedded" else "postfix")
    gateway = new_gateway(internal.port).start()
    with gateway.client() as client:
        receipt = client.submit(KOREAN)
        assert receipt.status == 202
        until(lambda: any(gateway.events("upstream.down")), "the failed handshake")
        assert "certificate" in gateway.events("upstream.down")[0]["reason"]
        assert client.state(receipt["id"])["status"] in {"queued", "sending"}
    gateway.stop()
    assert not (internal.kept() if server == "embedded" else internal.messages())


def test_an_internal_server_that_is_down_loses_nothing_and_the_backlog_drains_by_itself(gateway, internal):
    internal.stop()
    with gateway.client() as client:
        receipts = [client.submit(message(f"{number}번 알림")) for number in range(20)]
        assert {receipt.status for receipt in receipts} == {202}
        until(lambda: any(gateway.events("upstream.down")), "the failed delivery")
        internal.start()
        until(lambda: len(internal.kept()) == 20, "the backlog's delivery")
        until(lambda: client.state(receipts[-1]["id"])["status"] == "accepted", "the outcome")
    delivered = [parsed(kept.content)["Message-ID"] for kept in internal.kept()]
    assert sorted(delivered) == sorted(receipt["message_id"] for receipt in receipts)


def test_each_line_of_the_journal_is_json_and_none_shows_the_message(gateway, internal):
    with gateway.client() as client:
        receipt = client.submit(KOREAN)
        until(lambda: client.state(receipt["id"])["status"] == "accepted", "the outcome")
    gateway.stop()
    assert {event["message"] for event in gateway.events() if "message" in event} == {receipt["id"]}
    for private in ("뜨겁습니다", KOREAN["subject"], "BEGIN"):
        assert private not in gateway.log

"""What a real Postfix offers is used: messages by BDAT, the recipients in parts where it limits them, reports."""

import pytest
from harness.gateway import SENDER, message
from harness.waiting import until

HEAD = (
    f"From: {SENDER}\r\nTo: kim@example.com\r\nSubject: x\r\n"
    "Date: Fri, 27 Nov 2026 09:00:00 +0900\r\nMessage-ID: <1@example.com>\r\n\r\n"
)
CONTENTS = [
    HEAD + ".\r\n",
    HEAD + ".\r\n..\r\n...\r\n.x\r\n\r\n.\r\nMAIL FROM:<evil@example.com>\r\n.\r\nQUIT\r\n",
    HEAD + "BDAT 3 LAST\r\nRSET\r\nFrom here\r\n",
    HEAD + "가나다.\r\n.라\r\n" * 20000 + ".\r\n",
    HEAD + "z" * 998 + "\r\n." + "z" * 997 + "\r\n",
    HEAD,
]


@pytest.mark.parametrize("chunking", [True, False])
def test_messages_arrive_as_they_were_sent(chunking, new_gateway, postfix):
    if not chunking:
        postfix.set("smtpd_discard_ehlo_keywords = chunking, silent-discard")
    gateway = new_gateway(postfix.port).start()
    with gateway.client() as client:
        for content in CONTENTS:
            before = len(postfix.messages())
            receipt = client.submit_raw(content.encode(), SENDER, "kim@example.com")
            assert receipt.status == 202, receipt.body
            until(lambda: client.state(receipt["id"])["status"] == "accepted", "the outcome")  # noqa: B023
            until(lambda: len(postfix.messages()) > before, "the delivery")  # noqa: B023
    gateway.stop()
    until(postfix.commands, "the end of the session")
    arrived = [kept.replace(b"\n", b"\r\n") for kept in postfix.messages()]
    assert len(arrived) == len(CONTENTS)
    for content in CONTENTS:
        # Above it stand the fields of Postfix and of the gateway.
        assert sum(kept.endswith(b"\r\n" + content.encode()) for kept in arrived) == 1
    used, unused = ("bdat", "data") if chunking else ("data", "bdat")
    assert sum(int(session[used]) for session in postfix.commands()) == len(CONTENTS)
    assert not any(unused in session for session in postfix.commands())


def test_recipients_beyond_the_limit_follow_at_once(new_gateway, postfix):
    postfix.set("smtpd_recipient_limit = 2")
    gateway = new_gateway(postfix.port)
    gateway.tables["delivery"] = {"first_retry": "1h", "longest_retry": "2h"}
    gateway.start()
    names = [f"r{number}@example.com" for number in range(5)]
    with gateway.client() as client:
        receipt = client.submit(message(to=names))
        assert receipt.status == 202, receipt.body
        until(lambda: client.state(receipt["id"])["status"] == "accepted", "the outcome")
        until(lambda: len(postfix.messages()) == len(names), "the delivery")
    gateway.stop()
    until(postfix.commands, "the end of the session")
    (session,) = postfix.commands()
    assert (session["mail"], session["rcpt"], session["bdat"]) == ("3", "9", "3")
    for name in names:
        assert sum(f"\nDelivered-To: {name}\n".encode() in kept for kept in postfix.messages()) == 1


def test_a_report_on_the_delivery_names_the_message_and_leaves_out_its_text(new_gateway, postfix):
    postfix.set("transport_maps = inline:{gone.example=error:gone}", "smtpd_reject_unlisted_recipient = no")
    gateway = new_gateway(postfix.port).start()
    with gateway.client() as client:
        receipt = client.submit(message(to=["kim@gone.example"], text="private words\n"))
        until(postfix.messages, "the report")
    (report,) = postfix.messages()
    assert f"Original-Envelope-Id: {receipt['id']}\n".encode() in report
    assert f"Message-ID: {receipt['message_id']}\n".encode() in report
    assert b"private words" not in report

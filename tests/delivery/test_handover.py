"""One message in as many transactions as it takes, reply by reply, without a connection."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.delivery.handover import Handover
from mailgate.delivery.transaction import Stage
from mailgate.model.outcome import Status
from mailgate.wire.smtp.ehlo import Extensions
from mailgate.wire.smtp.replies import ReplyError, ServerReply

from .conftest import CONTENT, make_claim

HOST = "smtp.internal"
BDAT = b"BDAT %d LAST\r\n" % len(CONTENT) + CONTENT
MAIL = b"MAIL FROM:<a@example.com>\r\n"


def to(*recipients):
    return b"".join(b"RCPT TO:<%s>\r\n" % recipient.encode() for recipient in recipients)


def feed(handover, *lines):
    """Answer line by line; return what is written to the last one, after nothing was to those before."""
    written = [handover.answer(ServerReply(int(line[:3]), (line[4:],))) for line in lines]
    assert not any(written[:-1])
    return written[-1]


def begin(*recipients, allowed=None, **offered):
    offered = {"pipelining": True, "chunking": True} | offered
    handover = Handover(make_claim(*recipients), Extensions(**offered), HOST, allowed)
    return handover, handover.start()


def statuses(handover):
    assert handover.stage is Stage.DONE
    return [outcome.status for outcome in handover.attempt.outcomes]


def test_the_content_goes_out_raw_after_the_last_reply_to_a_recipient():
    handover, written = begin("a@x.kr", "b@x.kr")
    assert written == MAIL + to("a@x.kr", "b@x.kr")
    assert feed(handover, b"250 ok", b"550 5.1.1 no") == b""
    assert feed(handover, b"250 ok") == BDAT
    assert feed(handover, b"250 2.0.0 queued") == b""
    assert statuses(handover) == [Status.FAILED, Status.ACCEPTED]


def test_chunking_without_pipelining_goes_step_by_step():
    handover, written = begin("a@x.kr", "b@x.kr", pipelining=False)
    assert written == MAIL
    assert feed(handover, b"250 ok") == to("a@x.kr")
    assert feed(handover, b"250 ok") == to("b@x.kr")
    assert feed(handover, b"250 ok") == BDAT


def test_no_content_goes_out_where_no_recipient_was_taken():
    handover, _ = begin("a@x.kr", "b@x.kr")
    assert feed(handover, b"250 ok", b"550 no", b"450 no") == b"RSET\r\n"
    assert feed(handover, b"250 ok") == b""
    assert statuses(handover) == [Status.FAILED, Status.DEFERRED]


def test_no_content_goes_out_where_the_sender_was_refused_even_if_recipients_are_taken():
    handover, _ = begin("a@x.kr")
    assert feed(handover, b"550 5.7.1 no", b"250 ok") == b""
    assert statuses(handover) == [Status.FAILED]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"451 4.3.0 disk", Status.DEFERRED),
        (b"552 5.3.4 too large", Status.FAILED),
        (b"554 5.7.1 no", Status.FAILED),
    ],
)
def test_a_refusal_of_the_content_counts_as_after_data(reply, status):
    handover, _ = begin()
    feed(handover, b"250 ok", b"250 ok")
    feed(handover, reply)
    assert statuses(handover) == [status]
    assert not handover.bdat_failed
    assert not handover.attempt.trouble


@pytest.mark.parametrize("code", [b"500", b"501", b"502", b"503", b"504"])
def test_a_server_that_does_not_know_bdat_fails_no_message(code):
    handover, _ = begin("a@x.kr", "b@x.kr")
    feed(handover, b"250 ok", b"550 no", b"250 ok")
    feed(handover, code + b" 5.5.1 what")
    assert statuses(handover) == [Status.FAILED, Status.DEFERRED]
    assert handover.bdat_failed
    assert "BDAT" in handover.attempt.trouble
    assert not handover.attempt.unknown


def test_an_answer_to_a_recipient_is_none_to_the_message():
    """The server answered a recipient twice: what comes now is about the last one."""
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", most_recipients=2)
    feed(handover, b"250 2.1.0 ok", b"250 2.1.5 ok", b"250 2.1.5 ok")
    assert feed(handover, b"250 2.1.5 ok") == b""
    assert statuses(handover) == [Status.DEFERRED] * 3
    assert handover.attempt.unknown
    assert handover.attempt.trouble == "the server answered an address once more"
    assert handover.bdat_failed


def test_another_kind_of_answer_is_the_messages():
    handover, _ = begin()
    feed(handover, b"250 2.1.0 ok", b"250 2.1.5 ok")
    feed(handover, b"250 2.10.0 queued")
    assert statuses(handover) == [Status.ACCEPTED]


@pytest.mark.parametrize("pipelining", [True, False])
def test_where_mail_may_have_been_answered_twice_the_message_goes_by_data(pipelining):
    handover, _ = begin(pipelining=pipelining)
    feed(handover, b"250 2.1.0 ok")
    assert feed(handover, b"250 2.1.0 ok") == b"DATA\r\n"
    assert feed(handover, b"354 go").endswith(b"\r\n.\r\n")
    feed(handover, b"250 2.1.0 whatever")
    assert statuses(handover) == [Status.ACCEPTED]
    handover, _ = begin(pipelining=pipelining)
    feed(handover, b"250 2.1.0 ok")
    feed(handover, b"250 2.1.0 ok")
    with pytest.raises(ReplyError):
        feed(handover, b"250 2.1.5 ok")
    handover.interrupt("the server broke the protocol")
    assert not handover.attempt.unknown


def test_after_data_the_go_ahead_has_shown_that_replies_are_in_step():
    handover, _ = begin(chunking=False)
    feed(handover, b"250 2.1.0 ok", b"250 2.1.5 ok", b"354 go")
    feed(handover, b"250 2.1.5 all delivered")
    assert statuses(handover) == [Status.ACCEPTED]


@pytest.mark.parametrize("chunking", [True, False])
@pytest.mark.parametrize("reply", [b"452 4.5.3 too many", b"452 too many", b"552 5.5.3 too many", b"552 too many"])
def test_recipients_refused_as_too_many_follow_at_once(reply, chunking):
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", chunking=chunking)
    go_ahead = [] if chunking else [b"354 go"]
    end = b"" if chunking else b"DATA\r\n"
    feed(handover, b"250 ok", b"250 ok", reply, reply, *go_ahead)
    assert feed(handover, b"250 2.0.0 first") == MAIL + to("b@x.kr", "c@x.kr") + end
    feed(handover, b"250 ok", b"250 ok", reply, *go_ahead)
    assert feed(handover, b"250 2.0.0 second") == MAIL + to("c@x.kr") + end
    feed(handover, b"250 ok", b"550 5.1.1 no", *([] if chunking else [b"503 no"]))
    feed(handover, b"250 reset")
    assert statuses(handover) == [Status.ACCEPTED, Status.ACCEPTED, Status.FAILED]
    assert [outcome.reply.text for outcome in handover.attempt.outcomes] == ["first", "second", "no"]


def test_too_many_without_one_that_was_taken_is_a_reply_like_any_other():
    handover, _ = begin("a@x.kr", "b@x.kr")
    assert feed(handover, b"250 ok", b"452 4.5.3 no", b"552 no") == b"RSET\r\n"
    feed(handover, b"250 ok")
    assert statuses(handover) == [Status.DEFERRED, Status.FAILED]
    assert handover.transactions == 1


def test_announced_limits_are_kept_without_asking():
    handover, written = begin("a@x.kr", "b@y.kr", "c@X.kr", "d@z.kr", most_recipients=2)
    batches = [written]
    feed(handover, *[b"250 ok"] * written.count(b"\r\n"))
    batches.append(feed(handover, b"250 ok"))
    assert batches == [MAIL + to("a@x.kr", "b@y.kr"), MAIL + to("c@X.kr", "d@z.kr")]


def test_a_refused_batch_does_not_keep_the_next_from_being_asked():
    handover, _ = begin("a@x.kr", "b@x.kr", most_recipients=1)
    feed(handover, b"250 ok", b"550 no")
    assert feed(handover, b"250 reset") == MAIL + to("b@x.kr")


@pytest.mark.parametrize("reply", [b"451 4.3.0 disk", b"421 bye"])
def test_a_message_that_is_put_off_is_not_sent_again_at_once(reply):
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", most_recipients=2)
    feed(handover, b"250 ok", b"250 ok", b"452 4.5.3 too many")
    assert feed(handover, reply) == b""
    assert statuses(handover) == [Status.DEFERRED] * 3
    assert [outcome.reply.code for outcome in handover.attempt.outcomes] == [int(reply[:3]), 452, int(reply[:3])]


def test_what_the_server_can_not_take_fails_for_all_at_once():
    handover, written = begin("a@x.kr", "b@x.kr", most_recipients=1, size=1)
    assert written == b""
    assert handover.transactions == 0
    assert statuses(handover) == [Status.FAILED, Status.FAILED]


def test_a_sender_that_is_refused_fails_for_all_at_once():
    handover, _ = begin("a@x.kr", "b@x.kr", most_recipients=1)
    assert feed(handover, b"550 5.7.1 no", b"503 no") == b""
    assert statuses(handover) == [Status.FAILED, Status.FAILED]


def test_a_sender_that_was_taken_and_then_is_not_fails_nobody():
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", most_recipients=1)
    feed(handover, b"250 ok", b"250 ok")
    feed(handover, b"250 queued")
    feed(handover, b"550 too many messages", b"503 no")
    assert statuses(handover) == [Status.ACCEPTED, Status.DEFERRED, Status.DEFERRED]


def test_no_more_transactions_than_allowed():
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", most_recipients=1, allowed=2)
    feed(handover, b"250 ok", b"250 ok")
    feed(handover, b"250 queued")
    feed(handover, b"250 ok", b"250 ok")
    assert feed(handover, b"250 queued") == b""
    assert statuses(handover) == [Status.ACCEPTED, Status.ACCEPTED, Status.DEFERRED]
    assert not handover.attempt.trouble


@pytest.mark.parametrize("replies", range(4))
def test_what_was_accepted_stays_so_when_a_later_transaction_breaks(replies):
    handover, _ = begin("a@x.kr", "b@x.kr", "c@x.kr", most_recipients=1)
    feed(handover, b"250 ok", b"250 ok")
    feed(handover, b"250 queued")
    for line in [b"250 ok"] * min(replies, 2):
        feed(handover, line)
    handover.interrupt("the connection was lost")
    attempt = handover.attempt
    assert statuses(handover) == [Status.ACCEPTED, Status.DEFERRED, Status.DEFERRED]
    assert attempt.unknown is (replies >= 2)
    assert attempt.trouble
    assert ("may have been delivered" in attempt.outcomes[1].reply.text) is (replies >= 2)
    assert "before the message was sent" in attempt.outcomes[2].reply.text


def test_any_number_of_recipients_that_can_not_be_asked_are_decided():
    handover, written = begin(*(f"{number}>@x.kr" for number in range(3000)), most_recipients=1)
    assert written == b""
    assert set(statuses(handover)) == {Status.FAILED}


ASKED = re.compile(rb"RCPT TO:<([^>]*)>")
CODES = [250, 250, 250, 251, 354, 421, 450, 452, 500, 550, 552]
TEXTS = [b"", b"4.5.3 x", b"5.5.3 x", b"2.0.0 x"]
limits = st.none() | st.integers(1, 3)


@given(
    st.booleans(),
    st.booleans(),
    limits,
    limits,
    st.integers(1, 5),
    st.lists(st.builds(ServerReply, st.sampled_from(CODES), st.tuples(st.sampled_from(TEXTS))), max_size=40),
)
def test_whatever_the_server_says(pipelining, chunking, most, allowed, count, replies):
    recipients = [f"r{number}@d{number % 3}.kr" for number in range(count)]
    offered = Extensions(pipelining=pipelining, chunking=chunking, most_recipients=most)
    handover = Handover(make_claim(*recipients), offered, HOST, allowed)
    written = [handover.start()]
    asked, taken, delivered = ASKED.findall(written[0]), [], []
    for reply in replies:
        if handover.stage is Stage.DONE:
            break
        stage = handover.stage
        if stage is Stage.MAIL:
            sender_taken = reply.positive
        elif stage is Stage.RCPT:
            recipient = asked.pop(0)
            taken += [recipient] if reply.positive and sender_taken else []
        elif stage is Stage.CONTENT and reply.positive:
            delivered += taken
        try:
            octets = handover.answer(reply)
        except ReplyError:
            break
        written.append(octets)
        asked += ASKED.findall(octets)
        if octets.startswith(MAIL):
            taken = []
        if CONTENT in octets:
            # The message follows an accepted recipient and a go-ahead, and nothing else.
            assert taken
            assert stage is (Stage.RCPT if chunking else Stage.DATA)
    if handover.stage is not Stage.DONE:
        handover.interrupt("the connection was lost")
    assert handover.stage is Stage.DONE
    attempt = handover.attempt
    assert [outcome.position for outcome in attempt.outcomes] == list(range(count))
    assert {outcome.status for outcome in attempt.outcomes} <= {Status.ACCEPTED, Status.DEFERRED, Status.FAILED}
    accepted = [outcome.position for outcome in attempt.outcomes if outcome.status is Status.ACCEPTED]
    # Just those whom the server took the message for, each of them once.
    assert [recipients[position].encode() for position in accepted] == sorted(delivered)
    stream = b"".join(written)
    assert stream.count(CONTENT) <= stream.count(MAIL) <= min(count, allowed or count)


@given(st.lists(st.sampled_from([b"250 ok", b"452 4.5.3 many", b"550 no"]), max_size=60), st.integers(1, 6))
def test_every_further_transaction_is_for_fewer_recipients(replies, count):
    handover, written = begin(*(f"r{number}@x.kr" for number in range(count)))
    asked = [written.count(b"RCPT TO:")]
    for line in replies:
        if handover.stage is Stage.DONE:
            break
        octets = feed(handover, line if handover.stage in {Stage.RCPT, Stage.CONTENT} else b"250 ok")
        if octets.startswith(b"MAIL"):
            asked.append(octets.count(b"RCPT TO:"))
    assert all(before > after for before, after in pairwise(asked))

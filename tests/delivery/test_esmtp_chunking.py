"""BDAT, several transactions for one message, and their limits, over a connection."""

import pytest

from mailgate.delivery.esmtp import Habits
from mailgate.delivery.session_start import Timeouts
from mailgate.model.outcome import Status

BOTH = (b"PIPELINING", b"CHUNKING")
DOTS = b"Subject: x\r\n\r\n.\r\n..\r\n.QUIT\r\n.\r\n"


def statuses(attempts):
    (attempt,) = attempts
    return [outcome.status for outcome in attempt.outcomes]


def test_bdat_and_the_message_as_it_is_are_one_write(converse, claim_of):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of(content=DOTS))
    assert talk.sent() == b"MAIL FROM:<a@example.com>\r\nRCPT TO:<kim@example.com>\r\n"
    talk.connection.dataReceived(b"250 ok\r\n250 ok\r\n")
    assert talk.wire.writes == [b"BDAT %d LAST\r\n" % len(DOTS) + DOTS]
    talk.server(b"250 queued")
    assert statuses(attempts) == [Status.ACCEPTED]
    assert talk.connection.idle


@pytest.mark.parametrize("last", [None, b"421 idle for too long"])
def test_a_reused_connection_that_is_dead_may_be_replaced_at_once(converse, claim_of, last):
    talk = converse().start(*BOTH)
    talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    talk.server(b"250 queued")
    attempts = talk.send(claim_of(content=DOTS))
    assert DOTS not in talk.sent()
    if last:
        assert talk.server(last) == b""
    talk.lose()
    assert attempts[0].stale


def test_a_loss_after_bdat_is_an_unknown_outcome(converse, claim_of):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    talk.lose()
    assert attempts[0].unknown
    assert "may have been delivered" in attempts[0].outcomes[0].reply.text


def test_a_loss_before_bdat_is_not(converse, claim_of):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok")
    talk.lose()
    assert not attempts[0].unknown
    assert statuses(attempts) == [Status.DEFERRED, Status.DEFERRED]


@pytest.mark.parametrize("garbage", [b"354 go on", b"what?", b"334 x"])
def test_no_reply_to_bdat_that_means_anything_is_an_unknown_outcome(converse, claim_of, garbage):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    talk.server(garbage)
    assert attempts[0].unknown
    assert statuses(attempts) == [Status.DEFERRED]
    assert "broke the protocol" in attempts[0].trouble
    assert talk.wire.aborted


def test_a_reply_that_came_before_the_message_is_none_to_it(converse, claim_of):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of())
    talk.sent()
    assert talk.server(b"250 ok", b"250 ok", b"250 queued") == b""
    assert statuses(attempts) == [Status.DEFERRED]
    assert not attempts[0].unknown
    assert talk.wire.aborted


def test_a_reply_that_came_before_the_message_is_none_to_it_after_data(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of())
    talk.sent()
    assert talk.server(b"250 ok", b"250 ok", b"354 go", b"250 queued") == b""
    assert statuses(attempts) == [Status.DEFERRED]
    assert not attempts[0].unknown
    assert talk.wire.aborted


def test_a_large_message_by_bdat_gets_the_time_to_be_sent(converse, claim_of):
    talk = converse(timeouts=Timeouts(octets_per_second=1000.0)).start(*BOTH)
    attempts = talk.send(claim_of(content=b"x\r\n" * 100_000))
    talk.server(b"250 ok", b"250 ok")
    talk.clock.advance(899)
    assert not attempts
    talk.clock.advance(2)
    assert attempts[0].unknown


def test_a_server_that_did_not_know_bdat_is_never_asked_again(converse, claim_of):
    habits = Habits()
    talk = converse(habits=habits).start(*BOTH)
    attempts = talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    # It takes the message for commands.
    assert talk.server(b"500 5.5.2 what?", b"500 5.5.2 what?", b"250 ok") == b""
    assert statuses(attempts) == [Status.DEFERRED]
    assert "refuses BDAT" in attempts[0].trouble
    assert talk.wire.aborted
    talk = converse(habits=habits).start(*BOTH)
    talk.send(claim_of())
    assert talk.sent().endswith(b"DATA\r\n")


def test_a_server_whose_replies_are_out_of_step_gets_no_bdat_again(converse, claim_of):
    habits = Habits()
    talk = converse(habits=habits).start(*BOTH)
    attempts = talk.send(claim_of())
    talk.server(b"250 2.1.0 ok", b"250 2.1.5 ok")
    assert talk.server(b"250 2.1.5 ok", b"250 2.0.0 queued") == b""
    assert attempts[0].unknown
    assert talk.wire.aborted
    talk = converse(habits=habits).start(*BOTH)
    talk.send(claim_of())
    assert talk.sent().endswith(b"DATA\r\n")


def test_the_rest_follows_over_the_same_connection(converse, claim_of):
    talk = converse().start(*BOTH)
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok", b"452 4.5.3 too many")
    assert talk.server(b"250 queued") == b"MAIL FROM:<a@example.com>\r\nRCPT TO:<b@x.kr>\r\n"
    assert not attempts
    talk.server(b"250 ok", b"250 ok")
    talk.server(b"250 queued")
    assert statuses(attempts) == [Status.ACCEPTED, Status.ACCEPTED]
    assert talk.connection.idle
    assert talk.connection.carried == 1
    assert not talk.clock.getDelayedCalls()


def test_a_connection_lost_in_a_later_transaction_takes_nothing_back(converse, claim_of):
    talk = converse().start(*BOTH, b"LIMITS RCPTMAX=1")
    talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    talk.server(b"250 queued")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok")
    talk.server(b"250 queued")
    talk.lose()
    assert statuses(attempts) == [Status.ACCEPTED, Status.DEFERRED]
    assert not attempts[0].stale
    assert not attempts[0].unknown


def test_replies_before_the_next_transaction_end_the_connection(converse, claim_of):
    talk = converse().start(*BOTH, b"LIMITS RCPTMAX=1")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok")
    assert talk.server(b"250 queued", b"250 ok", b"250 ok", b"250 queued") == b""
    assert statuses(attempts) == [Status.ACCEPTED, Status.DEFERRED]
    assert talk.wire.aborted


def test_every_transaction_has_its_own_time(converse, claim_of):
    talk = converse(timeouts=Timeouts(whole_transaction=500.0)).start(*BOTH, b"LIMITS RCPTMAX=1")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    for _ in range(2):
        talk.clock.advance(290)
        talk.server(b"250 ok", b"250 ok")
        talk.clock.advance(200)
        talk.server(b"250 queued")
    assert statuses(attempts) == [Status.ACCEPTED, Status.ACCEPTED]


def test_the_last_transaction_that_is_allowed_ends_the_connection(converse, claim_of):
    talk = converse().start(*BOTH, b"LIMITS MAILMAX=2")
    talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    assert talk.server(b"250 queued") == b""
    assert talk.connection.idle
    attempts = talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    assert talk.server(b"250 queued") == b"QUIT\r\n"
    assert statuses(attempts) == [Status.ACCEPTED]
    assert not attempts[0].trouble
    assert not talk.connection.idle


def test_transactions_of_one_message_count_too(converse, claim_of):
    talk = converse().start(*BOTH, b"LIMITS MAILMAX=2 RCPTMAX=1")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr", "c@x.kr"))
    for last in (False, True):
        talk.server(b"250 ok", b"250 ok")
        assert (talk.server(b"250 queued") == b"QUIT\r\n") is last
    assert statuses(attempts) == [Status.ACCEPTED, Status.ACCEPTED, Status.DEFERRED]


def test_a_report_on_the_delivery_is_asked_to_name_the_message(converse, claim_of):
    talk = converse().start(*BOTH, b"DSN", b"SIZE")
    talk.send(claim_of(id="1+2=3"))
    assert talk.sent().startswith(b"MAIL FROM:<a@example.com> SIZE=36 RET=HDRS ENVID=1+2B2+3D3\r\nRCPT TO:<kim@")


def test_the_next_message_has_its_own_time_too(converse, claim_of):
    talk = converse(timeouts=Timeouts(whole_transaction=500.0)).start(*BOTH)
    for _ in range(2):
        attempts = talk.send(claim_of())
        talk.clock.advance(290)
        talk.server(b"250 ok", b"250 ok")
        talk.clock.advance(200)
        talk.server(b"250 queued")
        assert statuses(attempts) == [Status.ACCEPTED]


def test_transactions_of_the_messages_before_count_too(converse, claim_of):
    talk = converse().start(*BOTH, b"LIMITS MAILMAX=2 RCPTMAX=1")
    talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok")
    talk.server(b"250 queued")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok")
    assert talk.server(b"250 queued") == b"QUIT\r\n"
    assert statuses(attempts) == [Status.ACCEPTED, Status.DEFERRED]

"""The start, the end and the patience of a connection."""

import pytest
from twisted.internet.error import ConnectionDone

from mailgate.delivery.esmtp import Timeouts
from mailgate.model.outcome import Status


def test_a_session_without_pipelining_goes_step_by_step(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    assert talk.sent() == b"MAIL FROM:<a@example.com>\r\n"
    assert talk.server(b"250 ok") == b"RCPT TO:<a@x.kr>\r\n"
    assert talk.server(b"250 ok") == b"RCPT TO:<b@x.kr>\r\n"
    assert talk.server(b"550 5.1.1 no") == b"DATA\r\n"
    assert talk.server(b"354 go").endswith(b"\r\n.\r\n")
    assert not attempts
    talk.server(b"250 2.0.0 queued")
    assert [outcome.status for outcome in attempts[0].outcomes] == [Status.ACCEPTED, Status.FAILED]


def test_one_connection_carries_message_after_message(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    for _ in range(3):
        attempts = talk.send(claim_of())
        talk.server(b"250 ok", b"250 ok", b"354 go")
        talk.server(b"250 queued")
        assert attempts[0].outcomes[0].status is Status.ACCEPTED
        assert talk.connection.idle
    assert talk.connection.carried == 3


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_transaction_without_recipients_is_reset_before_the_next(converse, claim_of, pipelining):
    talk = converse().start(*[b"PIPELINING"] * pipelining)
    attempts = talk.send(claim_of())
    replies = [b"250 ok", b"550 5.1.1 no", b"503 5.5.1 no recipients"]
    written = [talk.server(reply) for reply in replies[: 3 if pipelining else 2]]
    assert written[-1] == b"RSET\r\n"
    assert not attempts
    talk.server(b"250 ok")
    assert attempts[0].outcomes[0].reply.enhanced == "5.1.1"
    assert talk.connection.idle


def test_a_refused_sender_decides_for_all(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"451 4.7.1 later")
    assert [outcome.status for outcome in attempts[0].outcomes] == [Status.DEFERRED, Status.DEFERRED]
    assert talk.connection.idle


def test_a_refused_sender_decides_for_all_when_pipelined(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"550 5.7.1 no", b"503 5.5.1 no", b"503 5.5.1 no", b"503 5.5.1 no")
    assert [outcome.reply.enhanced for outcome in attempts[0].outcomes] == ["5.7.1", "5.7.1"]
    assert talk.connection.idle


def test_data_that_is_refused_decides_for_the_accepted(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    for reply in (b"250 ok", b"250 ok", b"550 5.1.1 no"):
        talk.server(reply)
    assert talk.server(b"451 4.3.0 disk") == b"RSET\r\n"
    talk.server(b"250 ok")
    assert [outcome.reply.enhanced for outcome in attempts[0].outcomes] == ["4.3.0", "5.1.1"]


@pytest.mark.parametrize(
    ("reply", "status"),
    [
        (b"452 4.2.2 mailbox full", Status.DEFERRED),
        (b"450 4.5.3 greylisted", Status.DEFERRED),
        (b"552 5.2.2 mailbox full", Status.FAILED),
    ],
)
def test_what_is_said_of_one_recipient_begins_no_other_transaction(converse, claim_of, reply, status):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok", b"250 ok", reply, b"354 go")
    assert talk.server(b"250 queued") == b""
    assert [outcome.status for outcome in attempts[0].outcomes] == [Status.ACCEPTED, status]


def test_too_many_recipients_can_not_be_meant_where_none_was_taken(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr"))
    talk.server(b"250 ok")
    talk.server(b"552 the mailbox is full")
    talk.server(b"250 ok")
    talk.server(b"354 go")
    talk.server(b"250 queued")
    assert [outcome.status for outcome in attempts[0].outcomes] == [Status.FAILED, Status.ACCEPTED]


@pytest.mark.parametrize(
    "replies",
    [
        (b"354 go",),
        (b"250 ok", b"334 x"),
        (b"250 ok", b"250 ok", b"250 ok"),
        (b"250 ok", b"250 ok", b"354 go", b"354 go"),
    ],
)
def test_a_reply_out_of_place_ends_the_connection(converse, claim_of, replies):
    talk = converse().start()
    attempts = talk.send(claim_of())
    for reply in replies:
        talk.server(reply)
    assert attempts[0].outcomes[0].status is Status.DEFERRED
    assert attempts[0].trouble
    assert talk.wire.aborted


def test_a_refused_reset_ends_the_connection_and_keeps_the_outcomes(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of())
    for reply in (b"250 ok", b"550 5.1.1 no", b"500 what"):
        talk.server(reply)
    assert attempts[0].outcomes[0].reply.enhanced == "5.1.1"
    assert talk.wire.aborted


def test_helo_is_said_where_ehlo_is_unknown(converse, claim_of):
    talk = converse()
    talk.server(b"220 hi")
    assert talk.server(b"502 what") == b"HELO gate.example.com\r\n"
    talk.server(b"250 hi")
    assert talk.is_ready
    talk.send(claim_of())
    assert talk.sent() == b"MAIL FROM:<a@example.com>\r\n"


@pytest.mark.parametrize("reply", [b"502 no", b"421 no", b"451 no"])
def test_helo_is_said_once(converse, reply):
    talk = converse()
    talk.server(b"220 hi")
    talk.server(b"502 what")
    assert talk.server(reply) == b"QUIT\r\n"
    assert reply.decode() in str(talk.failure)


def test_helo_is_no_answer_to_a_temporary_trouble(converse):
    talk = converse()
    talk.server(b"220 hi")
    assert talk.server(b"421 busy") == b"QUIT\r\n"
    assert talk.failure is not None


def test_octets_after_the_reply_to_ehlo_end_the_session(converse):
    talk = converse()
    talk.server(b"220 hi")
    talk.server(b"250 hi", b"250 more")
    assert not talk.is_ready
    assert talk.wire.aborted


@pytest.mark.parametrize("steps", [(), (b"220 hi",)])
def test_a_silent_server_is_given_up_at_each_step_of_the_start(converse, steps):
    talk = converse(timeouts=Timeouts(setup=30.0))
    talk.server(*steps)
    talk.clock.advance(29.9)
    assert talk.failure is None
    talk.clock.advance(0.2)
    assert "no answer" in str(talk.failure)
    assert talk.wire.aborted


def test_a_start_has_a_bound_however_the_server_drips(converse):
    talk = converse(timeouts=Timeouts(setup=30.0, whole_setup=40.0))
    talk.clock.advance(25)
    talk.server(b"220 hi")
    talk.clock.advance(10)
    assert talk.failure is None
    talk.clock.advance(5.1)
    assert talk.failure is not None


@pytest.mark.parametrize(
    ("replies", "patience", "unknown"),
    [
        ((), 300.0, False),
        ((b"250 ok",), 300.0, False),
        ((b"250 ok", b"250 ok"), 120.0, False),
        ((b"250 ok", b"250 ok", b"354 go"), 600.0, True),
    ],
)
def test_a_silent_server_is_given_up_at_each_step_of_a_transaction(converse, claim_of, replies, patience, unknown):
    talk = converse().start()
    attempts = talk.send(claim_of())
    for reply in replies:
        talk.server(reply)
    talk.clock.advance(patience - 0.1)
    assert not attempts
    talk.clock.advance(0.2)
    assert attempts[0].outcomes[0].status is Status.DEFERRED
    assert attempts[0].unknown is unknown
    assert "in time" in attempts[0].outcomes[0].reply.text
    assert talk.wire.aborted
    talk.lose()
    assert not talk.clock.getDelayedCalls()


def test_a_transaction_has_a_bound_however_the_server_drips(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of(*(f"r{number}@x.kr" for number in range(20))))
    for _ in range(6):
        talk.clock.advance(290)
        talk.server(b"250 ok")
    assert not attempts
    talk.clock.advance(100)
    assert attempts


def test_a_large_message_gets_the_time_to_be_sent(converse, claim_of):
    talk = converse(timeouts=Timeouts(octets_per_second=1000.0)).start(b"PIPELINING")
    attempts = talk.send(claim_of(content=b"x\r\n" * 100_000))
    talk.server(b"250 ok", b"250 ok", b"354 go")
    talk.clock.advance(899)
    assert not attempts
    talk.clock.advance(2)
    assert attempts


def test_an_idle_connection_has_no_timer(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    assert not talk.clock.getDelayedCalls()
    talk.send(claim_of())
    talk.server(b"250 ok", b"250 ok", b"354 go")
    talk.server(b"250 ok")
    assert not talk.clock.getDelayedCalls()


def test_close_says_quit_and_waits_a_little(converse):
    talk = converse().start()
    talk.connection.close()
    assert talk.sent() == b"QUIT\r\n"
    assert not talk.wire.disconnecting
    talk.server(b"221 bye")
    assert talk.wire.disconnecting
    assert not talk.wire.aborted
    gone = []
    talk.connection.lost.addCallback(gone.append)
    talk.lose(ConnectionDone())
    assert gone == [None]
    assert not talk.clock.getDelayedCalls()


@pytest.mark.parametrize("replies", [(), (b"221 bye",)])
def test_a_server_that_does_not_let_go_is_dropped(converse, replies):
    talk = converse().start()
    talk.connection.close()
    talk.server(*replies)
    talk.clock.advance(5.1)
    assert talk.wire.aborted


def test_close_in_a_transaction_ends_it(converse, claim_of):
    talk = converse().start()
    attempts = talk.send(claim_of())
    talk.connection.close()
    assert talk.wire.aborted
    assert attempts[0].outcomes[0].status is Status.DEFERRED


def test_abort_before_the_start_is_over_tells_who_waits(converse):
    talk = converse()
    talk.connection.abort()
    assert talk.failure is not None
    talk.lose()
    talk.connection.close()
    talk.connection.abort()
    assert not talk.clock.getDelayedCalls()


def test_cancelling_the_wait_for_the_start_drops_the_connection(converse):
    talk = converse()
    talk.connection.ready.cancel()
    assert talk.wire.aborted
    assert talk.failure is not None

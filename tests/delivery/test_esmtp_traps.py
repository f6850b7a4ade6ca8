"""What twisted.mail's client gets wrong as it comes, each held down by name."""

import base64

import pytest
from twisted.internet.error import ConnectionLost
from twisted.python.log import addObserver, removeObserver

from mailgate.delivery.errors import UpstreamError
from mailgate.delivery.settings import Credentials, UpstreamSettings
from mailgate.delivery.tls import UpstreamTls
from mailgate.model.outcome import Status

PASSWORD = "열쇠-s3cret"


def login_upstream(**fields):
    values = {"host": "smtp.internal", "tls": "implicit", "credentials": Credentials("gate", PASSWORD)}
    return UpstreamSettings(**values | fields)


@pytest.fixture
def tls():
    return UpstreamTls("smtp.internal", None)


@pytest.fixture
def secure(converse, tls):
    """Return what starts a conversation over a TLS that stands, up to the reply to EHLO."""

    def start(*extensions, **fields):
        talk = converse(login_upstream(**fields), tls)
        talk.connection._tlsMode = True
        talk.server(b"220 hi")
        return talk, talk.server(*(b"250-" + extension for extension in (b"hi", *extensions)), b"250 HELP")

    return start


def deliver(talk, claim, *replies):
    """Run a pipelined transaction up to the content, and return the attempts and what was written last."""
    attempts = talk.send(claim)
    talk.sent()
    return attempts, talk.server(b"250 ok", *replies or (b"250 ok",), b"354 go")


def statuses(attempts):
    (attempt,) = attempts
    return [outcome.status for outcome in attempt.outcomes]


def test_dots_at_the_border_of_a_chunk_do_not_end_the_message(converse, claim_of):
    content = b"x" * 16382 + b"\r\n.\r\nRCPT TO:<x@example.com>\r\n"
    _, written = deliver(converse().start(b"PIPELINING"), claim_of(content=content))
    assert written == b"x" * 16382 + b"\r\n..\r\nRCPT TO:<x@example.com>\r\n.\r\n"


def test_a_dot_as_the_first_octet_is_stuffed(converse, claim_of):
    _, written = deliver(converse().start(b"PIPELINING"), claim_of(content=b".\r\nhidden\r\n"))
    assert written == b"..\r\nhidden\r\n.\r\n"


def test_canonical_line_ends_are_not_doubled(converse, claim_of):
    _, written = deliver(converse().start(b"PIPELINING"), claim_of(content="제목\r\n\r\n본문\r\n".encode()))
    assert written == "제목\r\n\r\n본문\r\n.\r\n".encode()


def test_the_body_and_the_final_dot_are_one_write(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    talk.send(claim_of(content=b"x\r\n" * 50000))
    talk.sent()
    talk.connection.dataReceived(b"250 ok\r\n250 ok\r\n354 go\r\n")
    assert talk.wire.writes == [b"x\r\n" * 50000 + b".\r\n"]


def test_nagle_is_off(converse):
    assert converse().wire.no_delay is True


def test_replies_injected_before_tls_end_the_connection(converse, tls):
    talk = converse(UpstreamSettings(host="smtp.internal"), tls)
    talk.server(b"220 hi")
    assert talk.server(b"250-hi", b"250 STARTTLS") == b"STARTTLS\r\n"
    written = talk.server(b"220 go", b"250-fake", b"250 AUTH PLAIN")
    assert written == b""
    assert talk.wire.tls is None
    assert talk.wire.aborted
    assert "before TLS began" in str(talk.failure)


def test_half_a_reply_injected_before_tls_ends_the_connection(converse, tls):
    talk = converse(UpstreamSettings(host="smtp.internal"), tls)
    talk.server(b"220 hi")
    talk.server(b"250-hi", b"250 STARTTLS")
    talk.connection.dataReceived(b"220 go\r\n250-fa")
    assert talk.wire.tls is None
    assert talk.wire.aborted


def test_what_was_offered_before_tls_does_not_count(converse, tls, claim_of):
    talk = converse(UpstreamSettings(host="smtp.internal"), tls)
    talk.server(b"220 hi")
    talk.server(b"250-hi", b"250-PIPELINING", b"250-SIZE 1", b"250 STARTTLS")
    assert talk.server(b"220 go") == b"EHLO gate.example.com\r\n"
    assert talk.wire.tls is tls
    talk.server(b"250 hi")
    talk.send(claim_of())
    assert talk.sent() == b"MAIL FROM:<a@example.com>\r\n"


def test_starttls_that_was_stripped_ends_the_session(converse, tls):
    talk = converse(UpstreamSettings(host="smtp.internal"), tls)
    talk.server(b"220 hi")
    assert talk.server(b"250-hi", b"250 SIZE") == b"QUIT\r\n"
    assert isinstance(talk.failure, UpstreamError)
    assert str(talk.failure) == "the server does not offer STARTTLS"


def test_starttls_that_is_refused_ends_the_session(converse, tls):
    talk = converse(UpstreamSettings(host="smtp.internal"), tls)
    talk.server(b"220 hi")
    talk.server(b"250-hi", b"250 STARTTLS")
    assert talk.server(b"454 4.7.0 not now") == b"QUIT\r\n"
    assert str(talk.failure) == "the server refused STARTTLS: 454 4.7.0 not now"


@pytest.mark.parametrize("greeting", [b"554 5.7.1 no", b"421 4.3.2 busy", b"451 later"])
def test_a_greeting_that_refuses_is_the_upstreams_trouble_and_not_retried_here(converse, greeting):
    talk = converse()
    assert talk.server(greeting) == b"QUIT\r\n"
    assert isinstance(talk.failure, UpstreamError)
    assert greeting.decode() in str(talk.failure)
    talk.clock.advance(1)
    assert talk.sent() == b""


def test_a_loss_after_the_final_dot_is_an_unknown_outcome(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts, _ = deliver(talk, claim_of())
    talk.lose(ConnectionLost())
    (attempt,) = attempts
    assert attempt.unknown
    assert not attempt.stale
    (outcome,) = attempt.outcomes
    assert outcome.status is Status.DEFERRED
    assert (outcome.reply.code, outcome.reply.enhanced, outcome.reply.host) == (451, "4.4.2", "")
    assert "may have been delivered" in outcome.reply.text


def test_a_loss_after_the_final_dot_on_a_reused_connection_is_not_sent_again_at_once(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    deliver(talk, claim_of())
    talk.server(b"250 ok")
    attempts, _ = deliver(talk, claim_of())
    talk.lose()
    assert attempts[0].unknown
    assert not attempts[0].stale


def test_garbage_after_the_final_dot_is_an_unknown_outcome(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts, _ = deliver(talk, claim_of())
    talk.server(b"whatever")
    assert attempts[0].unknown
    assert talk.wire.aborted


@pytest.mark.parametrize("replies", [(), (b"250 ok",), (b"250 ok", b"250 ok"), (b"250 ok", b"250 ok", b"354 go")])
def test_the_result_fires_whenever_the_connection_is_lost(converse, claim_of, replies):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of())
    talk.server(*replies)
    talk.lose()
    assert statuses(attempts) == [Status.DEFERRED]
    assert attempts[0].unknown is (len(replies) == 3)
    assert not talk.clock.getDelayedCalls()


@pytest.mark.parametrize("lines", [(), (b"220 hi",), (b"220 hi", b"250-half")])
def test_ready_fires_whenever_the_connection_is_lost(converse, lines):
    talk = converse()
    talk.server(*lines)
    talk.lose()
    assert isinstance(talk.failure, UpstreamError)
    assert not talk.clock.getDelayedCalls()


def test_nothing_of_the_session_is_kept_for_errors(converse):
    connection = converse().start().connection
    assert connection.debug is False
    assert connection.log.str() == b""


@pytest.mark.parametrize("mechanism", [b"PLAIN", b"LOGIN", b"CRAM-MD5"])
def test_a_refused_login_tells_no_secret(secure, mechanism):
    logged = []
    addObserver(logged.append)
    try:
        talk, written = secure(b"AUTH " + mechanism)
        said = [written]
        challenges = {b"PLAIN": [], b"LOGIN": [b"VXNlcm5hbWU6", b"UGFzc3dvcmQ6"], b"CRAM-MD5": [b"PDFAeD4="]}
        said += [talk.server(b"334 " + challenge) for challenge in challenges[mechanism]]
        echo = b" ".join(line.strip() for line in said)
        assert talk.server(b"535 5.7.8 wrong: " + echo) == b"QUIT\r\n"
    finally:
        removeObserver(logged.append)
    assert str(talk.failure) == "the server refused the login: 535 5.7.8"
    shown = "".join((repr(talk.failure), repr(talk.connection), repr(talk.connection._upstream), str(logged)))
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode(), echo.decode()):
        assert secret not in shown


def test_a_refused_password_is_not_tried_again(secure):
    talk, written = secure(b"AUTH PLAIN LOGIN CRAM-MD5")
    token = base64.b64encode(b"\0gate\0" + PASSWORD.encode())
    assert written == b"AUTH PLAIN " + token + b"\r\n"
    assert talk.server(b"535 no") == b"QUIT\r\n"


def test_login_is_offered_in_any_case_and_in_the_old_way(secure):
    talk, written = secure(b"auth=login")
    assert written == b"AUTH LOGIN\r\n"
    assert talk.server(b"334 VXNlcm5hbWU6") == base64.b64encode(b"gate") + b"\r\n"
    assert talk.server(b"334 UGFzc3dvcmQ6") == base64.b64encode(PASSWORD.encode()) + b"\r\n"
    talk.server(b"235 2.7.0 welcome")
    assert talk.is_ready


def test_a_login_that_does_not_end_is_given_up(secure):
    talk, _ = secure(b"AUTH LOGIN")
    for _ in range(10):
        talk.server(b"334 UGFzc3dvcmQ6")
    assert "does not end" in str(talk.failure)


def test_a_login_never_goes_over_clear_text(converse):
    talk = converse(login_upstream(tls="none"))
    talk.server(b"220 hi")
    assert talk.server(b"250-hi", b"250 AUTH PLAIN") == b"QUIT\r\n"
    assert talk.failure is not None


def test_a_login_that_is_not_offered_ends_the_session(secure):
    talk, written = secure(b"SIZE")
    assert written == b"QUIT\r\n"
    assert "offers no login" in str(talk.failure)


def test_keywords_count_in_any_case(converse, claim_of):
    talk = converse().start(b"pipelining", b"Size 100000", b"8bitmime")
    talk.send(claim_of(eight_bit=True))
    assert b"SIZE=36 BODY=8BITMIME\r\nRCPT TO:" in talk.sent()


def test_too_large_a_message_is_refused_here(converse, claim_of):
    talk = converse().start(b"SIZE 35")
    (attempt,) = talk.send(claim_of("kim@example.com", "lee@example.com"))
    assert [(o.status, o.reply.code, o.reply.enhanced) for o in attempt.outcomes] == [
        (Status.FAILED, 552, "5.3.4")
    ] * 2
    assert talk.sent() == b""
    assert talk.connection.idle


@pytest.mark.parametrize("offer", [b"SIZE", b"SIZE 0", b"SIZE 36"])
def test_a_size_that_fits_is_declared(converse, claim_of, offer):
    talk = converse().start(offer)
    talk.send(claim_of())
    assert talk.sent() == b"MAIL FROM:<a@example.com> SIZE=36\r\n"


def test_eight_bits_are_not_sent_to_a_server_without_8bitmime(converse, claim_of):
    (attempt,) = converse().start().send(claim_of(eight_bit=True))
    (outcome,) = attempt.outcomes
    assert (outcome.status, outcome.reply.enhanced) == (Status.FAILED, "5.6.3")
    assert "8BITMIME" in outcome.reply.text


def test_a_non_ascii_address_without_smtputf8_is_an_outcome_and_no_exception(converse, claim_of):
    talk = converse().start(b"8BITMIME")
    (attempt,) = talk.send(claim_of("김@example.com", "lee@example.com", smtputf8=True))
    assert [(o.status, o.reply.enhanced) for o in attempt.outcomes] == [(Status.FAILED, "5.6.7")] * 2
    assert "SMTPUTF8" in attempt.outcomes[0].reply.text


def test_a_non_ascii_address_is_sent_with_smtputf8(converse, claim_of):
    talk = converse().start(b"SMTPUTF8", b"8BITMIME", b"PIPELINING")
    talk.send(claim_of("김@example.com", smtputf8=True, eight_bit=True))
    assert talk.sent() == (
        "MAIL FROM:<a@example.com> BODY=8BITMIME SMTPUTF8\r\nRCPT TO:<김@example.com>\r\nDATA\r\n".encode()
    )


def test_a_domain_that_is_not_in_a_labels_never_reaches_the_wire(converse, claim_of):
    talk = converse().start(b"SMTPUTF8", b"PIPELINING")
    attempts = talk.send(claim_of("kim@한국.kr", "lee@example.com", smtputf8=True))
    assert "한국".encode() not in talk.sent()
    talk.server(b"250 ok", b"250 ok", b"354 go")
    talk.server(b"250 ok")
    assert statuses(attempts) == [Status.FAILED, Status.ACCEPTED]


def test_a_sender_that_can_not_be_sent_fails_everyone(converse, claim_of):
    talk = converse().start()
    (attempt,) = talk.send(claim_of("a@example.com", "b@example.com", sender="x@한국.kr"))
    assert [outcome.reply.enhanced for outcome in attempt.outcomes] == ["5.1.7"] * 2
    (attempt,) = talk.send(claim_of("kim@한국.kr"))
    assert [outcome.reply.enhanced for outcome in attempt.outcomes] == ["5.1.3"]
    assert talk.sent() == b""


def test_the_envelope_is_one_write_where_pipelining_is_offered(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    talk.send(claim_of("kim@example.com", "lee@example.com"))
    assert talk.wire.writes == [
        b"MAIL FROM:<a@example.com>\r\nRCPT TO:<kim@example.com>\r\nRCPT TO:<lee@example.com>\r\nDATA\r\n"
    ]


def test_data_that_is_taken_without_recipients_gets_a_lone_dot(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of("kim@example.com", "lee@example.com"))
    talk.sent()
    assert talk.server(b"250 ok", b"550 5.1.1 no", b"450 4.2.0 later", b"354 go") == b".\r\n"
    talk.server(b"250 2.0.0 queued")
    assert statuses(attempts) == [Status.FAILED, Status.DEFERRED]
    assert talk.connection.idle


def test_recipients_that_are_taken_after_a_refused_sender_are_not_served(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts = talk.send(claim_of("kim@example.com"))
    talk.sent()
    assert talk.server(b"550 5.7.1 not you", b"250 ok", b"354 go") == b".\r\n"
    talk.server(b"250 queued")
    assert [(o.status, o.reply.enhanced) for o in attempts[0].outcomes] == [(Status.FAILED, "5.7.1")]


def test_partial_acceptance_is_told_per_recipient(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts, _ = deliver(
        talk, claim_of("a@x.kr", "b@x.kr", "c@x.kr"), b"250 ok", b"550 5.1.1 no such user", b"451 4.3.0 later"
    )
    talk.server(b"250 2.0.0 queued as 1")
    assert [
        (o.position, o.status, o.reply.code, o.reply.enhanced, o.reply.text) for o in attempts[0].outcomes
    ] == [
        (0, Status.ACCEPTED, 250, "2.0.0", "queued as 1"),
        (1, Status.FAILED, 550, "5.1.1", "no such user"),
        (2, Status.DEFERRED, 451, "4.3.0", "later"),
    ]


def test_a_refused_content_decides_only_for_who_was_accepted(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts, _ = deliver(talk, claim_of("a@x.kr", "b@x.kr"), b"250 ok", b"451 4.3.0 later")
    talk.server(b"554 5.7.1 spam")
    assert statuses(attempts) == [Status.FAILED, Status.DEFERRED]


@pytest.mark.parametrize("pipelining", [True, False])
def test_a_421_to_a_recipient_ends_the_transaction(converse, claim_of, pipelining):
    talk = converse().start(*[b"PIPELINING"] * pipelining)
    attempts = talk.send(claim_of("a@x.kr", "b@x.kr", "c@x.kr"))
    talk.sent()
    talk.server(b"250 ok")
    talk.server(b"550 5.1.1 no")
    assert b"RCPT" not in talk.server(b"421 4.3.2 shutting down")
    assert statuses(attempts) == [Status.FAILED, Status.DEFERRED, Status.DEFERRED]
    assert attempts[0].trouble == "421 shutting down"
    assert not talk.connection.idle


def test_an_unsolicited_421_is_seen_before_the_connection_is_used_again(converse):
    talk = converse().start()
    assert talk.connection.idle
    assert talk.server(b"421 4.4.2 idle too long") == b"QUIT\r\n"
    assert not talk.connection.idle


@pytest.mark.parametrize("octets", [b"250 ok\r\n", b"2", b"hello\r\n"])
def test_any_unsolicited_octet_ends_the_use_of_the_connection(converse, octets):
    talk = converse().start()
    talk.connection.dataReceived(octets)
    assert not talk.connection.idle


def test_a_reply_too_many_is_not_taken_for_the_next_messages(converse, claim_of):
    talk = converse().start(b"PIPELINING")
    attempts, _ = deliver(talk, claim_of())
    talk.server(b"250 ok", b"250 ok", b"250 ok")
    assert statuses(attempts) == [Status.ACCEPTED]
    assert not talk.connection.idle


@pytest.mark.parametrize("how", ["lost", "421"])
def test_a_reused_connection_that_was_dead_costs_the_message_nothing(converse, claim_of, how):
    talk = converse().start(b"PIPELINING")
    deliver(talk, claim_of())
    talk.server(b"250 ok")
    attempts = talk.send(claim_of())
    if how == "lost":
        talk.lose()
    else:
        talk.server(b"421 4.4.2 too many messages")
    (attempt,) = attempts
    assert attempt.stale
    assert attempt.outcomes == ()
    assert not talk.connection.idle


@pytest.mark.parametrize(
    "octets",
    [b"x" * 3000, b"250-x\r\n" * 200, b"250-x\r\n251 y\r\n", b"SSH-2.0-OpenSSH\r\n", b"\x16\x03\x01\x00\x00\r\n"],
)
def test_replies_have_bounds_and_form(converse, claim_of, octets):
    talk = converse().start()
    attempts = talk.send(claim_of())
    talk.connection.dataReceived(octets)
    assert statuses(attempts) == [Status.DEFERRED]
    assert "broke the protocol" in attempts[0].outcomes[0].reply.text
    assert talk.wire.aborted

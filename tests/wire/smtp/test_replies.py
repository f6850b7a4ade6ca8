"""Replies, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.model.outcome import Reply
from mailgate.wire.smtp import replies
from mailgate.wire.smtp.replies import ReplyError, ReplyReader, ServerReply, printable


def read(*chunks):
    """Return the replies in the chunks, and the error that ended them or an empty text."""
    reader = ReplyReader()
    found = []
    for chunk in chunks:
        reader.feed(chunk)
        try:
            while (reply := reader.next_reply()) is not None:
                found.append(reply)
        except ReplyError as problem:
            return found, str(problem)
    return found, ""


texts = st.binary(max_size=30).map(lambda text: text.replace(b"\r", b"").replace(b"\n", b""))
whole = st.builds(
    lambda code, lines: ServerReply(code, tuple(lines)),
    st.integers(200, 599),
    st.lists(texts, min_size=1, max_size=4),
)


def render(reply):
    *before, last = reply.lines
    return b"".join([*(b"%d-%s\r\n" % (reply.code, line) for line in before), b"%d %s\r\n" % (reply.code, last)])


@given(st.lists(whole, max_size=4), st.data())
def test_any_split_gives_the_same_replies(expected, data):
    octets = b"".join(map(render, expected))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=6)))
    chunks = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert read(*chunks) == (expected, "")


@given(st.binary(max_size=80), st.data())
def test_garbage_fares_the_same_at_any_split(octets, data):
    cut = data.draw(st.integers(0, len(octets)))
    assert read(octets[:cut], octets[cut:]) == read(octets)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"25 ok",
        b"abc ok",
        b"2500 ok",
        b"250_ok",
        b"150 ok",
        b"650 ok",
        b"000 ok",
        b"+50 ok",
        b" 250 ok",
        b"HTTP/1.1 400",
    ],
)
def test_what_is_no_reply_is_an_error(line):
    assert read(line + b"\r\n") == ([], "a line is not an SMTP reply")


def test_a_code_alone_is_a_reply():
    assert read(b"250\r\n") == ([ServerReply(250, (b"",))], "")


def test_replies_before_an_error_are_given():
    found, problem = read(b"250 ok\r\nwhat?\r\n")
    assert [reply.code for reply in found] == [250]
    assert problem


def test_a_code_that_changes_within_a_reply_is_an_error():
    assert read(b"250-one\r\n251 two\r\n")[1] == "the lines of one reply differ in their code"


@pytest.mark.parametrize("octets", [b"250 ok\n", b"\n"])
def test_a_bare_lf_is_an_error(octets):
    assert read(octets)[1] == "a reply line ends without CRLF"


def test_a_line_has_a_bound():
    longest = b"250 " + b"x" * (replies.MAX_LINE_OCTETS - 4)
    assert read(longest + b"\r\n")[1] == ""
    assert read(longest + b"x\r\n")[1] == "a reply line is too long"
    assert read(longest + b"xx")[1] == "a reply line is too long"


def test_an_endless_line_is_refused_before_it_fills_memory():
    assert read(b"2" * 1000, b"2" * 1000, b"2" * 1000)[1] == "a reply line is too long"
    assert read(b"2" * 1000, b"2" * 1000) == ([], "")


def test_a_reply_has_a_bound_of_lines():
    assert read(b"250-x\r\n" * (replies.MAX_LINES - 1) + b"250 x\r\n")[1] == ""
    assert read(b"250-x\r\n" * replies.MAX_LINES + b"250 x\r\n")[1] == "a reply has too many lines"


def test_a_reply_has_a_bound_of_octets():
    line = b"250-" + b"x" * 2000 + b"\r\n"
    assert read(line * 17)[1] == "a reply has too many lines"


def test_pending_tells_of_octets_that_no_reply_used():
    reader = ReplyReader()
    assert not reader.pending
    reader.feed(b"220 go\r\n250 ")
    assert reader.next_reply() == ServerReply(220, (b"go",))
    assert reader.pending
    reader.feed(b"x\r\n250-y\r\n")
    reader.next_reply()
    assert reader.next_reply() is None
    assert reader.pending


@pytest.mark.parametrize(
    ("lines", "enhanced", "text"),
    [
        ((b"2.1.5 Ok",), "2.1.5", "Ok"),
        ((b"2.0.0",), "2.0.0", ""),
        ((b"2.1.5 one", b"2.1.5 two"), "2.1.5", "one two"),
        ((b"5.1.1 of another class",), "", "5.1.1 of another class"),
        ((b"2.1.5.6 no code",), "", "2.1.5.6 no code"),
        (("사용자".encode(),), "", "사용자"),
    ],
)
def test_the_enhanced_code_is_taken_off_the_text(lines, enhanced, text):
    assert ServerReply(250, lines).readable("smtp.internal") == Reply(250, enhanced, text, "smtp.internal")


def test_text_is_made_printable():
    assert printable(b"a\x00b\x1b[31m\tc\xff\xe2\x80\xae") == "a\ufffdb\ufffd[31m c\ufffd\ufffd"
    assert printable("전각　공백".encode()) == "전각 공백"


def test_text_is_bounded():
    assert len(printable(b"x" * 5000)) == replies.MAX_TEXT_LENGTH
    assert printable(b"x" * 5000).endswith("…")
    assert printable(b"x" * replies.MAX_TEXT_LENGTH) == "x" * replies.MAX_TEXT_LENGTH


@given(st.binary())
def test_any_octets_come_out_on_one_printable_line(octets):
    assert printable(octets).isprintable()


def test_2yz_is_positive():
    assert ServerReply(250, (b"",)).positive
    assert not ServerReply(354, (b"",)).positive

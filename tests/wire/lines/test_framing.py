"""Octets become lines and counted octets, however the network cuts them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailgate.wire.lines.framing import MAX_LINE, Broken, End, Framing, Line, Octets


def cut(*chunks):
    """Return the pieces in the chunks, neighbouring octets put together."""
    framing = Framing()
    pieces = []
    for chunk in chunks:
        framing.feed(chunk)
        while (piece := framing.next_piece()) is not None:
            if isinstance(piece, Octets) and pieces and isinstance(pieces[-1], Octets):
                pieces[-1] = Octets(pieces[-1].data + piece.data)
            else:
                pieces.append(piece)
    return pieces


def test_a_line_has_a_verb_in_any_case_and_an_argument():
    assert cut(b"mail b7-12\r\nSUBJ  two spaces \nSEND\n") == [
        Line("MAIL", None, b"b7-12"),
        Line("SUBJ", None, b" two spaces "),
        Line("SEND", None, b""),
    ]


def test_counted_octets_may_be_anything():
    assert cut(b"FILE#7 a/b c\nSEND\n\r\0\r\nPING#0\n\nPING\n") == [
        Line("FILE", 7, b"a/b c"),
        Octets(b"SEND\n\r\0"),
        End(),
        Line("PING", 0, b""),
        End(),
        Line("PING", None, b""),
    ]


def test_blank_lines_are_nothing():
    assert cut(b"\n\r\n\n", b"\r", b"\nPING\n") == [Line("PING", None, b"")]


@pytest.mark.parametrize(
    "octets",
    [
        b"FROM# x\n",
        b"FROM#01\n",
        b"FROM#-1\n",
        b"FROM#1234567890\n",
        b"FROM#1x\n",
        b"FROM##1\n",
        b"#5\n",
        b"F1#5 x\n",
    ],
)
def test_a_count_that_is_none_breaks(octets):
    [broken] = cut(octets)
    assert isinstance(broken, Broken)
    assert "count" in broken.reason


@pytest.mark.parametrize(
    "line", [b"4 zones", b" FROM x", b"FROM\tx", b"A" * 17, b"EHLO! x", b"\xea\xb9\x80", b"a:#b"]
)
def test_what_is_no_verb_is_a_line_without_one(line):
    head = line.partition(b" ")[0]
    [piece] = cut(line + b"\n")
    assert isinstance(piece, Broken) if b"#" in head else piece.verb == ""


def test_a_line_may_have_1024_octets_with_its_end_and_no_more():
    assert len(cut(b"TEXT ".ljust(MAX_LINE - 1, b"x") + b"\n")) == 1
    for octets in (b"TEXT ".ljust(MAX_LINE, b"x") + b"\n", b"TEXT ".ljust(MAX_LINE, b"x"), b"x" * 5000):
        [broken] = cut(octets)
        assert "longer" in broken.reason


def test_a_nul_in_a_line_breaks():
    [broken] = cut(b"SUBJ a\0b\n")
    assert "NUL" in broken.reason


@pytest.mark.parametrize("octets", [b"TEXT#2\nabc\n", b"TEXT#2\nab\rc\n", b"TEXT#2\nab PING\n", b"TEXT#0\nx"])
def test_counted_octets_that_go_on_break(octets):
    pieces = cut(octets)
    assert isinstance(pieces[-1], Broken)
    assert "followed" in pieces[-1].reason


def test_nothing_comes_after_a_break():
    assert len(cut(b"A#x\nPING\n", b"PING\n")) == 1


likely = st.lists(
    st.sampled_from(
        [b"PING", b"#3", b"#0", b" ", b"\n", b"\r\n", b"\r", b"abc", b"\0", b"#", b"9", b"TEXT#5\n", b"x" * 1020]
    ),
    max_size=30,
).map(b"".join)


@given(likely | st.binary(max_size=60), st.data())
def test_any_split_gives_the_same_pieces(octets, data):
    cuts = sorted(data.draw(st.lists(st.integers(0, len(octets)), max_size=8)))
    chunks = [octets[a:b] for a, b in zip([0, *cuts], [*cuts, len(octets)], strict=True)]
    assert cut(*chunks) == cut(octets)
    assert cut(*(bytes([octet]) for octet in octets)) == cut(octets)

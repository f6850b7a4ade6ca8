"""Base64 that is made piece by piece is the base64 of the whole."""

from base64 import b64encode

from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.wire.mime.bodies import Base64Lines, base64_length, base64_lines


@given(st.lists(st.binary(max_size=200), max_size=8))
@example([])
@example([b""])
@example([b"x" * 57])
@example([b"x" * 57, b"", b"x" * 57])
@example([b"x" * 58])
def test_however_the_octets_are_cut_the_lines_are_the_same(pieces):
    encoder = Base64Lines()
    made = b"".join([*map(encoder.encode, pieces), encoder.finish()])
    assert made == base64_lines(b64encode(b"".join(pieces)))


@given(st.integers(0, 5000))
@example(57)
@example(58)
def test_the_length_is_known_beforehand(octets):
    assert base64_length(octets) == len(base64_lines(b64encode(bytes(octets))))

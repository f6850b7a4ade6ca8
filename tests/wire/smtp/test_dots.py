"""Dot stuffing against a reader of DATA that was written from RFC 5321 alone."""

from hypothesis import example, given
from hypothesis import strategies as st

from mailgate.wire.smtp.dots import stuff

lines = st.lists(
    st.one_of(
        st.sampled_from([b"", b".", b"..", b"...", b".. ", b" .", b".QUIT", b"MAIL FROM:<x@example.com>"]),
        st.text(max_size=40).map(lambda text: text.replace("\r", "").replace("\n", "").encode()),
    ),
    min_size=1,
)
contents = lines.map(lambda lines: b"".join(line + b"\r\n" for line in lines))


def read_data(octets: bytes) -> tuple[bytes, bytes]:
    """Return the content and what follows it, as a server reads: RFC 5321 sections 4.1.1.4 and 4.5.2."""
    content = b""
    while True:
        line, end, octets = octets.partition(b"\r\n")
        assert end, "the content does not end"
        if line == b".":
            return content, octets
        content += (line[1:] if line.startswith(b".") else line) + b"\r\n"


@given(contents)
@example(b".\r\n")
@example(b".\r\nMAIL FROM:<x@example.com>\r\n.\r\n")
def test_a_server_reads_back_the_very_content(content):
    assert read_data(stuff(content) + b"QUIT\r\n") == (content, b"QUIT\r\n")


def test_a_dot_as_the_very_first_octet_is_stuffed():
    assert stuff(b".hidden\r\n") == b"..hidden\r\n.\r\n"


def test_a_dot_at_a_border_of_16384_octets_is_stuffed():
    content = b"x" * 16382 + b"\r\n.\r\nRCPT TO:<x@example.com>\r\n"
    assert read_data(stuff(content)) == (content, b"")


def test_line_ends_stay_as_they_are():
    assert stuff("안녕\r\n".encode()) == "안녕\r\n.\r\n".encode()


@given(st.binary(max_size=60))
@example(b"a\r\n\0\0")
@example(b"a\r")
@example(b"a\n")
@example(b".")
def test_whatever_a_damaged_text_has_become_it_ends(content):
    assert stuff(content).endswith(b"\r\n.\r\n") or stuff(content) == b".\r\n"

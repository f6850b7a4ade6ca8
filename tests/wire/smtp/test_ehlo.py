"""What a server offers."""

import pytest

from mailgate.wire.smtp.ehlo import Extensions, parse_extensions


def test_every_extension_is_read_in_any_case():
    lines = [
        b"smtp.internal greets",
        b"size 26214400",
        b"8BitMime",
        b"SmtpUtf8",
        b"pipelining",
        b"EnhancedStatusCodes",
        b"StartTLS",
        b"auth plain Login",
        b"Chunking",
        b"Dsn",
        b"limits rcptmax=100 MailMax=999999 RCPTDOMAINMAX=3 OTHER=x",
    ]
    assert parse_extensions(lines) == Extensions(
        size=26214400,
        eight_bit=True,
        smtputf8=True,
        pipelining=True,
        chunking=True,
        dsn=True,
        most_recipients=100,
        most_transactions=999999,
        starttls=True,
        auth=frozenset({"PLAIN", "LOGIN"}),
    )


def test_the_first_line_only_greets():
    assert parse_extensions([b"PIPELINING STARTTLS"]) == Extensions()


@pytest.mark.parametrize("line", [b"AUTH=PLAIN LOGIN", b"auth=plain login", b"AUTH PLAIN LOGIN"])
def test_auth_is_read_as_old_servers_wrote_it(line):
    assert parse_extensions([b"x", line]).auth == {"PLAIN", "LOGIN"}


def test_both_ways_of_auth_add_up():
    assert parse_extensions([b"x", b"AUTH PLAIN", b"AUTH=LOGIN"]).auth == {"PLAIN", "LOGIN"}


@pytest.mark.parametrize(
    ("line", "size"),
    [
        (b"SIZE", 0),
        (b"SIZE 0", 0),
        (b"SIZE 1000", 1000),
        (b"SIZE x", 0),
        (b"SIZE -1", 0),
        (b"SIZE " + b"9" * 21, 0),
    ],
)
def test_a_size_without_a_number_is_no_limit(line, size):
    assert parse_extensions([b"x", line]).size == size


@pytest.mark.parametrize("line", [b"", b"   ", b"\xff\xfe", "확장".encode(), b"XAUTH=PLAIN"])
def test_other_lines_are_passed_over(line):
    assert parse_extensions([b"x", line]) == Extensions()


@pytest.mark.parametrize(
    "parameter",
    [b"RCPTMAX=0", b"RCPTMAX=01", b"RCPTMAX=1000000", b"RCPTMAX=-1", b"RCPTMAX=", b"RCPTMAX", b"RCPTMAX=1x"],
)
def test_what_is_no_limit_is_passed_over(parameter):
    assert parse_extensions([b"x", b"LIMITS " + parameter + b" MAILMAX=2"]) == Extensions(most_transactions=2)

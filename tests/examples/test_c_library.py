"""The protocol's part of the C example at its limits, compiled to stop at whatever C leaves undefined."""

import shutil
import subprocess
from pathlib import Path

import pytest

LIBRARY = Path(__file__).parents[2] / "examples" / "c"
MOST = 2**32 - 1
HOUR = 3600
LARGEST_COUNT = 999_999_999


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """Call the library; return what it prints."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    program = tmp_path_factory.mktemp("library") / "library"
    strict = ["-std=c99", "-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror"]
    checked = ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
    sources = [Path(__file__).with_name("library.c"), LIBRARY / "mailgate.c"]
    done = subprocess.run(
        ["cc", *strict, *checked, f"-I{LIBRARY}", "-o", program, *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr

    def call(*arguments, said=""):
        done = subprocess.run(
            [program, *map(str, arguments)], input=said, capture_output=True, text=True, check=False
        )
        assert (done.returncode, done.stderr) == (0, ""), done
        return done.stdout

    return call


@pytest.fixture(scope="module")
def understood(library):
    """Return what the library makes of a greeting and a reply."""

    def ask(said):
        return dict(line.split("=", 1) for line in library("replies", said=said).splitlines() if "=" in line)

    return ask


@pytest.mark.parametrize(
    ("tries", "longest"),
    [(0, 5), (1, 5), (2, 10), (3, 20), (10, 2560), (11, HOUR), (12, HOUR), (33, HOUR), (64, HOUR), (MOST, HOUR)],
)
def test_the_wait_doubles_up_to_an_hour_whatever_the_count_of_tries(library, tries, longest):
    assert int(library("wait", 0, 0, tries, 0)) == longest
    waits = [int(library("wait", 0, 0, tries, random)) for random in (1, 12345, MOST)]
    assert all(longest * 3 / 4 <= wait <= longest for wait in waits)


@pytest.mark.parametrize("retry", [1, 30, HOUR, 86_400, MOST - 1, MOST])
@pytest.mark.parametrize("random", [0, 7, MOST // 5, MOST])
def test_the_wait_is_never_less_than_was_asked_for(library, retry, random):
    assert retry <= int(library("wait", retry, 0, 1, random)) <= min(retry * 5 / 4, MOST)


def test_the_wait_of_a_device_that_is_barred_is_the_longest(library):
    assert int(library("wait", 0, 1, 1, 0)) == HOUR


@pytest.mark.parametrize(
    ("size", "texts", "files", "fits"),
    [
        (0, LARGEST_COUNT, LARGEST_COUNT, 1),
        (0, 0, LARGEST_COUNT + 1, 0),
        (0, LARGEST_COUNT + 1, 0, 0),
        (0, 0, 2**32 + 5, 0),
        (0, 2**32 + 5, 0, 0),
        (1000, 744, 0, 1),
        (1000, 745, 0, 0),
        (1000, 0, 9 * 57, 1),
        (1000, 0, 9 * 57 + 1, 0),
        (MOST, LARGEST_COUNT, LARGEST_COUNT, 1),
        (2_368_000_000, LARGEST_COUNT, LARGEST_COUNT, 0),
    ],
)
def test_what_fits(library, size, texts, files, fits):
    assert int(library("fits", size, texts, files)) == fits


WELCOME = "220 mailgate/1 h id=c size=1 time=2 expires=3\n"


@pytest.mark.parametrize("count", [0, 5, LARGEST_COUNT])
def test_a_count_is_written_as_it_is(library, count):
    written = library("message", "b7", count, "a/b", "c.jpg", said=f"{WELCOME}250 2.0.0 b7 id=x\n")
    assert written == f"MAIL b7\nFILE#{count} a/b c.jpg\n\nSEND\noutcome=2\n"


@pytest.mark.parametrize("count", [LARGEST_COUNT + 1, 2**32 - 1, 2**32, 2**32 + 5, 2**64 - 1])
def test_a_count_that_the_protocol_has_no_digits_for_is_given_up(library, count):
    written = library("message", "b7", count, "a/b", "c.jpg", said=f"{WELCOME}250 2.0.0 b7 id=x\n")
    assert written == "outcome=5\n"


@pytest.mark.parametrize(
    ("key", "kind", "name"),
    [
        ("", "a/b", "c"),
        ("b7\nDROP", "a/b", "c"),
        ("k" * 65, "a/b", "c"),
        ("b7", "a/b\nDROP", "c"),
        ("b7", "a /b", "c"),
        ("b7", "a/b", "c\r\nDROP"),
        ("b7", "a/b", "\x7f"),
        ("b7", "a/b", ""),
        ("b7", "a/b", "c" * 256),
        ("b7", "a" * 256, "c"),
    ],
)
def test_what_would_break_the_framing_is_given_up(library, key, kind, name):
    written = library("message", key, 1, kind, name, said=f"{WELCOME}250 2.0.0 b7 id=x\n")
    assert written == "outcome=5\n"


def test_the_longest_line_is_one_that_the_gateway_takes(library):
    said = f"{WELCOME}250 2.0.0 b7 id=x\n"
    written = library("message", "k" * 64, LARGEST_COUNT, "a" * 255, "c" * 255, said=said)
    assert written.endswith("SEND\noutcome=2\n")
    assert max(map(len, written.splitlines())) < 1024


@pytest.mark.parametrize("length", range(1, 65))
def test_a_pause_is_found_behind_a_key_of_any_length(understood, length):
    key = "k" * length
    said = f"{WELCOME}450 4.7.0 {key} retry=86400 the rate of this client is used up\n"
    reply = understood(said)
    assert (reply["outcome"], reply["retry"]) == ("4", "86400")
    assert reply["reply"] == said.splitlines()[1][:63]


@pytest.mark.parametrize("length", [1, 20, 40, 64, 200, 2000])
def test_a_greeting_is_understood_behind_a_name_of_any_length(understood, length):
    said = f"220 mailgate/1 gate.example.com id={'n' * length} size=26214400 time=1767225600 expires=364\n"
    greeting = understood(said)
    assert (greeting["opened"], greeting["size"], greeting["time"]) == ("0", "26214400", "1767225600")


@pytest.mark.parametrize(
    ("text", "retry"),
    [
        ("retry=7 later", 7),
        ("retry=7", 7),
        ("id=retry=7 no", 0),
        ("noretry=7 no", 0),
        ("retryretry=7 no", 0),
        ("retr=7 no", 0),
        ("retry =7 no", 0),
        ("retry= 7 no", 0),
        ("retry=x7 no", 0),
        ("retry=7x8 once", 7),
        ("xretry=1 retry=7", 7),
        ("size=9 time=9 retry=7", 7),
        ("retry=4294967295 the most", MOST),
        ("retry=4294967296 more", MOST),
        ("retry=99999999999999999999 more", MOST),
    ],
)
def test_what_is_a_pause_and_what_is_not(understood, text, retry):
    reply = understood(f"{WELCOME}450 4.7.0 b7 {text}\n")
    assert int(reply["retry"]) == retry


def test_details_are_skipped_with_their_numbers(understood):
    said = f"{WELCOME}250-2.0.0 rule=x retry=5\n250-2.0.0 size=715\n250 2.0.0 b7 dry run\n"
    reply = understood(said)
    assert (reply["outcome"], reply["retry"], reply["size"]) == ("2", "0", "1")


@pytest.mark.parametrize("said", ["", "4", "450", "450 4.7.0 b7 retry=1", "450-4.7.0 retry=1\n"])
def test_a_reply_that_does_not_end_is_lost_with_its_numbers(understood, said):
    reply = understood(WELCOME + said)
    assert (reply["outcome"], reply["retry"], reply["lost"]) == ("4", "0", "1")


@pytest.mark.parametrize("greeting", ["535 5.7.8 - unknown\n", "554 no\n", "421 4.3.2 - closing\n", "", "22"])
def test_no_other_greeting_is_a_welcome(understood, greeting):
    opened = understood(greeting)
    assert opened["opened"] == "-1"


def test_a_client_that_is_shut_out_later_keeps_its_message(understood):
    reply = understood(f"{WELCOME}535 5.7.8 - client disabled\n")
    assert (reply["outcome"], reply["barred"]) == ("4", "1")

"""What can't be sent is told before anything reaches the gateway: each example on its command line."""

import subprocess

import pytest

pytestmark = pytest.mark.e2e

CONTROL = ["\n", "\r", "\r\n", "\x01", "\t", "\x1b", "\x1f", "\x7f"]
TRIES, CA, CERTIFICATE, PRIVATE_KEY, KEY, FILE, TYPE = 1, 4, 5, 6, 7, 12, 13


@pytest.fixture
def told(example, cable):
    """Run the example with some of its arguments replaced; nothing of it may reach the gateway."""

    def run(*file, **replaced):
        arguments = example.arguments(cable.port, "bad-1", *file)
        for place, argument in replaced.items():
            arguments[globals()[place]] = str(argument)
        result = example.run(arguments)
        assert cable.flights == []
        assert result.lines == []
        return result

    return run


@pytest.fixture
def picture(tmp_path):
    path = tmp_path / "camera.jpg"
    path.write_bytes(b"picture")
    return path


@pytest.mark.parametrize("key", ["", "b7 1", "b7/1", "b7-é", "k" * 65, *(f"b7{end}DROP" for end in CONTROL)])
def test_a_key_that_is_none_is_bad_usage(told, key):
    result = told(KEY=key)
    assert result.status == 64
    assert "1 to 64 of A-Z a-z 0-9" in result.errors


@pytest.mark.parametrize("end", CONTROL)
def test_a_control_character_in_the_name_of_a_file_is_bad_usage(told, tmp_path, end):
    path = tmp_path / f"c.jpg{end}SEND{end}"
    path.write_bytes(b"")
    result = told(path, "image/jpeg")
    assert result.status == 64
    assert "a file's name" in result.errors


@pytest.mark.parametrize("unfit", ["", "image/jpeg x", *(f"a/b{end}DROP" for end in CONTROL)])
def test_a_type_that_would_not_end_where_it_should_is_bad_usage(told, picture, unfit):
    result = told(picture, unfit)
    assert result.status == 64
    assert "a file's type" in result.errors


# An argument of MicroPython has 255 octets at most.
@pytest.mark.parametrize("example", ["mbedtls", "wolfssl", "python", "shell"], indirect=True)
def test_a_type_too_long_for_a_line_is_bad_usage(told, picture):
    result = told(picture, "x" * 256)
    assert result.status == 64
    assert "a file's type" in result.errors


@pytest.mark.parametrize("tries", ["0", "-1", "x", "", "1x", "²"])
def test_tries_are_a_number(told, tries):
    result = told(TRIES=tries)
    assert result.status == 64
    assert "usage: " in result.errors


@pytest.mark.parametrize("arguments", [[], ["-t"], ["-t", "1"], ["x"] * 9, ["x"] * 11, ["x"] * 13])
def test_wrong_usage_is_told(example, arguments):
    result = example.run(arguments)
    assert (result.status, result.lines) == (64, [])
    assert "usage: " in result.errors
    assert "[FILE TYPE]" in result.errors
    assert "Traceback" not in result.errors


@pytest.mark.parametrize("place", ["CA", "CERTIFICATE", "PRIVATE_KEY", "FILE"])
@pytest.mark.parametrize("there", [False, True], ids=["missing", "a directory"])
def test_a_file_that_can_not_be_read_is_given_up_by_name(told, picture, tmp_path, place, there):
    path = tmp_path / "unreadable"
    if there:
        path.mkdir()
    result = told(picture, "image/jpeg", **{place: path})
    assert result.status == 5
    assert str(path) in result.errors
    assert "Traceback" not in result.errors


@pytest.mark.parametrize("field", ["subject", "sender"])
@pytest.mark.parametrize("end", ["\n", "\r", "\x01"])
def test_a_control_character_in_a_counted_field_is_for_the_gateway_to_refuse(example, gateway, field, end):
    accepted = len(gateway.events("message.accepted"))
    result = example.send(gateway.lines_port, "bad-2", **{field: f"cam3@example.com{end}SEND{end}MAIL x"})
    assert (result.status, len(result.lines)) == (5, 1), result
    assert result.lines[0].startswith(f"554 5.6.0 {example.key('bad-2')} ")
    assert len(gateway.events("message.accepted")) == accepted


@pytest.mark.parametrize("example", ["micropython", "python"], indirect=True)
@pytest.mark.parametrize(
    "message",
    ["'b7\\0', []", "'b7', [], ('PATH', 'a/b', 'c\\0.jpg')", "'b7', [], ('PATH', 'a/b\\0', 'c.jpg')"],
)
def test_a_message_made_in_python_can_not_hold_a_nul_either(example, picture, message):
    interpreter, script = example.command
    folder = script.rpartition("/")[0]
    made = f"import sys; sys.path.insert(0, {folder!r}); import mailgate; mailgate.Message({message})"
    done = subprocess.run(
        [interpreter, "-c", made.replace("PATH", str(picture))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    # MicroPython prints it as output.
    assert "ValueError: a" in done.stdout + done.stderr

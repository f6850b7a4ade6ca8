"""
The shell commands of certs/README.md, taken from the page itself, so that what it says is what is tested.

No test module imports this by name; load it by its path::

    spec = importlib.util.spec_from_file_location("readme_commands", ROOT / "tests/ca/readme_commands.py")
    readme_commands = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(readme_commands)
    readme_commands.make_openssl_certificates(tmp_path)   # ca, server, client: .crt and .key
"""

import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

README = Path(__file__).parents[2] / "certs" / "README.md"

MAILGATE = "With mailgate"
PLAIN_OPENSSL = "With plain openssl"
STRICTER_CLIENTS = "Where newer clients are stricter"

_SECTION = re.compile(r"^## (?P<title>.+)\n(?P<text>(?:(?!## ).*\n?)*)", re.MULTILINE)
_SHELL_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shell_blocks(section: str) -> list[str]:
    """Return the ```sh blocks of one section, in order; a section that is missing or has none is an error."""
    texts = {match["title"]: match["text"] for match in _SECTION.finditer(README.read_text())}
    blocks = _SHELL_BLOCK.findall(texts[section])
    if not blocks:
        raise ValueError(f"section {section!r} of {README} has no shell block")
    return blocks


def run(commands: str, directory: Path, environment: Mapping[str, str] | None = None) -> str:
    """Run commands in `directory` by sh, up to the first that fails, and return what they printed."""
    done = subprocess.run(
        ["sh", "-eu", "-c", commands],
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    if done.returncode:
        raise AssertionError(f"the commands failed with status {done.returncode}:\n{commands}\n{done.stdout}")
    return done.stdout


def make_openssl_certificates(directory: Path) -> None:
    """Make ca, server and client, ``.crt`` and ``.key`` each, by the page's plain-openssl commands."""
    run("".join(shell_blocks(PLAIN_OPENSSL)), directory)

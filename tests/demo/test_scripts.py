"""What scripts/demo says on a machine that lacks something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = ["sh", "dirname", "cat", "cksum", "find", "sort", "tr", "rm", "tail"]


@pytest.fixture
def clone(tmp_path):
    """The scripts in a folder of their own, and a PATH with no Python on it."""
    shutil.copytree(ROOT / "scripts", tmp_path / "clone" / "scripts")
    programs = tmp_path / "bin"
    programs.mkdir()
    for tool in TOOLS:
        (programs / tool).symlink_to(shutil.which(tool))
    return tmp_path / "clone"


def run(clone, *arguments):
    return subprocess.run(
        [clone / "scripts" / "demo", *arguments],
        env={"PATH": str(clone.parent / "bin"), "HOME": str(clone)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def give_python(clone, name, body):
    program = clone.parent / "bin" / name
    program.write_text(f"#!/bin/sh\n{body}\n")
    program.chmod(0o755)


def test_says_that_python_is_missing(clone):
    done = run(clone)
    assert done.returncode == 1
    assert done.stderr == (
        "mailgate needs Python 3.11 or later: install it "
        "(on Debian and Ubuntu: apt install python3 python3-venv).\n"
    )


def test_says_that_python_is_too_old_as_if_there_were_none(clone):
    give_python(clone, "python3", "exit 1")
    assert run(clone).stderr.startswith("mailgate needs Python 3.11 or later")


def test_says_which_package_has_venv(clone):
    version = "python{}.{}".format(*sys.version_info[:2])
    give_python(clone, "python3", f'case $2 in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    done = run(clone)
    assert done.returncode == 1
    assert done.stderr == (
        f"python3 has no venv module: install it (on Debian and Ubuntu: apt install {version}-venv).\n"
    )


def test_takes_the_first_python_that_can_do_all(clone):
    give_python(clone, "python3", f'case $2 in *ensurepip*) exit 1;; esac\nexec {sys.executable} "$@"')
    give_python(clone, "python3.11", f'exec {sys.executable} "$@"')
    done = run(clone)
    # The clone holds nothing but scripts: the environment is made, and then pip finds no project.
    assert "Making a virtual environment" in done.stderr
    assert "The installation failed" in done.stderr
    assert (clone / ".venv" / "bin" / "python").exists()


@pytest.mark.parametrize("script", ["demo", "test", "benchmark", "torture", "lib.sh"])
def test_the_scripts_are_plain_posix_shell(script):
    shell = shutil.which("dash")
    if shell is None:
        pytest.skip("dash is not installed")
    subprocess.run([shell, "-n", ROOT / "scripts" / script], check=True, env=dict(os.environ))

"""What pip makes of the source tree: a wheel and an sdist with everything, and an install that works anywhere."""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PLUGIN = "twisted/plugins/mailgate_plugin.py"


def run(*command, **options):
    """Run a program outside of the checkout, and return what it printed."""
    environment = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run(
        [str(part) for part in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=300,
        env=environment,
        **options,
    )
    assert done.returncode == 0, f"{command}:\n{done.stdout}"
    return done.stdout


@pytest.fixture(scope="session")
def tree(tmp_path_factory):
    """A copy of what a clone has, so that building leaves nothing behind."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    copy = tmp_path_factory.mktemp("tree")
    for name in listed.decode().rstrip("\0").split("\0"):
        source = ROOT / name
        if source.is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, copy / name)
    return copy


@pytest.fixture(scope="session")
def built(tree, tmp_path_factory):
    """The sdist, and the wheel that is made from it."""
    target = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", target, tree, cwd=target)
    (sdist,) = target.glob("*.tar.gz")
    (wheel,) = target.glob("*.whl")
    return sdist, wheel


def sources():
    return {str(path.relative_to(ROOT)) for path in (ROOT / "mailgate").rglob("*.py")}


def test_the_wheel_has_every_module_and_the_plugin(built):
    with zipfile.ZipFile(built[1]) as wheel:
        names = set(wheel.namelist())
    assert sources() | {PLUGIN, "mailgate/py.typed"} <= names
    assert "twisted/__init__.py" not in names
    assert "twisted/plugins/__init__.py" not in names
    assert not [name for name in names if name.startswith("tests/")]


def test_the_sdist_has_every_module_and_the_plugin(built):
    with tarfile.open(built[0]) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    assert sources() | {PLUGIN, "pyproject.toml", "setup.cfg", "LICENSE", "README.md"} <= names


@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
def test_an_install_into_a_clean_environment_works_from_any_directory(version, built, tmp_path):
    python = interpreter(version)
    if python is None:
        pytest.skip(f"no Python {version} that can make virtual environments is on the PATH")
    run(python, "-m", "venv", tmp_path / "venv")
    bin_ = tmp_path / "venv" / "bin"
    run(bin_ / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", built[1], cwd=tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert "--config" in run(bin_ / "twistd", "mailgate", "--help", cwd=elsewhere)
    assert "demo" in run(bin_ / "mailgate", "--help", cwd=elsewhere)
    assert "mailgate" in run(bin_ / "twistd", "--help", cwd=elsewhere)
    run(bin_ / "python", "-W", "error", "-c", "import mailgate.tap, mailgate.cli", cwd=elsewhere)


def interpreter(version):
    """
    Return a Python of that version which really runs, from the PATH or from pyenv, or None.

    What pyenv puts on the PATH is a launcher, which may not be set to start the version it is named for.
    """
    major, minor = version.split(".")
    check = f"import sys, venv, ensurepip; sys.exit(sys.version_info[:2] != ({major}, {minor}))"
    directories = [Path(each) for each in os.get_exec_path()]
    candidates = [directory / name for name in (f"python{version}", "python3") for directory in directories]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    candidates += sorted(pyenv.glob(f"versions/{version}.*/bin/python"))
    for candidate in filter(os.path.isfile, candidates):
        tried = subprocess.run([candidate, "-c", check], capture_output=True, check=False, timeout=60)
        if tried.returncode == 0:
            return candidate
    return None

"""A short run of what `scripts/fuzz` does at length."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_short_run_finds_nothing():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "fuzz" / "lines.py", "40000", "7"],
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("40000 inputs in ")

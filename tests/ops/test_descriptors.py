"""Connections never take the last descriptor."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """
import resource
from mailgate.ops.descriptors import connections_for
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(connections_for({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


def allowed(soft, hard, wanted):
    """Ask in a process of its own, since a limit that was lowered can't be raised again."""
    if hard > resource.getrlimit(resource.RLIMIT_NOFILE)[1] >= 0:
        pytest.skip("this machine's own limit is lower")
    program = PROGRAM.format(soft=soft, hard=hard, wanted=wanted)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    connections, limit = map(int, done.stdout.split())
    return connections, limit


def test_the_soft_limit_is_raised_as_far_as_it_is_needed():
    connections, limit = allowed(256, 4096, 1000)
    assert connections == 1000
    assert 1500 < limit < 1600


def test_what_the_hard_limit_leaves_is_what_there_is():
    connections, limit = allowed(256, 1024, 10_000)
    assert limit == 1024
    assert connections == 1024 * 3 // 4 - 128


def test_a_limit_that_is_high_enough_stays_as_it_is():
    assert allowed(2048, 2048, 100) == (100, 2048)

"""What all tests share: how property tests are run, and a reactor for whoever only needs calls from threads."""

import queue
import time

import pytest
from harness.postgresql import READY, Cluster
from hypothesis import settings
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from mailgate.queue.opening import make_database

DEADLINE = 30.0

# The same examples every time, and no failure because a machine is busy.
# `--hypothesis-profile=explore` looks for new examples instead.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
settings.register_profile("explore", deadline=None, max_examples=2000)
settings.load_profile("steady")


class Turns:
    """A reactor of which only callFromThread is left: what was handed over is called when the test waits."""

    def __init__(self):
        self._calls = queue.Queue()

    def callFromThread(self, function, *args):
        self._calls.put((function, args))

    def until(self, condition):
        end = time.monotonic() + DEADLINE
        while not condition():
            function, args = self._calls.get(timeout=max(0.0, end - time.monotonic()))
            function(*args)

    def wait(self, deferred: Deferred):
        """Return the Deferred's result, or raise its failure."""
        results = []
        deferred.addBoth(results.append)
        self.until(lambda: results)
        if isinstance(results[0], Failure):
            results[0].raiseException()
        return results[0]


@pytest.fixture
def turns():
    return Turns()


@pytest.fixture(scope="session")
def postgresql():
    """A PostgreSQL server for all tests that leave it running; each takes a database of its own."""
    cluster = Cluster().initialise().start(fsync="off")
    try:
        cluster.ask(f"CREATE DATABASE {READY}")
        make_database(cluster.url(READY), Clock()).upgrade()
        yield cluster
    finally:
        cluster.remove()

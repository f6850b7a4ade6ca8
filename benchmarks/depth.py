"""
What the queue's steps cost while more and more messages wait in it: the depth's logarithm is allowed.

    depth.py [--url URL] [--most MESSAGES]

Without a URL a file of SQLite is made and removed again. A URL names a database that `mailgate queue upgrade` made
ready; its messages stay there. At each depth a step is done some times and the median told, in milliseconds:
accepting and claiming a hundred messages, settling them, finding one by its id and by its key; and once the count
of all, which has a thread of its own in the gateway. Beside them: the process's memory.
"""

import argparse
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection
from twisted.internet.task import Clock

from mailgate.model.ids import new_id
from mailgate.model.outcome import Outcome, Status
from mailgate.queue import records
from mailgate.queue.accepting import accept
from mailgate.queue.interface import NewMessage, Settlement
from mailgate.queue.leasing import claim
from mailgate.queue.opening import make_database
from mailgate.queue.settling import settle

DEPTHS = (1_000, 10_000, 100_000, 1_000_000)
TOGETHER = 100
ROUNDS = 21
OWNER = "depth"
CLIENTS = tuple(f"센서-{number}" for number in range(20))
NAMES = ("accept 100", "claim 100", "settle 100", "find", "by key", "next due", "count all")


def new_message(now: float) -> NewMessage:
    """Return a small message with an idempotency key."""
    identifier = new_id(now)
    return NewMessage(
        id=identifier,
        message_id=f"<{identifier}@gate.example.com>",
        client=random.choice(CLIENTS),
        door="lines",
        created_at=now,
        due_at=now,
        expires_at=now + 5 * 86400,
        sender="dev7@example.com",
        recipients=("kim@example.com",),
        content="Subject: 온도 경고\r\n\r\n3번 구역이 뜨겁습니다.\r\n".encode(),
        eight_bit=True,
        smtputf8=False,
        fingerprint="0" * 64,
        idempotency_key=identifier,
        metadata={},
    )


class Bench:
    """Fills a queue, and measures its steps."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.depth = 0

    def fill(self, depth: int) -> None:
        """Accept messages until so many wait."""
        while self.depth < depth:
            now = time.time()
            messages = [new_message(now) for _ in range(min(500, depth - self.depth))]
            self._run(lambda messages=messages, now=now: accept(self._connection, messages, OWNER, now))
            self.depth += len(messages)

    def measure(self) -> dict[str, float]:
        """Return the median of each step, in milliseconds; the depth stays what it is."""
        taken: dict[str, list[float]] = {name: [] for name in NAMES}
        for turn in range(ROUNDS):
            now = time.time()
            new = [new_message(now) for _ in range(TOGETHER)]
            known = new[turn % TOGETHER]
            seconds, _ = self._run(lambda new=new, now=now: accept(self._connection, new, OWNER, now))
            taken["accept 100"].append(seconds)
            seconds, claims = self._run(lambda now=now: claim(self._connection, TOGETHER, OWNER, now))
            taken["claim 100"].append(seconds)
            done = [
                Settlement(each.id, (Outcome(0, Status.ACCEPTED, None),), now, None)
                for each in claims  # type: ignore[attr-defined]
            ]
            seconds, held = self._run(lambda done=done, now=now: settle(self._connection, done, OWNER, now))
            assert held == [True] * TOGETHER
            taken["settle 100"].append(seconds)
            looks: dict[str, Callable[[], object]] = {
                "find": lambda known=known, now=now: records.find(self._connection, known.client, known.id, now),
                "by key": lambda known=known, now=now: records.find_by_key(
                    self._connection, known.client, known.id, now
                ),
                "next due": lambda: records.next_due(self._connection),
            }
            for name, look in looks.items():
                taken[name].append(self._run(look)[0])
        taken["count all"].append(self._run(lambda: records.survey(self._connection, time.time()))[0])
        return {name: statistics.median(each) * 1000 for name, each in taken.items()}

    def _run(self, step: Callable[[], object]) -> tuple[float, object]:
        begun = time.perf_counter()
        with self._connection.begin():
            result = step()
        return time.perf_counter() - begun, result


def memory() -> int:
    """Return the process's resident memory in MiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) // 1024
    return 0


def run(url: str, most: int) -> None:
    """Fill the queue at the URL step by step, and print a line for each depth."""
    database = make_database(url, Clock(), Clock().seconds)
    database.open()
    try:
        with database.writer() as connection:
            bench = Bench(connection)
            print(f"{'waiting':>9} " + " ".join(f"{name:>11}" for name in NAMES) + "  memory")
            for depth in (each for each in DEPTHS if each <= most):
                bench.fill(depth)
                figures = bench.measure()
                print(f"{depth:>9,} " + " ".join(f"{figures[name]:>8.2f} ms" for name in NAMES), end="")
                print(f"  {memory()} MiB", flush=True)
    finally:
        database.close()


def main() -> None:
    """Read the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", help="the queue's URL, as in the settings")
    parser.add_argument("--most", type=int, default=DEPTHS[-1], metavar="MESSAGES")
    options = parser.parse_args()
    if options.url is not None:
        run(options.url, options.most)
        return
    with tempfile.TemporaryDirectory() as folder:
        run(f"sqlite:///{folder}/queue.db", options.most)


if __name__ == "__main__":
    sys.exit(main())

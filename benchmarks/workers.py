"""
What several workers bring: messages a second, and what they cost, with one process and with two workers in turn.

``python benchmarks/workers.py [ROUNDS]``: over keep-alive connections, and with a new mutual-TLS connection for
each message, on SQLite. The load and the internal server share the processors, so where there are few of these,
look at the CPU time: it says what a machine with a free core for each worker would do.
"""

import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from load import connect, exchange, request
from run import cpu_seconds, received, start_sink

from mailgate.demo.stage import Stage, free_port, listening_port

HERE = Path(__file__).parent
SENDERS = 2
"""Processes that send, each over 16 connections."""

CONNECTIONS = 16
MESSAGES = {"keep-alive": 1600, "new connections": 480}
WARM_UP = 320


@dataclass(frozen=True, slots=True)
class Result:
    """Messages a second; seconds of CPU for each, of all processes, of the busiest one, of the supervisor."""

    rate: float
    cpu: float
    busiest: float
    supervisor: float


def send_anew(port: int, certificates: Path, messages: int) -> None:
    """Send messages, each over a connection of its own."""
    octets = request()

    def send() -> None:
        for _ in range(messages // CONNECTIONS):
            with connect(port, certificates) as connection:
                exchange(connection, octets)

    threads = [threading.Thread(target=send) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def send_all(kind: str, port: int, stage: Stage, messages: int) -> float:
    """Let every sender send so many messages; return the seconds."""
    numbers = [str(port), stage.certificates, str(messages)]
    if kind == "keep-alive":
        command = [sys.executable, HERE / "load.py", *numbers, str(CONNECTIONS)]
    else:
        command = [sys.executable, __file__, "--send", *numbers]
    began = time.monotonic()
    senders = [subprocess.Popen(command, stdout=subprocess.DEVNULL) for _ in range(SENDERS)]
    for sender in senders:
        if sender.wait():
            raise SystemExit("a sender failed")
    return time.monotonic() - began


def processes(pid: int) -> list[int]:
    """Return the process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def measure(kind: str, workers: int) -> Result:
    """Start a gateway, warm it up, and measure it."""
    with tempfile.TemporaryDirectory(prefix="mailgate-workers-") as folder:
        stage = Stage(Path(folder))
        stage.prepare()
        port = free_port()
        with start_sink(stage) as sink:
            stage.write_settings(port, free_port(), listening_port(sink))
            stage.settings.write_text(f"workers = {workers}\n{stage.settings.read_text()}")
            with stage.start_gateway() as gateway:
                gateway.wait_until(lambda: '"gateway.started"' in gateway.printed, "started")
                send_all("keep-alive", port, stage, WARM_UP)
                gateway.wait_until(lambda: received(sink) == WARM_UP * SENDERS, "delivered the warm-up")
                stats = [Path(f"/proc/{pid}/stat") for pid in processes(gateway.pid)]
                before = [cpu_seconds(stat) for stat in stats]
                seconds = send_all(kind, port, stage, MESSAGES[kind])
                total = MESSAGES[kind] * SENDERS
                gateway.wait_until(lambda: received(sink) == WARM_UP * SENDERS + total, "delivered all", 120)
                spent = [cpu_seconds(stat) - then for stat, then in zip(stats, before, strict=True)]
    supervisor = spent[0] if workers > 1 else 0.0
    return Result(total / seconds, sum(spent) / total, max(spent) / total, supervisor / total)


def main(rounds: int) -> None:
    """Measure in turn, and print medians."""
    for kind in MESSAGES:
        results: dict[int, list[Result]] = {1: [], 2: []}
        for _ in range(rounds):
            for workers, found in results.items():
                found.append(measure(kind, workers))
        print(f"\n{kind}, {rounds} rounds")
        for workers, found in results.items():
            rate = statistics.median(each.rate for each in found)
            cpu, busiest, supervisor = (
                statistics.median(getattr(each, name) for each in found) * 1000
                for name in ("cpu", "busiest", "supervisor")
            )
            print(
                f"  workers {workers}: {rate:5.0f} /s; CPU a message {cpu:.3f} ms, of the busiest process "
                f"{busiest:.3f} ms, of the supervisor {supervisor:.3f} ms"
            )
        ratios = [two.rate / one.rate for one, two in zip(results[1], results[2], strict=True)]
        print(f"  two to one, round by round: {', '.join(f'{ratio:.2f}' for ratio in ratios)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--send"]:
        send_anew(int(sys.argv[2]), Path(sys.argv[3]), int(sys.argv[4]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)

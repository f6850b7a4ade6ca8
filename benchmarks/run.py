"""
What a durable, delivered message costs: CPU time of the gateway's process, over keep-alive mutual TLS.

The load and the internal server are processes of their own, so that only the gateway's own work is counted.
The yardstick, measured in the same run, is bare twisted.web behind the same TLS: figures of different machines
compare as multiples of it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from profile_rooms import shares

from mailgate.demo.processes import Program
from mailgate.demo.stage import Stage, answers, free_port, listening_port, twistd

HERE = Path(__file__).parent
CONNECTIONS = 32
WARM_UP = 640
SMALLEST_SHARE = 0.005
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class Result:
    """One run: seconds of CPU for each message, in all and of the reactor's thread, and how the load saw it."""

    cpu: float
    reactor: float
    rate: float
    delivered_rate: float
    milliseconds: Sequence[float]

    def percentile(self, share: float) -> float:
        """Return the milliseconds within which that share of the answers came."""
        return self.milliseconds[min(int(len(self.milliseconds) * share), len(self.milliseconds) - 1)]


def cpu_seconds(path: Path) -> float:
    """Return user and system time from a ``stat`` file of /proc (proc(5))."""
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


def load(port: int, stage: Stage, messages: int) -> tuple[float, list[float]]:
    """Send messages; return the seconds it took and the milliseconds of each answer, in order of length."""
    done = subprocess.run(
        [sys.executable, HERE / "load.py", str(port), stage.certificates, str(messages), str(CONNECTIONS)],
        check=True,
        stdout=subprocess.PIPE,
    )
    result = json.loads(done.stdout)
    return result["seconds"], result["milliseconds"]


def received(sink: Program) -> int:
    """Return how many messages the internal server has told of."""
    counts = [line for line in sink.printed.splitlines() if line.startswith("received ")]
    return int(counts[-1].removeprefix("received ")) if counts else 0


def start_sink(stage: Stage) -> Program:
    """Start an internal server that only counts."""
    tls = ["--certificate", stage.certificates / "internal.crt", "--key", stage.certificates / "internal.key"]
    command = [sys.executable, "-m", "mailgate.demo.smtp_server", "--count-only", *tls]
    return Program("the internal SMTP server", command, stage.folder / "smtp-server.log")


def measure(stage: Stage, messages: int, *profiler: str) -> Result:
    """Start the gateway, warm it up, and measure it until the last message is delivered."""
    port = free_port()
    with start_sink(stage) as sink:
        stage.write_settings(port, free_port(), listening_port(sink))
        command = [twistd(), "-n", f"--pidfile={stage.folder / 'gateway.pid'}", *profiler]
        command += ["mailgate", "--config", stage.settings]
        with Program("the gateway", command, stage.folder / "gateway.log") as gateway:
            gateway.wait_until(lambda: answers(port), "took connections")
            load(port, stage, WARM_UP)
            gateway.wait_until(lambda: received(sink) >= WARM_UP, "delivered the warm-up", 120)
            process = Path("/proc") / str(gateway.pid)
            reactor = process / "task" / str(gateway.pid) / "stat"
            before, reactor_before = cpu_seconds(process / "stat"), cpu_seconds(reactor)
            started = os.times().elapsed
            seconds, milliseconds = load(port, stage, messages)
            gateway.wait_until(lambda: received(sink) >= WARM_UP + messages, "delivered all", 120)
            delivered = os.times().elapsed - started
            cpu, reactor_cpu = cpu_seconds(process / "stat") - before, cpu_seconds(reactor) - reactor_before
    return Result(cpu / messages, reactor_cpu / messages, messages / seconds, messages / delivered, milliseconds)


def measure_yardstick(stage: Stage, messages: int) -> float:
    """Return the seconds of CPU that bare twisted.web takes for a request."""
    command = [sys.executable, HERE / "yardstick.py", stage.certificates]
    with Program("the yardstick", command, stage.folder / "yardstick.log") as server:
        port = listening_port(server)
        load(port, stage, WARM_UP)
        stat = Path("/proc") / str(server.pid) / "stat"
        before = cpu_seconds(stat)
        load(port, stage, messages)
        return (cpu_seconds(stat) - before) / messages


def report(result: Result, yardstick: float, messages: int) -> None:
    """Print the figures."""
    ratio = result.cpu / yardstick
    print(f"{messages} messages of 2 KB, {CONNECTIONS} keep-alive mutual-TLS connections, SQLite, STARTTLS\n")
    print(f"CPU a durable delivered message   {result.cpu * 1000:6.3f} ms  (reactor {result.reactor * 1000:.3f},")
    print(
        f"                                             other threads {(result.cpu - result.reactor) * 1000:.3f})"
    )
    print(f"yardstick: bare twisted.web POST  {yardstick * 1000:6.3f} ms  ratio {ratio:.2f}")
    print(f"accepted                          {result.rate:6.0f} /s")
    print(f"delivered                         {result.delivered_rate:6.0f} /s")
    print(f"answer (202) p50                  {result.percentile(0.5):6.1f} ms")
    print(f"             p99                  {result.percentile(0.99):6.1f} ms")


def report_profile(stage: Stage, messages: int) -> None:
    """Run once more under cProfile, and print the shares."""
    stats = stage.folder / "profile"
    measure(stage, messages, f"--profile={stats}", "--profiler=cprofile", "--savestats")
    print("\nwhere the reactor's thread spends its time (from a second run, under cProfile)")
    for room, share in shares(stats):
        if share >= SMALLEST_SHARE:
            print(f"  {share:6.1%}  {room}")


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer messages: under a minute")
    quick = parser.parse_args().quick
    messages = 3200 if quick else 16_000
    with tempfile.TemporaryDirectory(prefix="mailgate-benchmark-") as folder:
        stage = Stage(Path(folder))
        stage.prepare()
        yardstick = measure_yardstick(stage, messages)
        report(measure(stage, messages), yardstick, messages)
        report_profile(stage, messages // 4)


if __name__ == "__main__":
    main()

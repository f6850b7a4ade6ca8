"""
What strangers cost: how long an honest client waits while others attack the handshake.

An honest client makes a new connection, shakes hands and submits a message, again and again, before and during
each attack. The attackers have no certificate; they come from many loopback addresses, as the caps ask for.
"""

import argparse
import contextlib
import multiprocessing
import socket
import ssl
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from mailgate.demo.processes import Program
from mailgate.demo.stage import CLIENT, Stage, free_port, listening_port

MESSAGE = b"MAIL\nFROM sensor-7@example.com\nTO kim@example.com\nTEXT x\nSEND\n"
HALF_OPEN = 5000
PER_ADDRESS = 200
DRIPPING = 500
FLOODING = 8


def honest(stage: Stage, port: int, seconds: float) -> list[float]:
    """Return how long each of the honest client's messages took, from TCP's handshake to the reply, in seconds."""
    tls = ssl.create_default_context(cafile=str(stage.certificates / "ca.crt"))
    tls.load_cert_chain(stage.certificates / f"{CLIENT}.crt", stage.certificates / f"{CLIENT}.key")
    taken = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.monotonic()
        with (
            socket.create_connection(("127.0.0.1", port), 60) as plain,
            tls.wrap_socket(plain, server_hostname="localhost") as connection,
            connection.makefile("rb") as lines,
        ):
            assert lines.readline().startswith(b"220 ")
            connection.sendall(MESSAGE)
            assert lines.readline().startswith(b"250 ")
        taken.append(time.monotonic() - begun)
    return taken


def addresses() -> Iterator[str]:
    """Yield loopback addresses, each so often as the cap lets it."""
    for number in range(2, 250):
        yield from [f"127.0.1.{number}"] * PER_ADDRESS


def connect(port: int, source: str) -> socket.socket:
    """Return a TCP connection from that address."""
    return socket.create_connection(("127.0.0.1", port), 60, (source, 0))


@contextlib.contextmanager
def half_open(port: int) -> Iterator[str]:
    """Hold connections that say nothing at all."""
    held = [connect(port, source) for source, _ in zip(addresses(), range(HALF_OPEN), strict=False)]
    try:
        yield f"{len(held)} silent connections"
    finally:
        for each in held:
            each.close()


@contextlib.contextmanager
def dripping(port: int) -> Iterator[str]:
    """Hold connections that send a ClientHello, an octet a second each."""
    hello = client_hello()
    held = [connect(port, source) for source, _ in zip(addresses(), range(DRIPPING), strict=False)]
    stopped = threading.Event()

    def drip() -> None:
        for octet in hello:
            for each in held:
                with contextlib.suppress(OSError):
                    each.send(bytes([octet]))
            if stopped.wait(1):
                return

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield f"{len(held)} connections that send an octet a second"
    finally:
        stopped.set()
        thread.join()
        for each in held:
            each.close()


@contextlib.contextmanager
def flooding(port: int) -> Iterator[str]:
    """Shake hands without a certificate as fast as it goes, in processes of their own."""
    count = multiprocessing.Value("i", 0)
    attackers = [
        multiprocessing.Process(target=flood, args=(port, f"127.0.2.{number}", count), daemon=True)
        for number in range(2, 2 + FLOODING)
    ]
    for each in attackers:
        each.start()
    begun = time.monotonic()
    try:
        yield f"{FLOODING} processes that shake hands without a certificate"
    finally:
        for each in attackers:
            each.terminate()
            each.join()
        print(f"    {count.value / (time.monotonic() - begun):.0f} handshakes a second were refused")


def flood(port: int, source: str, count: "multiprocessing.sharedctypes.Synchronized[int]") -> None:
    """Shake hands without end."""
    tls = ssl.create_default_context()
    tls.check_hostname = False
    tls.verify_mode = ssl.CERT_NONE
    while True:
        with contextlib.suppress(OSError), connect(port, source) as plain, tls.wrap_socket(plain) as connection:
            connection.recv(1)
        with count.get_lock():
            count.value += 1


def client_hello() -> bytes:
    """Return the first flight of a TLS client."""
    outgoing = ssl.MemoryBIO()
    connection = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


def tell(title: str, taken: list[float]) -> None:
    """Print what the honest client saw."""
    worst, middle = max(taken) * 1000, statistics.median(taken) * 1000
    print(f"{title}: {len(taken)} messages, median {middle:.1f} ms, worst {worst:.1f} ms")


def processor_seconds(program: Program) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{program.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def main() -> None:
    """Measure before and during each attack."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0)
    seconds = parser.parse_args().seconds
    attacks: list[Callable[[int], contextlib.AbstractContextManager[str]]] = [half_open, dripping, flooding]
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder))
        stage.prepare()
        with stage.start_smtp_server(0) as server:
            port = free_port()
            stage.write_settings(free_port(), port, listening_port(server))
            with stage.start_gateway() as gateway:
                gateway.wait_until(lambda: '"gateway.started"' in gateway.printed, "took connections")
                tell("before", honest(stage, port, seconds))
                for attack in attacks:
                    with attack(port) as title:
                        used = processor_seconds(gateway)
                        taken = honest(stage, port, seconds)
                        used = processor_seconds(gateway) - used
                    tell(f"{title} (processor {used / seconds:.0%})", taken)
                tell("after", honest(stage, port, seconds))
                lines = gateway.printed.count('"handshake.refused"')
                print(f"the journal has {lines} lines of refused handshakes")


if __name__ == "__main__":
    main()

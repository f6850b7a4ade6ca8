"""
What an idle device costs: memory of the gateway's process for each connection to the line door.

Each connection is measured three times: once it has been greeted, after it has sent a small message, and after
it has sent a picture of 60 KB; each time it has fallen silent again.
"""

import argparse
import socket
import ssl
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from mailgate.demo.processes import Program
from mailgate.demo.stage import CLIENT, Stage, free_port, listening_port

THREADS = 16
MESSAGE = b"MAIL\nFROM sensor-7@example.com\nTO kim@example.com\nSUBJ x\nTEXT x\nSEND\n"

_LIMITS = """
[limits]
connections = {most}
connections_per_address = {most}
connections_per_client = {most}
"""


def resident(pid: int) -> int:
    """Return the process's resident memory in octets."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise ValueError("the system doesn't tell")


def settled(pid: int) -> int:
    """Return the resident memory once it has stopped changing."""
    before = 0
    while (now := resident(pid)) != before:
        before = now
        time.sleep(0.5)
    return now


def context(stage: Stage, version: ssl.TLSVersion) -> ssl.SSLContext:
    """Return the TLS of a device."""
    made = ssl.create_default_context(cafile=str(stage.certificates / "ca.crt"))
    made.load_cert_chain(stage.certificates / f"{CLIENT}.crt", stage.certificates / f"{CLIENT}.key")
    made.maximum_version = version
    return made


def connect(tls: ssl.SSLContext, port: int) -> ssl.SSLSocket:
    """Return a connection that was greeted."""
    connection = tls.wrap_socket(socket.create_connection(("127.0.0.1", port), 60), server_hostname="localhost")
    line = connection.recv(1024)
    assert line.startswith(b"220 "), line
    return connection


def send(connection: ssl.SSLSocket) -> None:
    """Send a message."""
    connection.sendall(MESSAGE)
    line = connection.recv(1024)
    assert line.startswith(b"250 "), line


def send_picture(connection: ssl.SSLSocket) -> None:
    """Send a message with a file of 60 KB, as a camera would, and DROP it: only the transfer matters here."""
    connection.sendall(b"MAIL\nFILE#61440 image/jpeg a.jpg\n" + bytes(61440) + b"\nDROP\n")
    line = connection.recv(1024)
    assert line.startswith(b"250 "), line


def measure(stage: Stage, count: int, version: ssl.TLSVersion, start: Callable[[int], Program]) -> None:
    """Print the memory of each connection."""
    port = free_port()
    with start(port) as gateway, ThreadPoolExecutor(THREADS) as threads:
        gateway.wait_until(lambda: '"gateway.started"' in gateway.printed, "took connections")
        tls = context(stage, version)
        for connection in [connect(tls, port) for _ in range(THREADS)]:
            send(connection)
            connection.close()
        empty = settled(gateway.pid)
        connections = list(threads.map(lambda _: connect(tls, port), range(count)))
        greeted = settled(gateway.pid)
        list(threads.map(send, connections))
        silent = settled(gateway.pid)
        list(threads.map(send_picture, connections))
        full = settled(gateway.pid)
        for name, now in (("greeted", greeted), ("after a message", silent), ("after a picture", full)):
            each = (now - empty) / count / 1024
            print(f"{version.name} {count} {name:16} {each:6.1f} KiB each {now / 2**20:7.1f} MiB in all")
        for connection in connections:
            connection.close()


def main() -> None:
    """Measure with TLS 1.2 and 1.3."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=2000)
    count = parser.parse_args().connections
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with tempfile.TemporaryDirectory() as folder:
            stage = Stage(Path(folder))
            stage.prepare()

            with stage.start_smtp_server(0) as server:
                smtp_port = listening_port(server)

                def start(port: int, stage: Stage = stage, smtp_port: int = smtp_port) -> Program:
                    stage.write_settings(free_port(), port, smtp_port)
                    with stage.settings.open("a") as settings:
                        settings.write(_LIMITS.format(most=count + 100))
                    return stage.start_gateway()

                measure(stage, count, version, start)


if __name__ == "__main__":
    main()

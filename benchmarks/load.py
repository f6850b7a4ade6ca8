"""
Submit messages over keep-alive mutual-TLS connections, and tell how long each answer took.

``python load.py PORT CERTIFICATES MESSAGES CONNECTIONS`` prints one JSON object: seconds in all, and the
milliseconds of each answer. Requests are made before the clock starts, and an answer is only looked at for its
status, so that the load costs little of the processors that the gateway shares with it.
"""

import json
import socket
import ssl
import sys
import threading
import time
from pathlib import Path

TEXT = "3번 구역의 온도가 42 °C입니다. 확인하여 주시기 바랍니다.\n" * 24
BATCH_OCTETS = 65536


def request() -> bytes:
    """Return a request with a message of 2 KB."""
    message = {
        "from": "온도 센서 7 <sensor-7@example.com>",
        "to": ["김철수 <kim@example.com>"],
        "subject": "3번 구역의 온도 경고",
        "text": TEXT[: len(TEXT) * 2048 // len(TEXT.encode())],
    }
    body = json.dumps(message, ensure_ascii=False).encode()
    head = (
        "POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def exchange(connection: ssl.SSLSocket, octets: bytes) -> None:
    """Send a request and read its answer, which must be a 202."""
    connection.sendall(octets)
    answer = b""
    while b"\r\n\r\n" not in answer:
        answer += received(connection)
    head, _, rest = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 202"):
        raise SystemExit(f"the server answered {answer.decode(errors='replace')}")
    length = head.lower().split(b"content-length:", 1)[1].split(b"\r\n", 1)[0]
    missing = int(length) - len(rest)
    while missing > 0:
        missing -= len(received(connection))


def received(connection: ssl.SSLSocket) -> bytes:
    """Return the next octets; there must be some."""
    octets = connection.recv(BATCH_OCTETS)
    if not octets:
        raise SystemExit("the server closed a keep-alive connection")
    return octets


def connect(port: int, certificates: Path) -> ssl.SSLSocket:
    """Return a connection with its handshake done."""
    context = ssl.create_default_context(cafile=str(certificates / "ca.crt"))
    context.load_cert_chain(certificates / "unique_client.crt", certificates / "unique_client.key")
    raw = socket.create_connection(("127.0.0.1", port))
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="localhost")


def main(port: int, certificates: Path, messages: int, connections: int) -> None:
    """Send, and print the result."""
    octets = request()
    opened = [connect(port, certificates) for _ in range(connections)]
    milliseconds: list[float] = []

    def send(connection: ssl.SSLSocket, count: int) -> None:
        for _ in range(count):
            start = time.perf_counter()
            exchange(connection, octets)
            milliseconds.append((time.perf_counter() - start) * 1000)

    threads = [threading.Thread(target=send, args=(each, messages // connections)) for each in opened]
    start = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - start
    for connection in opened:
        connection.close()
    json.dump({"seconds": seconds, "milliseconds": sorted(milliseconds)}, sys.stdout)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))

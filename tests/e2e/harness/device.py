"""A client of the line door that writes octets and reads lines."""

import socket
import ssl
from pathlib import Path
from typing import Self


class Device:
    """One connection, greeted."""

    def __init__(self, port: int, ca: Path, certificate: Path, key: Path, timeout: float = 60.0) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        context.load_cert_chain(certificate, key)
        plain = socket.create_connection(("localhost", port), timeout)
        self.tls = context.wrap_socket(plain, server_hostname="localhost")
        self._received = b""
        try:
            self.greeting = self.line()
        except OSError:
            self.tls.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.tls.close()

    def send(self, octets: bytes | str) -> None:
        """Write octets."""
        self.tls.sendall(octets.encode() if isinstance(octets, str) else octets)

    def line(self) -> str:
        """Read a line."""
        while b"\n" not in self._received:
            octets = self.tls.recv(65536)
            if not octets:
                raise ConnectionError("the gateway has closed the connection")
            self._received += octets
        line, _, self._received = self._received.partition(b"\n")
        return line.decode("ascii")

    def reply(self) -> str:
        """Read lines up to a final one, and return that."""
        while (line := self.line())[3] == "-":
            pass
        return line

    def say(self, octets: bytes | str) -> str:
        """Write octets that are owed one reply, and return that."""
        self.send(octets)
        return self.reply()


def counted(verb: str, octets: bytes, *arguments: str) -> bytes:
    """Return a field whose octets are counted."""
    return " ".join([f"{verb}#{len(octets)}", *arguments]).encode() + b"\n" + octets + b"\n"

"""A small client of the line door, on nothing but the standard library; each failure becomes one sentence."""

import socket
import ssl
from typing import IO

from mailgate.cli.gateway import TIMEOUT, Credentials, GatewayError

PROTOCOL = "mailgate/1"


def hand_over(host: str, port: int, credentials: Credentials, session: bytes) -> tuple[str, str]:
    """
    Write a session that is owed one reply; return the greeting and that reply.

    A client that is turned away gets the reason in the place of both. Raises GatewayError where there is none.
    """
    context = credentials.context(PROTOCOL)
    try:
        with (
            socket.create_connection((host, port), TIMEOUT) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
            connection.makefile("rb") as lines,
        ):
            greeting = _final(lines)
            if not greeting.startswith("2"):
                return greeting, greeting
            connection.sendall(session)
            return greeting, _final(lines)
    except ssl.SSLError as error:
        raise GatewayError(f"TLS with {host}:{port} failed: {error.reason or error}.") from error
    except OSError as error:
        raise GatewayError(f"{host}:{port} can't be used: {error.strerror or error}.") from error


def _final(lines: IO[bytes]) -> str:
    """Return the next line that isn't a detail of the one behind it."""
    while line := lines.readline():
        if line[3:4] != b"-":
            return line.decode("ascii", "replace").rstrip()
    raise GatewayError("The gateway closed the connection without a reply.")

"""TCP keepalive: a device that has gone without a word is noticed, and one that is only silent isn't forgotten."""

import socket

from mailgate.trust.factory import MutualTLSProtocol

KEEPALIVE_SECONDS = 200
"""NATs forget a silent connection after 240 seconds or more."""


def keep_alive(transport: MutualTLSProtocol) -> None:
    """Have TCP ask whether the peer is still there, often enough for NATs."""
    transport.setTcpKeepAlive(True)
    # Every TCP transport has this method, but no interface says so.
    connection: socket.socket = transport.transport.getHandle()  # type: ignore[union-attr]
    for option, value in (("TCP_KEEPIDLE", KEEPALIVE_SECONDS), ("TCP_KEEPINTVL", 30), ("TCP_KEEPCNT", 4)):
        if hasattr(socket, option):
            connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)

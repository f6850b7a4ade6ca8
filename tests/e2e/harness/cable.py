"""A cable between a device and the gateway: it counts, and it can be cut."""

import selectors
import socket
import threading

PIECE = 65536


class Cable:
    """
    Forwards connections to a port of loopback, one after the other, from a port of one of its addresses.

    Attributes:
        flights: octets that went one way before any came the other way, for the connection that is over or open:
            the client's first, then in turn.
        swallow_after: once a client has written more than so many octets, nothing reaches it any more.
        cut: called while replies are swallowed; the connection ends when it says so.

    """

    def __init__(self, port: int, address: str = "127.0.0.1") -> None:
        self._target = port
        self._listener = socket.create_server((address, 0))
        self.port = self._listener.getsockname()[1]
        self.flights: list[int] = []
        self.swallow_after: int | None = None
        self.cut = lambda: False
        self._closing = False
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        """End, with whatever connection there is."""
        self._closing = True
        self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        self._listener.settimeout(0.05)
        while not self._closing:
            try:
                client, _ = self._listener.accept()
            except TimeoutError:
                continue
            with client:
                try:
                    self._connect(client)
                except OSError:
                    continue

    def _connect(self, client: socket.socket) -> None:
        with (
            socket.create_connection(("127.0.0.1", self._target)) as gateway,
            selectors.DefaultSelector() as ready,
        ):
            self.flights = []
            other = {client: gateway, gateway: client}
            for side in other:
                side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                ready.register(side, selectors.EVENT_READ)
            while not self._closing:
                swallowing = self.swallow_after is not None and sum(self.flights[::2]) > self.swallow_after
                if swallowing and self.cut():
                    return
                for key, _ in ready.select(0.05):
                    octets = key.fileobj.recv(PIECE)
                    if not octets:
                        return
                    self._count(len(octets), from_client=key.fileobj is client)
                    if not (swallowing and key.fileobj is gateway):
                        other[key.fileobj].sendall(octets)

    def _count(self, octets: int, *, from_client: bool) -> None:
        if from_client != (len(self.flights) % 2 == 1):
            self.flights.append(0)
        self.flights[-1] += octets

"""Listening sockets that one process binds and others accept at."""

import os
import socket
from collections.abc import Iterable, Sequence

from twisted.application.service import Service
from twisted.internet.defer import inlineCallbacks, maybeDeferred
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorSocket
from twisted.internet.protocol import Factory
from twisted.internet.tcp import Port as TcpPort

from mailgate.services import Ports, StartError, Stopping


class BoundPorts(Ports):
    """The listening sockets of one door, bound here and accepted at by the workers."""

    def __init__(self, reactor: object, door: str, endpoints: Sequence[str]) -> None:
        """Read the endpoint strings. Raises StartError for one that is none."""
        super().__init__(reactor, door, endpoints, Factory())

    def privilegedStartService(self) -> None:
        """Bind every endpoint. Raises StartError."""
        super().privilegedStartService()
        for port in self._ports:
            if not isinstance(port, TcpPort):
                raise StartError(f"the {self._door} door listens on what several workers can't share: only TCP is")
            # The reactor doesn't run yet: nobody has been let in.
            port.stopReading()
            # A shutdown would reach the workers' copies too, before they know that it's time to stop.
            port._shouldShutdown = False  # noqa: SLF001 - Twisted has no public place for it

    @property
    def descriptors(self) -> tuple[int, ...]:
        """The sockets' descriptors."""
        return tuple(port.fileno() for port in self._ports if isinstance(port, TcpPort))


class AdoptedPorts(Service):
    """Accepts at sockets that another process has bound."""

    def __init__(self, reactor: IReactorSocket, descriptors: Iterable[int], factory: IProtocolFactory) -> None:
        self._reactor = reactor
        self._descriptors = tuple(descriptors)
        self._factory = factory
        self._ports: list[IListeningPort] = []

    def startService(self) -> None:
        """Begin to accept."""
        super().startService()
        for descriptor in self._descriptors:
            with socket.socket(fileno=os.dup(descriptor)) as bound:
                family = bound.family
            port = self._reactor.adoptStreamPort(descriptor, family, self._factory)  # type: ignore[arg-type]
            self._ports.append(port)
            os.close(descriptor)

    @inlineCallbacks
    def stopService(self) -> "Stopping":
        """Accept no more; open connections go on, and so do the sockets where another process has them."""
        super().stopService()
        ports, self._ports = self._ports, []
        for port in ports:
            yield maybeDeferred(port.stopListening)

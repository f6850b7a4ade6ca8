"""The service tree: started in order, stopped in reverse, each stop awaited."""

from collections.abc import Callable, Generator, Sequence

from twisted.application.service import Service
from twisted.internet.defer import Deferred, inlineCallbacks, maybeDeferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure

Stopping = Generator[Deferred[object], object, None]


class StartError(Exception):
    """The gateway can't start; the text is the one sentence that its operator is shown."""


class Part(Service):
    """One component as a service: `start` may raise StartError, `stop` returns when it is done."""

    def __init__(self, start: Callable[[], object], stop: Callable[[], Deferred[None]]) -> None:
        self._start = start
        self._stop = stop

    def startService(self) -> None:
        """Start the component."""
        self._start()
        super().startService()

    def stopService(self) -> Deferred[None]:
        """Stop the component."""
        super().stopService()
        return self._stop()


class Ports(Service):
    """
    The listening sockets of one door.

    They are bound in `privilegedStartService`, where a port below 1024 is still allowed.
    """

    def __init__(self, reactor: object, door: str, endpoints: Sequence[str], factory: IProtocolFactory) -> None:
        """Read the endpoint strings. Raises StartError for one that is none."""
        self._door = door
        self._endpoints = [(text, _endpoint(reactor, door, text)) for text in endpoints]
        self._factory = factory
        self._ports: list[IListeningPort] = []

    def privilegedStartService(self) -> None:
        """Bind every endpoint. Raises StartError."""
        for text, endpoint in self._endpoints:
            failures: list[Failure] = []
            endpoint.listen(self._factory).addCallbacks(self._ports.append, failures.append)
            if failures:
                raise StartError(f"the {self._door} door can't listen on {text}: {_reason(failures[0])}")

    @inlineCallbacks
    def stopService(self) -> Stopping:
        """Close the sockets; open connections go on."""
        super().stopService()
        ports, self._ports = self._ports, []
        for port in ports:
            yield maybeDeferred(port.stopListening)


class Stages(Service):
    """
    Services that stand on each other: each is started after those it stands on and stopped before them.

    A stage that fails to stop is logged; those below it are stopped all the same.
    """

    _log = Logger()

    def __init__(self, stages: Sequence[Service]) -> None:
        self._stages = stages

    def privilegedStartService(self) -> None:
        """Let each stage do what needs privileges. Raises StartError."""
        super().privilegedStartService()
        for stage in self._stages:
            stage.privilegedStartService()

    def startService(self) -> None:
        """Start each stage in order. Raises StartError."""
        super().startService()
        for stage in self._stages:
            stage.startService()

    @inlineCallbacks
    def stopService(self) -> Stopping:
        """Stop each stage in reverse order, one after the other."""
        super().stopService()
        for stage in reversed(self._stages):
            try:
                yield maybeDeferred(stage.stopService)
            except Exception:  # noqa: BLE001 - whatever failed, the stages below still hold what must be given back
                self._log.failure("a service failed to stop")


def _endpoint(reactor: object, door: str, text: str) -> IStreamServerEndpoint:
    try:
        endpoint: IStreamServerEndpoint = serverFromString(reactor, text)
    except (ValueError, TypeError, LookupError, OSError) as error:
        raise StartError(f'the {door} door: "{text}" is no endpoint that Twisted knows: {error}') from error
    return endpoint


def _reason(failure: Failure) -> str:
    error = failure.value
    if isinstance(error, CannotListenError) and isinstance(error.socketError, OSError):
        return error.socketError.strerror or str(error.socketError)
    return str(error)

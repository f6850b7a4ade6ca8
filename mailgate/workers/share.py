"""What one worker has of the gateway, and what it has in common with the others."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mailgate.delivery.settings import DeliverySettings
from mailgate.intake.rates import RateKeeper
from mailgate.trust.counts import Counts


@dataclass(frozen=True, slots=True)
class Hello:
    """
    What the supervisor tells a worker at its start.

    Attributes:
        number: which one it is, from 1 on.
        workers: how many there are.
        connections: how many connections the shared counts were made for.
        uptime_zero: what the gateway's steady clock told when the machine's uptime was zero.
        lease: the name that it owns leases by.
        dead: the names of owners of leases whose processes are gone.
        keys: private keys in PEM, by their files, which the worker may not be allowed to read.
        ports: the descriptors of the listening sockets, by door.

    """

    number: int
    workers: int
    connections: int
    uptime_zero: float
    lease: str
    dead: tuple[str, ...] = ()
    keys: dict[Path, bytes] = field(default_factory=dict, repr=False)
    ports: dict[str, tuple[int, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Share:
    """
    A worker's part in what holds for all of them together.

    Attributes:
        hello: what the supervisor has told.
        rates, renewals: what is left of clients' rates, and of their renewals of certificates.
        addresses: open connections, in all and by address.
        clients: open connections to the line door, by client.
        crowded: is told of a client that was turned away although another worker may have room for it.
        turn: the descriptor by which workers take turns to write into the queue.

    """

    hello: Hello
    rates: RateKeeper
    renewals: RateKeeper
    addresses: Counts
    clients: Counts
    crowded: Callable[[str], None]
    turn: int

    def of(self, settings: DeliverySettings) -> DeliverySettings:
        """Return the settings with this worker's part of the connections to each upstream, one at least."""
        upstreams = tuple(
            replace(each, connections=portion(each.connections, self.hello.number, self.hello.workers))
            for each in settings.upstreams
        )
        return replace(settings, upstreams=upstreams)


def portion(whole: int, number: int, workers: int) -> int:
    """Return how much of the whole the worker of that number, from 1 on, has; it's 1 at least."""
    return max(1, (whole + workers - number) // workers)

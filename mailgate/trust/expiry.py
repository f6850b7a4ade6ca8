"""Certificates and CRLs that are about to expire, told in time and not too often."""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from cryptography import x509
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall

from mailgate.model.identity import ClientIdentity
from mailgate.model.journal import Journal
from mailgate.trust.generation import Generation

NOTICES = tuple(timedelta(days=days) for days in (30, 7, 1, 0))
"""A certificate is told of when so much time is left, and once it has expired."""

LIST_NOTICES = tuple(timedelta(days=days) for days in range(7, -1, -1))
"""The same for a CRL, but not before it has lived for two thirds of its time: some are made anew every day."""

CHECK_SECONDS = 3600.0

SERVER, AUTHORITY, LIST, CLIENT = "server certificate", "client CA", "CRL", "client certificate"

_DAY = timedelta(days=1)
KEY_LENGTH = 16
"""Digits of a key identifier that tell CAs of one name apart."""
_MOST_TOLD = 10_000


@dataclass(frozen=True, slots=True)
class Ending:
    """
    Something that ends: what it is, whose, and when.

    Attributes:
        what: ``server certificate``, ``client CA``, ``CRL`` or ``client certificate``.
        subject: whose certificate it is, or whose CRL.
        serial: the certificate's serial number, or for a CRL, the key of its CA, shortened.
        ends: when it ends.
        notices: how long before that it is told of.
        client, label: the client's name, and that of its entry, for a client certificate.

    """

    what: str
    subject: str
    serial: str
    ends: datetime
    notices: tuple[timedelta, ...] = NOTICES
    client: str | None = None
    label: str | None = None

    def notice(self, now: datetime) -> timedelta | None:
        """Return which of the notices is due, or None."""
        left = self.ends - now
        return min((each for each in self.notices if left <= each), default=None)

    @property
    def labels(self) -> tuple[str, ...]:
        """What tells it from others of its kind: whose it is, and where there may be several, its serial."""
        if self.label is not None:
            return (self.label,)
        return (self.subject,) if self.what == SERVER else (self.subject, self.serial)


class ExpiryWatch:
    """Tells the journal what ends soon: the gateway's certificate, CAs, CRLs, and clients' as they are seen."""

    def __init__(self, journal: Journal, clock: IReactorTime, wall: Callable[[], float]) -> None:
        self._journal = journal
        self._wall = wall
        self._generation: Generation | None = None
        self._told: dict[tuple[str, str, datetime], timedelta] = {}
        self._seen: dict[str, Ending] = {}
        self._checking = LoopingCall(self._check)
        self._checking.clock = clock

    def use(self, generation: Generation) -> None:
        """Look at another generation, now and from time to time."""
        self._generation = generation
        if self._checking.running:
            self._check()

    def start(self) -> None:
        """Begin to look."""
        self._checking.start(CHECK_SECONDS)

    def stop(self) -> None:
        """Look no more."""
        if self._checking.running:
            self._checking.stop()

    def saw(self, identity: ClientIdentity) -> None:
        """Note the certificate that a client has just proved."""
        peer = identity.certificate
        ending = Ending(
            CLIENT, peer.subject, peer.serial, peer.not_after, client=identity.client, label=identity.label
        )
        self._seen[identity.label] = ending
        self._tell(ending)

    def forget_clients_but(self, labels: Collection[str]) -> None:
        """Forget what was seen of clients whose entries are gone."""
        self._seen = {label: ending for label, ending in self._seen.items() if label in labels}

    def endings(self) -> Iterator[Ending]:
        """Yield what ends some day: of the generation in use, and what was last seen of each client's entry."""
        if self._generation is not None:
            yield from _endings(self._generation)
        yield from self._seen.values()

    def _check(self) -> None:
        for ending in self.endings():
            self._tell(ending)

    def _tell(self, ending: Ending) -> None:
        now = datetime.fromtimestamp(self._wall(), UTC)
        left, notice = ending.ends - now, ending.notice(now)
        key = ending.what, ending.serial, ending.ends
        if notice is None or self._told.get(key) == notice:
            return
        self._told[key] = notice
        if len(self._told) > _MOST_TOLD:
            del self._told[next(iter(self._told))]
        self._journal.record(
            "trust.expired" if left <= timedelta(0) else "trust.expiring",
            what=ending.what,
            client=ending.client,
            subject=ending.subject,
            serial=ending.serial,
            ends=ending.ends.isoformat(),
            days=max(0, left // _DAY),
        )


def _endings(generation: Generation) -> Iterator[Ending]:
    yield _of(SERVER, generation.certificate)
    authorities = generation.authorities
    for authority in authorities.certificates:
        yield _of(AUTHORITY, authority)
    for key, found in (authorities.lists or {}).items():
        third = (found.next_update - found.this_update) / 3
        notices = (*(each for each in LIST_NOTICES if each <= third), min(third, LIST_NOTICES[0]))
        yield Ending(LIST, found.subject, key[:KEY_LENGTH], found.next_update, notices)


def _of(what: str, certificate: x509.Certificate) -> Ending:
    subject = certificate.subject.rfc4514_string()
    return Ending(what, subject, f"{certificate.serial_number:x}", certificate.not_valid_after_utc)

"""The gateway signs a client's next certificate, if that is still the same client."""

from collections.abc import Callable
from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.renewal import RenewalRefusedError, renewed
from mailgate.doors.desk import DOOR
from mailgate.doors.est import EnrolmentRoutes
from mailgate.doors.settings import EnrolmentSettings
from mailgate.intake import Intake
from mailgate.model.identity import ClientIdentity
from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.trust.server import ServerTrust

_UNAVAILABLE = Refusal(
    RefusalCode.STORAGE_UNAVAILABLE, "the signing CA can't be used right now", retry_after=600.0
)

InThread = Callable[[Callable[[], x509.Certificate]], Deferred[x509.Certificate]]


class Enrolment:
    """
    Renews certificates with the CA in a directory.

    `in_thread` runs what reads and writes files elsewhere than in the reactor. What is issued is kept beside the
    CA, so that revoking a client by its name revokes it too.
    """

    _failures = Logger()

    def __init__(
        self,
        authority: CertificateAuthority,
        days: int,
        trust: ServerTrust,
        intake: Intake,
        journal: Journal,
        in_thread: InThread,
    ) -> None:
        self._authority = authority
        self._days = days
        self._trust = trust
        self._intake = intake
        self._journal = journal
        self._in_thread = in_thread

    def authorities(self) -> Deferred[bytes | Refusal]:
        """Return the signing CA's certificate in PKCS #7."""
        return self._in_thread(self._own_certificate).addCallbacks(_packed, self._refused)

    def renew(self, identity: ClientIdentity, current: bytes, request: bytes) -> Deferred[bytes | Refusal]:
        """Return the certificate that follows the client's `current` one, in PKCS #7, or why there is none."""

        def tell(issued: x509.Certificate) -> bytes:
            self._journal.record(
                "certificate.renewed",
                client=identity.client,
                serial=f"{issued.serial_number:x}",
                not_after=issued.not_valid_after_utc.isoformat(),
            )
            return _packed(issued)

        def issue() -> x509.Certificate:
            return self._issue(identity, current, request)

        return self._in_thread(issue).addCallbacks(tell, self._refused)

    def _own_certificate(self) -> x509.Certificate:
        with self._authority.issuing() as issuer:
            return issuer.certificate

    def _issue(self, identity: ClientIdentity, current: bytes, request: bytes) -> x509.Certificate:
        now = self._authority.now()
        with self._authority.issuing() as issuer:
            issued = renewed(issuer, request, current, now, self._days)
        self._judge(identity, issued, now)
        self._authority.keep([issued])
        return issued

    def _judge(self, identity: ClientIdentity, issued: x509.Certificate, now: datetime) -> None:
        """Raise RenewalRefusedError where the doors would not take the new certificate for the same client."""
        examination = self._trust.examine(issued, now)
        if examination.peer is None:
            why = next(finding.words for finding in examination.findings if not finding.good)
            raise RenewalRefusedError(f"the new certificate would not be accepted: {why}")
        again = self._intake.identify(examination.peer, DOOR)
        if not isinstance(again, ClientIdentity) or again.client != identity.client:
            raise RenewalRefusedError(
                f'the new certificate would not be that of the client "{identity.client}": its entry names this '
                "one by a fingerprint, a key or another CA"
            )

    def _refused(self, failure: Failure) -> Refusal:
        if isinstance(failure.value, RenewalRefusedError):
            return Refusal(RefusalCode.VALIDATION_FAILED, str(failure.value))
        if isinstance(failure.value, CertificateAuthorityError | OSError):
            self._journal.record("enrolment.error", reason=str(failure.value))
        else:
            self._failures.failure("A renewal failed", failure)
        return _UNAVAILABLE


def make_enrolment(
    settings: EnrolmentSettings, trust: ServerTrust, intake: Intake, journal: Journal, reactor: IReactorThreads
) -> EnrolmentRoutes:
    """
    Return the routes of EST.

    Raises CertificateAuthorityError or OSError where the CA can't sign, or the doors wouldn't take what it signs.
    """
    authority = CertificateAuthority(settings.directory)
    with authority.issuing() as issuer:
        if not trust.generation.authorities.trusts(issuer.certificate):
            raise CertificateAuthorityError(
                f"{authority.certificate_file} is not in client_ca: no door would take what it signs"
            )

    def in_thread(work: Callable[[], x509.Certificate]) -> Deferred[x509.Certificate]:
        return deferToThreadPool(reactor, reactor.getThreadPool(), work)

    enrolment = Enrolment(authority, settings.days, trust, intake, journal, in_thread)
    return EnrolmentRoutes(enrolment.authorities, enrolment.renew)


def _packed(certificate: x509.Certificate) -> bytes:
    return pkcs7.serialize_certificates([certificate], Encoding.DER)

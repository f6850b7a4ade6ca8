"""The gateway signs a client's next certificate, if that is still the same client."""

from datetime import datetime

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, pkcs7
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from mailgate.ca.authority import CertificateAuthority
from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.renewal import RenewalRefusedError, renewed
from mailgate.ca.revoking import Revoking
from mailgate.doors.desk import DOOR
from mailgate.doors.est import EnrolmentRoutes
from mailgate.doors.settings import EnrolmentSettings
from mailgate.intake import Intake
from mailgate.intake.rates import RateKeeper, Rates
from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.journal import Journal
from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.policy.rules import Rate
from mailgate.trust.certificate import key_identifier
from mailgate.trust.server import ServerTrust
from mailgate.trust.settings import TrustError

RATE = Rate(10, 3600.0)
"""Renewals of one client: each leaves a file."""

MOST_WAITING = 16
LOCK_SECONDS = 5.0
"""How long another process may hold the CA's folder before a client is told to come back."""

_UNAVAILABLE = Refusal(
    RefusalCode.STORAGE_UNAVAILABLE, "the signing CA can't be used right now", retry_after=600.0
)


class Enrolment:
    """
    Renews certificates with the CA in a directory.

    Reading and writing its files is the work of one thread, which nothing else waits for. What is issued is kept
    beside the CA before the client has it, so that revoking a client by its name revokes it too.

    Raises CertificateAuthorityError or OSError where the CA can't sign, or the doors wouldn't take what it signs.

    Attributes:
        rates: what is left of each client's renewals; other processes may take from it too.

    """

    _failures = Logger()

    def __init__(
        self,
        settings: EnrolmentSettings,
        trust: ServerTrust,
        intake: Intake,
        journal: Journal,
        reactor: IReactorThreads,
    ) -> None:
        self._authority = CertificateAuthority(settings.directory, lock_seconds=LOCK_SECONDS)
        self._days = settings.days
        self._trust = trust
        self._intake = intake
        self._journal = journal
        self._reactor = reactor
        self.rates: RateKeeper = Rates()
        self._waiting = 0
        self._stopping = False
        self._threads = ThreadPool(0, 1, "est")
        with self._authority.issuing() as issuer:
            self._signer = issuer.certificate
        if not trust.generation.authorities.trusts(self._signer):
            raise CertificateAuthorityError(
                f"{self._authority.certificate_file} is not in client_ca: no door would take what it signs"
            )

    @property
    def routes(self) -> EnrolmentRoutes:
        """What the HTTPS door has for it."""
        return EnrolmentRoutes(_packed(self._signer), self.renew)

    def start(self) -> None:
        """Begin to take requests."""
        self._threads.start()

    def stop(self) -> Deferred[None]:
        """End once the request under way is done; those that wait behind it are refused."""
        self._stopping = True
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), self._threads.stop)

    def renew(self, identity: ClientIdentity, current: bytes, request: bytes) -> Deferred[bytes | Refusal]:
        """Return the certificate that follows the client's `current` one, in PKCS #7, or why there is none."""
        if self._waiting >= MOST_WAITING:
            return succeed(_UNAVAILABLE)
        wait = self.rates.take(identity.client, RATE, self._authority.now().timestamp())
        if wait:
            return succeed(Refusal(RefusalCode.RATE_LIMITED, f"more than {RATE} renewals", retry_after=wait))
        self._waiting += 1

        def issue() -> x509.Certificate:
            return self._issue(identity, current, request)

        issued = deferToThreadPool(self._reactor, self._threads, issue).addBoth(self._done)
        return issued.addCallback(lambda certificate: self._tell(identity, certificate)).addErrback(self._refused)

    def _done(self, result: x509.Certificate | Failure) -> x509.Certificate | Failure:
        self._waiting -= 1
        return result

    def _tell(self, identity: ClientIdentity, issued: x509.Certificate) -> bytes | Refusal:
        # A reload may have taken the client away meanwhile; what was issued is kept, and revoked with the rest.
        verdict = self._intake.identify(self._trust.complete(identity.certificate), DOOR)
        known = isinstance(verdict, ClientIdentity) and verdict.client == identity.client
        if not known or self._trust.object_to(identity.certificate) is not None:
            raise RenewalRefusedError("the present certificate is not accepted any more")
        self._journal.record(
            "certificate.renewed",
            client=identity.client,
            serial=f"{issued.serial_number:x}",
            not_after=issued.not_valid_after_utc.isoformat(),
        )
        return _packed(issued)

    def _issue(self, identity: ClientIdentity, current: bytes, request: bytes) -> x509.Certificate:
        if self._stopping:
            raise CertificateAuthorityError("The gateway is shutting down.")
        now = self._authority.now()
        peer = identity.certificate
        # `ca revoke` holds the same lock: it either comes before, and is seen, or finds what was issued.
        with self._authority.issuing() as issuer:
            objection = self._trust.object_by_files(peer)
            if objection is not None or Revoking(self._authority).has(int(peer.serial, 16)):
                raise RenewalRefusedError("the present certificate is not accepted any more")
            self._judge_issuer(identity, peer, issuer.certificate)
            issued = renewed(issuer, request, current, now, self._days)
            self._judge_next(identity, issued, now)
            self._authority.keep([issued])
        return issued

    def _judge_issuer(self, identity: ClientIdentity, peer: PeerCertificate, signer: x509.Certificate) -> None:
        """Raise RenewalRefusedError where another CA vouches for the client, and would lose its say by this."""
        rules = self._intake.directory.rules(identity.label)
        if rules is not None and rules.authorities is not None:
            return
        ours = {key_identifier(each) for each in (signer, *self._trust.above(signer))}
        if not peer.issuers or peer.issuers[0].spki not in ours:
            raise RenewalRefusedError("the certificate is of another CA than the one that signs here")

    def _judge_next(self, identity: ClientIdentity, issued: x509.Certificate, now: datetime) -> None:
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
        if isinstance(failure.value, CertificateAuthorityError | TrustError | OSError):
            self._journal.record("enrolment.error", reason=str(failure.value))
        else:
            self._failures.failure("A renewal failed", failure)
        return _UNAVAILABLE


def _packed(certificate: x509.Certificate) -> bytes:
    return pkcs7.serialize_certificates([certificate], Encoding.DER)

"""The one server context of all doors, replaced as a whole or not at all."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

from cryptography import x509
from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailgate.model.identity import ClientIdentity, PeerCertificate
from mailgate.model.journal import Journal
from mailgate.trust.authorities import Authorities, Objection
from mailgate.trust.context import server_context
from mailgate.trust.examine import Examination, examine
from mailgate.trust.expiry import KEY_LENGTH, ExpiryWatch
from mailgate.trust.files import Credentials, PrivateKey, load_credentials
from mailgate.trust.generation import Generation
from mailgate.trust.refusals import RefusalLog
from mailgate.trust.revocation import check_not_older
from mailgate.trust.settings import TrustError, TrustSettings


@implementer(IOpenSSLServerConnectionCreator)
class ServerTrust:
    """
    Who may speak to the doors: any client whose certificate chains to a trusted CA and is good for a client.

    The `known` key counts where its file may not be read any more, since privileges were dropped. Raises
    TrustError, one sentence that names the file at fault, where the settings' files can't be used.

    Attributes:
        refusals: where the doors tell whom they refused.
        expiry: tells what ends soon, once it is started.
        handshakes: how many there were, by door and by outcome: ``completed`` or ``refused``.
        seen: how many handshakes of clients there were, by the name and by the key (shortened) of the CA that has
            issued the certificate.

    """

    def __init__(
        self,
        settings: TrustSettings,
        journal: Journal,
        clock: IReactorTime,
        wall: Callable[[], float],
        known: PrivateKey | None = None,
    ) -> None:
        self._known = known
        self._journal = journal
        self._wall = wall
        self.refusals = RefusalLog(journal, clock)
        self.expiry = ExpiryWatch(journal, clock, wall)
        self.handshakes: Counter[tuple[str, str]] = Counter()
        self.seen: Counter[tuple[str, str]] = Counter()
        self._generation: Generation | None = None
        self.use(self.prepare(settings))

    @property
    def generation(self) -> Generation:
        """The certificates, key, CAs and CRLs in use."""
        assert self._generation is not None
        return self._generation

    def prepare(self, settings: TrustSettings) -> Generation:
        """
        Read another generation of certificates, key, CAs and CRLs, and change nothing.

        Raises TrustError where it could not be used, or a CRL in it is older than the one in use.
        """
        now = self._now()
        in_use = self._generation
        credentials = load_credentials(settings, now, self._known if in_use is None else in_use.key)
        before = None if in_use is None else in_use.authorities.lists
        if settings.client_crl is not None and credentials.lists is not None and before is not None:
            check_not_older(settings.client_crl, credentials.lists, before)
        try:
            context = server_context(credentials, settings.minimum, _judge, _select_protocol)
        except SSL.Error as error:
            reasons = "; ".join(str(entry[-1]) for entry in error.args[0]) if error.args else "no reason given"
            raise TrustError(
                f"OpenSSL can't use the server certificate {settings.certificate} with its key: {reasons}"
            ) from error
        authorities = make_authorities(settings, credentials, now)
        return Generation(
            context, credentials.chain[0], credentials.key, authorities, credentials.exposed, settings
        )

    def use(self, generation: Generation) -> None:
        """Take a generation for every connection from now on; whoever holds live ones judges them anew."""
        self._generation = generation
        leaf, authorities = generation.certificate, generation.authorities
        self._journal.record(
            "trust.loaded",
            subject=leaf.subject.rfc4514_string(),
            serial=f"{leaf.serial_number:x}",
            not_after=leaf.not_valid_after_utc.isoformat(),
            client_cas=len(authorities.certificates),
            revoked=authorities.revoked,
        )
        if generation.exposed is not None:
            self._journal.record("trust.key_exposed", mode=f"{generation.exposed:04o}")
        self.expiry.use(generation)

    def above(self, certificate: x509.Certificate) -> Iterator[x509.Certificate]:
        """Yield the trusted CAs above one that is trusted, upwards."""
        return self.generation.authorities.above(certificate)

    def complete(self, peer: PeerCertificate) -> PeerCertificate:
        """Return the peer with all CAs above it, as they are now."""
        return self.generation.authorities.complete(peer)

    def object_to(self, peer: PeerCertificate) -> Objection | None:
        """Return why a peer whose chain was once verified is not accepted now, or None."""
        return self.generation.authorities.object_to(peer, self._now())

    def examine(self, certificate: x509.Certificate, now: datetime) -> Examination:
        """Return what a handshake with this certificate, and none beside it, would come to."""
        return examine(certificate, (), self.generation.authorities, now)

    def object_by_files(self, peer: PeerCertificate) -> Objection | None:
        """
        Return why a peer would not be accepted by what the files say at this moment, or None.

        Raises TrustError where they can't be used. Reads files; may be called in any thread.
        """
        now = self._now()
        settings = self.generation.settings
        credentials = load_credentials(settings, now, self.generation.key)
        return make_authorities(settings, credentials, now).object_to(peer, now)

    def saw(self, identity: ClientIdentity) -> None:
        """Note that a client has proved who it is."""
        self.expiry.saw(identity)
        peer = identity.certificate
        if peer.issuers:
            self.seen[peer.issuer, peer.issuers[0].spki[:KEY_LENGTH]] += 1

    def close(self) -> None:
        """Tell the journal what was left out of it so far, and watch nothing any more."""
        self.expiry.stop()
        self.refusals.close()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection of the generation in use, for a protocol of MutualTLSFactory."""
        del protocol  # the factory makes it the connection's app data, where the callbacks find it
        return SSL.Connection(self.generation.context, None)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._wall(), UTC)


def make_authorities(settings: TrustSettings, credentials: Credentials, now: datetime) -> Authorities:
    """Return the CAs of one generation."""
    use_expired = settings.expired_crl == "use"
    return Authorities(credentials.client_cas, credentials.lists, now, use_expired=use_expired)


def _judge(connection: SSL.Connection, certificate: X509, error: int, depth: int, accepted: int) -> bool:
    verdict: bool = connection.get_app_data().handshake.judge(certificate, error, depth, accepted=bool(accepted))
    return verdict


def _select_protocol(connection: SSL.Connection, offered: Sequence[bytes]) -> bytes | None:
    chosen: bytes | None = connection.get_app_data().handshake.select_protocol(offered)
    return chosen

"""The one server context of all doors, replaced as a whole or not at all."""

from collections.abc import Sequence
from datetime import UTC, datetime

from OpenSSL import SSL
from OpenSSL.crypto import X509
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorTime
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from mailgate.model.journal import Journal
from mailgate.trust.context import server_context
from mailgate.trust.files import load_credentials
from mailgate.trust.refusals import RefusalLog
from mailgate.trust.settings import TrustError, TrustSettings


@implementer(IOpenSSLServerConnectionCreator)
class ServerTrust:
    """
    Who may speak to the doors: any client whose certificate chains to a trusted CA and is good for a client.

    Raises TrustError, one sentence that names the file at fault, where the settings' files can't be used.

    Attributes:
        refusals: where the doors tell whom they refused.

    """

    def __init__(self, settings: TrustSettings, journal: Journal, clock: IReactorTime) -> None:
        self._journal = journal
        self._clock = clock
        self.refusals = RefusalLog(journal, clock)
        self._context = self._load(settings)

    def reload(self, settings: TrustSettings) -> None:
        """
        Take another generation of certificates, key and CAs for every connection from now on.

        Raises TrustError, and then the generation before stays in use. Live connections go on as they are.
        """
        self._context = self._load(settings)

    def close(self) -> None:
        """Tell the journal what was left out of it so far."""
        self.refusals.close()

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection of the generation in use, for a protocol of MutualTLSFactory."""
        del protocol  # the factory makes it the connection's app data, where the callbacks find it
        return SSL.Connection(self._context, None)

    def _load(self, settings: TrustSettings) -> SSL.Context:
        now = datetime.fromtimestamp(self._clock.seconds(), UTC)
        credentials = load_credentials(settings, now)
        try:
            context = server_context(credentials, settings.minimum, _judge, _select_protocol)
        except SSL.Error as error:
            reasons = "; ".join(str(entry[-1]) for entry in error.args[0]) if error.args else "no reason given"
            raise TrustError(
                f"OpenSSL can't use the server certificate {settings.certificate} with its key: {reasons}"
            ) from error
        leaf = credentials.chain[0]
        self._journal.record(
            "trust.loaded",
            subject=leaf.subject.rfc4514_string(),
            not_after=leaf.not_valid_after_utc.isoformat(),
            client_cas=len(credentials.client_cas),
        )
        for authority in credentials.client_cas:
            if authority.not_valid_after_utc <= now:
                self._journal.record("trust.ca_expired", subject=authority.subject.rfc4514_string())
        return context


def _judge(connection: SSL.Connection, certificate: X509, error: int, depth: int, accepted: int) -> bool:
    verdict: bool = connection.get_app_data().handshake.judge(certificate, error, depth, accepted=bool(accepted))
    return verdict


def _select_protocol(connection: SSL.Connection, offered: Sequence[bytes]) -> bytes | None:
    chosen: bytes | None = connection.get_app_data().handshake.select_protocol(offered)
    return chosen

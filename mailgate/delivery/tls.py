"""TLS towards an upstream: its certificate is checked for chain and name, and any doubt ends the connection."""

from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL, crypto
from service_identity import VerificationError
from service_identity.cryptography import extract_patterns
from service_identity.hazmat import DNS_ID, IPAddress_ID, ServiceID, verify_service_identity
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.ssl import (
    AcceptableCiphers,
    Certificate,
    CertificateOptions,
    TLSVersion,
    platformTrust,
    trustRootFromCertificates,
)
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from mailgate.delivery.errors import DeliveryError, UpstreamError
from mailgate.delivery.settings import UpstreamSettings
from mailgate.trust.certificate import key_identifier
from mailgate.trust.files import PrivateKey, load_identity
from mailgate.trust.settings import TrustError

_CIPHERS = AcceptableCiphers.fromOpenSSLCipherString("ECDHE+AESGCM:ECDHE+CHACHA20:DHE+AESGCM")
"""Of TLS 1.2, only those with forward secrecy and authenticated encryption (RFC 9325 section 4.2)."""

_VERDICTS = {
    9: "is not yet valid",
    10: "has expired",
    18: "is signed by itself",
    19: "leads to an authority that is not trusted",
    20: "is signed by an authority that is not trusted",
    21: "is signed by an authority that is not trusted",
    26: "is not meant for a server",
}
"""X509_V_ERR_* of OpenSSL, for which pyOpenSSL has no text."""


def load_authorities(path: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of a PEM file, at least one; raises DeliveryError with a sentence that names it."""
    try:
        return tuple(x509.load_pem_x509_certificates(path.read_bytes()))
    except OSError as problem:
        raise DeliveryError(f"{path}: the upstream's CA can't be read: {problem.strerror}") from problem
    except ValueError as problem:
        raise DeliveryError(f"{path}: no certificate in PEM form, as an upstream's CA needs") from problem


ClientIdentity = tuple[tuple[x509.Certificate, ...], PrivateKey]


@implementer(IOpenSSLClientConnectionCreator)
class UpstreamTls:
    """
    Makes TLS connections to one upstream: TLS 1.2 or later, a chain to the given CA, the upstream's own name.

    `host` is a DNS name (U-labels or A-labels) or an IP address, and the certificate's subjectAltName must
    carry it (RFC 9525; the CN never counts). `authorities` are the trusted CAs, None for the system's; `client`
    is what the gateway shows of itself; `pins` are the only public keys that the server may have, where there are
    any. Raises DeliveryError for a host that is neither.

    It takes the place of Twisted's optionsForClientTLS, which lets a certificate pass whose name could not be
    checked, such as one without any subjectAltName.

    Attributes:
        context: how TLS is set up for connections from now on.

    """

    def __init__(
        self,
        host: str,
        authorities: tuple[x509.Certificate, ...] | None,
        client: ClientIdentity | None = None,
        pins: frozenset[str] = frozenset(),
    ) -> None:
        self._name, self._identity = _identity(host)
        trust = (
            platformTrust()
            if authorities is None
            else trustRootFromCertificates(
                [Certificate(crypto.X509.from_cryptography(one)) for one in authorities]
            )
        )
        options = CertificateOptions(
            trustRoot=trust, acceptableCiphers=_CIPHERS, raiseMinimumTo=TLSVersion.TLSv1_2
        )
        self.context = options.getContext()
        self._pins = pins
        if client is not None:
            _show(self.context, client)

    def use(self, other: "UpstreamTls") -> None:
        """Take the certificates and keys of another one, of the same settings, for connections from now on."""
        self.context = other.context

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection that checks the server; the interface's method."""
        connection = SSL.Connection(self.context, None)
        connection.set_app_data(tlsProtocol)
        if self._name is not None:
            connection.set_tlsext_host_name(self._name)
        connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, self._verify)
        return connection

    def _verify(
        self, connection: SSL.Connection, certificate: crypto.X509, code: int, depth: int, ok: int
    ) -> bool:
        # OpenSSL's callback must neither raise nor say yes by accident: every path without a match is a no.
        reason = ""
        try:
            if not ok:
                reason = f"certificate {_VERDICTS.get(code, f'was refused (X509 error {code})')}"
            elif depth == 0:
                parsed = certificate.to_cryptography()
                verify_service_identity(extract_patterns(parsed), [self._identity], [])
                if self._pins and key_identifier(parsed) not in self._pins:
                    reason = "certificate has a public key that is not pinned"
        except VerificationError:
            reason = "certificate is for another name"
        except Exception as problem:  # noqa: BLE001 - see above
            reason = f"certificate's names can't be checked ({type(problem).__name__})"
        if reason:
            connection.get_app_data().failVerification(
                Failure(UpstreamError(f"TLS failed: the server's {reason}"))
            )
        return not reason


def upstream_tls(settings: UpstreamSettings, known: PrivateKey | None = None) -> UpstreamTls | None:
    """
    Return what makes TLS connections to an upstream of these settings, or None where it speaks none.

    Reads the files; the `known` key counts where its file may not be read. Raises DeliveryError.
    """
    if settings.tls == "none":
        return None
    authorities = None if settings.ca is None else load_authorities(settings.ca)
    client = None
    if settings.certificate is not None and settings.private_key is not None:
        try:
            client = load_identity(settings.certificate, settings.private_key, "client certificate", known)
        except TrustError as problem:
            raise DeliveryError(f"upstream {settings.host}: {problem}") from problem
    return UpstreamTls(settings.host, authorities, client, settings.pins)


def _show(context: SSL.Context, client: ClientIdentity) -> None:
    chain, key = client
    try:
        context.use_certificate(chain[0])
        for intermediate in chain[1:]:
            context.add_extra_chain_cert(intermediate)
        context.use_privatekey(key)
    except SSL.Error as problem:
        raise DeliveryError("OpenSSL can't use the client certificate towards the upstream") from problem


def _identity(host: str) -> tuple[bytes | None, ServiceID]:
    """Return the name for SNI (none for an address, RFC 6066 section 3) and what the certificate must match."""
    try:
        address = ip_address(host)
    except ValueError:
        try:
            identity = DNS_ID(host)
        except ValueError as problem:
            raise DeliveryError(f"{host!r} is neither a DNS name nor an IP address") from problem
        return identity.hostname, identity
    return None, IPAddress_ID(str(address))

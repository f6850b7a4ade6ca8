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


@implementer(IOpenSSLClientConnectionCreator)
class UpstreamTls:
    """
    Makes TLS connections to one upstream: TLS 1.2 or later, a chain to the given CA, the upstream's own name.

    `host` is a DNS name (U-labels or A-labels) or an IP address, and the certificate's subjectAltName must
    carry it (RFC 9525; the CN never counts). `authorities` are the trusted CAs, None for the system's. Raises
    DeliveryError for a host that is neither.

    It takes the place of Twisted's optionsForClientTLS, which lets a certificate pass whose name could not be
    checked, such as one without any subjectAltName.
    """

    def __init__(self, host: str, authorities: tuple[x509.Certificate, ...] | None) -> None:
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
        self._context = options.getContext()

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        """Return a connection that checks the server; the interface's method."""
        connection = SSL.Connection(self._context, None)
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
                verify_service_identity(extract_patterns(certificate.to_cryptography()), [self._identity], [])
        except VerificationError:
            reason = "certificate is for another name"
        except Exception as problem:  # noqa: BLE001 - see above
            reason = f"certificate's names can't be checked ({type(problem).__name__})"
        if reason:
            connection.get_app_data().failVerification(
                Failure(UpstreamError(f"TLS failed: the server's {reason}"))
            )
        return not reason


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

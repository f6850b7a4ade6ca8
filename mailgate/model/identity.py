"""Who a peer is, once its certificate has been judged."""

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class ChainLink:
    """
    A certificate within a verified chain.

    Attributes:
        serial: the serial number in lower-case hex.
        spki: SHA-256 of the subjectPublicKeyInfo's DER, lower-case hex.

    """

    serial: str
    spki: str


@dataclass(frozen=True, slots=True)
class PeerCertificate:
    """
    What a verified client certificate says of its owner; below trust nobody sees the X.509 itself.

    Attributes:
        subject, issuer: the distinguished names in the form of RFC 4514.
        common_name: the subject's CN, or None where there is none or more than one.
        dns: DNS names of the subjectAltName, lower case.
        uris: URIs of the subjectAltName, as written.
        fingerprint: SHA-256 of the certificate's DER, lower-case hex.
        spki: SHA-256 of the subjectPublicKeyInfo's DER, lower-case hex.
        serial: the serial number in lower-case hex.
        not_before, not_after: the validity, with time zone UTC.
        issuers: the CA certificates that it was verified by: its own issuer first, the last one trusted as it is.

    """

    subject: str
    common_name: str | None
    dns: tuple[str, ...]
    uris: tuple[str, ...]
    fingerprint: str
    spki: str
    serial: str
    not_before: datetime
    not_after: datetime
    issuer: str = ""
    issuers: tuple[ChainLink, ...] = ()

    @property
    def chain(self) -> tuple[ChainLink, ...]:
        """The verified chain, from the certificate itself upwards."""
        return (ChainLink(self.serial, self.spki), *self.issuers)

    @property
    def names(self) -> tuple[str, ...]:
        """The subjectAltNames with their kind, as ``DNS:…`` and ``URI:…``."""
        return (*(f"DNS:{name}" for name in self.dns), *(f"URI:{uri}" for uri in self.uris))

    def time_left(self, now: datetime) -> timedelta:
        """Return how long the certificate is still valid at `now`; negative once it has expired."""
        return self.not_after - now


@dataclass(frozen=True, slots=True)
class ClientIdentity:
    """
    A client of this gateway: an entry of ``[clients]`` that a certificate matched.

    Attributes:
        client: the name that owns ids, idempotency keys, rates and caps.
        label: the name of the entry, which is what metrics show: ``*`` for every client of the wildcard entry.
        certificate: the certificate that proved it.

    """

    client: str
    label: str
    certificate: PeerCertificate

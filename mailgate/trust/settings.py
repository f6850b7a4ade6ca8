"""What trust is told of the settings."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class TrustSettings:
    """
    The ``[tls]`` table.

    Attributes:
        certificate: PEM file with the server's leaf and its intermediates.
        private_key: PEM file of the leaf's key, unencrypted.
        client_ca: PEM file with the CA certificates that client certificates must chain to.
        client_crl: file with the CRLs of those CAs, in PEM or one in DER, or None where nothing is ever revoked.
        expired_crl: what a CRL means whose next update is overdue: ``refuse`` refuses everyone of its CA, ``use``
            goes on with what it says.
        minimum: ``TLSv1.2`` or ``TLSv1.3``.

    """

    certificate: Path
    private_key: Path
    client_ca: Path
    minimum: str = "TLSv1.2"
    client_crl: Path | None = None
    expired_crl: str = "refuse"


class TrustError(Exception):
    """A certificate or key can't be used; the text is one sentence that names the file."""

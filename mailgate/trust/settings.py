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
        minimum: ``TLSv1.2`` or ``TLSv1.3``.

    """

    certificate: Path
    private_key: Path
    client_ca: Path
    minimum: str = "TLSv1.2"


class TrustError(Exception):
    """A certificate or key can't be used; the text is one sentence that names the file."""

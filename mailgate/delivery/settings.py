"""What delivery is told of the settings."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from mailgate.model.retry import RetrySchedule

TlsMode = Literal["starttls", "implicit", "none"]


@dataclass(frozen=True, slots=True)
class Credentials:
    """A login at the upstream, and the file of its password, which is kept out of every representation."""

    username: str
    password: str = field(repr=False)
    file: Path | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamSettings:
    """
    One ``[[upstream]]`` table: an internal SMTP server.

    Attributes:
        host: DNS name or IP address; with TLS, the server's certificate must carry it.
        port: TCP port.
        tls: ``starttls`` (required, never stripped), ``implicit`` or ``none``.
        ca: PEM file of the CA that signs the server's certificate; None for the system's.
        certificate, private_key: PEM files of the certificate that the gateway shows to the server, or None.
        pins: SHA-256 of the public keys (subjectPublicKeyInfo) that the server's certificate may have, in
            lower-case hex, beside all other checks; empty for any.
        credentials: the login, or None.
        connections: the most connections to hold open at once.

    """

    host: str
    port: int = 25
    tls: TlsMode = "starttls"
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    pins: frozenset[str] = frozenset()
    credentials: Credentials | None = None
    connections: int = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliverySettings:
    """
    The ``[[upstream]]`` tables in order of preference, and ``[delivery]``.

    `hostname` is the name that EHLO gives. `hold_unknown` keeps a message whose outcome is unknown from being
    tried again by itself.
    """

    hostname: str
    upstreams: tuple[UpstreamSettings, ...]
    schedule: RetrySchedule = field(default_factory=RetrySchedule)
    hold_unknown: bool = False

"""One generation of the server's trust."""

from dataclasses import dataclass, field

from cryptography import x509
from OpenSSL import SSL

from mailgate.trust.authorities import Authorities
from mailgate.trust.files import PrivateKey
from mailgate.trust.settings import TrustSettings


@dataclass(frozen=True, slots=True)
class Generation:
    """
    What is used together: replaced as a whole or not at all.

    Attributes:
        context: how TLS is set up.
        certificate, key: the server's own.
        authorities: whom clients may come from.
        exposed: the mode of the key's file where others than its owner may read it, or None.
        settings: what it was made of.

    """

    context: SSL.Context
    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)
    authorities: Authorities
    exposed: int | None
    settings: TrustSettings

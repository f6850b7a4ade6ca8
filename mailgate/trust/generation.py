"""One generation of the server's trust."""

from dataclasses import dataclass

from cryptography import x509
from OpenSSL import SSL

from mailgate.trust.authorities import Authorities


@dataclass(frozen=True, slots=True)
class Generation:
    """
    What is used together: replaced as a whole or not at all.

    Attributes:
        context: how TLS is set up.
        certificate: the server's own.
        authorities: whom clients may come from.

    """

    context: SSL.Context
    certificate: x509.Certificate
    authorities: Authorities

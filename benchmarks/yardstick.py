"""
The least that a mutual-TLS POST can cost here: twisted.web as it comes, answering a few octets.

``python yardstick.py CERTIFICATES`` serves on a free port of loopback and prints ``listening on PORT``.
"""

import sys
from pathlib import Path

from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IOpenSSLServerConnectionCreator, IReactorSSL, IReactorTCP
from twisted.internet.task import react
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.web.resource import Resource
from twisted.web.server import Request, Site
from zope.interface import implementer


@implementer(IOpenSSLServerConnectionCreator)
class MutualTls:
    """TLS that demands a certificate of the CA in the directory."""

    def __init__(self, certificates: Path) -> None:
        self._context = SSL.Context(SSL.TLS_SERVER_METHOD)
        self._context.use_certificate_chain_file(str(certificates / "server.crt"))
        self._context.use_privatekey_file(str(certificates / "server.key"))
        self._context.load_verify_locations(str(certificates / "ca.crt"))
        self._context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)

    def serverConnectionForTLS(self, protocol: object) -> SSL.Connection:  # noqa: ARG002 - Twisted's signature
        """Return the server's side of one connection."""
        return SSL.Connection(self._context, None)


class Answer(Resource):
    """Reads a POST and answers it."""

    isLeaf = True

    def render_POST(self, request: Request) -> bytes:
        """Read the body, as any application would."""
        request.content.read()
        request.setResponseCode(202)
        return b"{}"


async def serve(reactor: IReactorTCP | IReactorSSL, certificates: str) -> None:
    """Listen until the reactor stops."""
    tls = MutualTls(Path(certificates))
    site = TLSMemoryBIOFactory(tls, isClient=False, wrappedFactory=Site(Answer()), clock=reactor)
    address = reactor.listenTCP(0, site, interface="127.0.0.1").getHost()
    assert isinstance(address, IPv4Address)
    sys.stdout.write(f"listening on {address.port}\n")
    sys.stdout.flush()
    await Deferred()


if __name__ == "__main__":
    react(serve, (sys.argv[1],))

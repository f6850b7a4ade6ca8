"""Enrolment over Secure Transport (RFC 7030): a client renews its own certificate while that is still valid."""

import binascii
from collections.abc import Callable

from twisted.internet.defer import Deferred

from mailgate.doors.answers import Answer
from mailgate.doors.authorise import AuthorisedRoutes
from mailgate.doors.reading import media_type, refuse_query
from mailgate.doors.request import GatewayRequest, Result
from mailgate.model.identity import ClientIdentity
from mailgate.model.refusal import Refusal, RefusalCode

PATH = "/.well-known/est"

LARGEST_REQUEST = 64 * 1024
"""Octets of a request in base64."""

_PKCS7 = b"application/pkcs7-mime"
_CERTIFICATES_ONLY = b"application/pkcs7-mime; smime-type=certs-only"
_ENCODED = ((b"Content-Transfer-Encoding", b"base64"),)

_NOT_A_REQUEST = Refusal(
    RefusalCode.UNSUPPORTED_MEDIA_TYPE, "a certificate request is sent as application/pkcs10, in base64"
)
_NOT_BASE64 = Refusal(RefusalCode.BAD_REQUEST, "the body is not base64")

Renew = Callable[[ClientIdentity, bytes, bytes], Deferred[bytes | Refusal]]
"""
Given a client, its certificate and its request, both in DER, fires with the certificate that follows, as PKCS #7.
"""


class EnrolmentRoutes:
    """
    The two operations of EST that need nobody's approval, since the client has proved who it is.

    `authority` is the signing CA's certificate as PKCS #7.
    """

    def __init__(self, authority: bytes, renew: Renew) -> None:
        self._authority = authority
        self._renew = renew

    def register(self, routes: AuthorisedRoutes) -> None:
        """Make them reachable."""
        routes.route(f"{PATH}/cacerts", "GET")(self._tell_authorities)
        routes.route(f"{PATH}/simplereenroll", "POST")(self._reenrol)

    def _tell_authorities(self, request: GatewayRequest, _identity: ClientIdentity) -> Result:
        return refuse_query(request) or _encoded(_PKCS7, self._authority)

    def _reenrol(self, request: GatewayRequest, identity: ClientIdentity) -> Result | Deferred[Result]:
        if media_type(request) != "application/pkcs10":
            return _NOT_A_REQUEST
        if len(request.body) > LARGEST_REQUEST:
            detail = "a certificate request is not so large"
            return Refusal(RefusalCode.MESSAGE_TOO_LARGE, detail, limit=LARGEST_REQUEST, actual=len(request.body))
        try:
            # RFC 8951 section 3.1: white space means nothing, and neither does a transfer encoding's name.
            asked = binascii.a2b_base64(request.body)
        except binascii.Error:
            return _NOT_BASE64

        def answer(certificate: bytes | Refusal) -> Result:
            return certificate if isinstance(certificate, Refusal) else _encoded(_CERTIFICATES_ONLY, certificate)

        return refuse_query(request) or self._renew(identity, request.certificate, asked).addCallback(answer)


def _encoded(content_type: bytes, octets: bytes) -> Answer:
    return Answer(200, binascii.b2a_base64(octets, newline=False), content_type, _ENCODED)

"""Why a handshake failed, in words; OpenSSL's own are for its developers."""

from OpenSSL.SSL import Error, X509VerificationCodes

NO_CERTIFICATE = "it sent no certificate"
TOO_SLOW = "it did not finish the handshake in time"
LEFT = "it left in the middle of the handshake"

_CODES = X509VerificationCodes
_VERIFICATION = {
    _CODES.ERR_CERT_HAS_EXPIRED: "it has expired",
    _CODES.ERR_CERT_NOT_YET_VALID: "it is not yet valid",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT: "its issuer is not a trusted CA",
    _CODES.ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its issuer is not a trusted CA",
    _CODES.ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its issuer is not a trusted CA",
    _CODES.ERR_DEPTH_ZERO_SELF_SIGNED_CERT: "it is self-signed, not issued by a trusted CA",
    _CODES.ERR_SELF_SIGNED_CERT_IN_CHAIN: "its issuer is not a trusted CA",
    _CODES.ERR_CERT_SIGNATURE_FAILURE: "the signature is not by the trusted CA of that name",
    _CODES.ERR_INVALID_PURPOSE: "it is not for a client: its key usage or extendedKeyUsage says otherwise",
    _CODES.ERR_INVALID_CA: "it was issued by a certificate that is no CA",
    _CODES.ERR_CERT_REVOKED: "it is revoked",
    _CODES.ERR_CERT_CHAIN_TOO_LONG: "its chain is too long",
    _CODES.ERR_PATH_LENGTH_EXCEEDED: "its chain is longer than its CA allows",
    _CODES.ERR_UNHANDLED_CRITICAL_EXTENSION: "it has a critical extension that nobody here knows",
    # X509_V_ERR_EE_KEY_TOO_SMALL, …_CA_KEY_TOO_SMALL and …_CA_MD_TOO_WEAK, which pyOpenSSL doesn't name.
    66: "its key is too short to be trusted",
    67: "the key of its CA is too short to be trusted",
    68: "it was signed with a digest too weak to be trusted",
}

REVOKED = _CODES.ERR_CERT_REVOKED

OF_LISTS = frozenset(
    {
        _CODES.ERR_UNABLE_TO_GET_CRL,
        _CODES.ERR_UNABLE_TO_DECRYPT_CRL_SIGNATURE,
        _CODES.ERR_CRL_SIGNATURE_FAILURE,
        _CODES.ERR_CRL_NOT_YET_VALID,
        _CODES.ERR_CRL_HAS_EXPIRED,
        _CODES.ERR_ERROR_IN_CRL_LAST_UPDATE_FIELD,
        _CODES.ERR_ERROR_IN_CRL_NEXT_UPDATE_FIELD,
        _CODES.ERR_UNABLE_TO_GET_CRL_ISSUER,
        _CODES.ERR_KEYUSAGE_NO_CRL_SIGN,
        _CODES.ERR_UNHANDLED_CRITICAL_CRL_EXTENSION,
        _CODES.ERR_DIFFERENT_CRL_SCOPE,
        _CODES.ERR_CRL_PATH_VALIDATION_ERROR,
    }
)
"""What OpenSSL says of a CRL itself, and not of the certificate that it looked for in one."""

_PROTOCOL = {
    "peer did not return a certificate": NO_CERTIFICATE,
    "http request": "it spoke plain HTTP, not TLS",
    "https proxy request": "it spoke plain HTTP, not TLS",
    "wrong version number": "it did not speak TLS",
    "unknown protocol": "it did not speak TLS",
    "packet length too long": "it did not speak TLS",
    "unexpected message": "it did not speak TLS",
    "unsupported protocol": "it offers no TLS version that is allowed here",
    "version too low": "it offers no TLS version that is allowed here",
    "no shared cipher": "it offers no cipher suite that is allowed here",
    "no suitable signature algorithm": "it offers no signature algorithm that fits the server's key",
}


def of_verification(code: int, depth: int) -> str:
    """Return why OpenSSL did not accept a certificate; depth 0 is the client's own, above it its issuers."""
    whose = "its certificate" if depth == 0 else "a CA certificate in its chain"
    words = _VERIFICATION.get(code, f"OpenSSL's verification says error {code}")
    return f"{whose} was not accepted: {words}"


def of_error(error: BaseException | None) -> str:
    """Return why a handshake ended, for the error that OpenSSL or the transport gave."""
    if not isinstance(error, Error) or not error.args or not error.args[0]:
        return LEFT
    reason = str(error.args[0][-1][-1]).lower()
    _, alert, name = reason.partition(" alert ")
    if alert:
        return f"it ended the handshake with the alert: {name}"
    return _PROTOCOL.get(reason, f"TLS failed: {reason}")

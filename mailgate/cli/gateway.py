"""A small HTTPS client of a gateway, on nothing but the standard library; each failure becomes one sentence."""

import http.client
import json
import socket
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from mailgate.ca.errors import CertificateAuthorityError
from mailgate.ca.names import dns_name

TIMEOUT = 60.0
"""Seconds that one step (connecting, each write, each read) may take."""

LARGEST_ANSWER = 1024 * 1024
MESSAGES_PATH = "/v1/messages"
REENROL_PATH = "/.well-known/est/simplereenroll"

# Verification results about the name, not about the chain: X509_V_ERR_HOSTNAME_MISMATCH and its siblings.
_NAME_MISMATCH = frozenset({62, 63, 64})


class GatewayError(Exception):
    """The gateway could not be asked, or didn't answer; the text is one sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What the gateway said: the HTTP status, the JSON value of the body, or None, and the body as it came."""

    status: int
    body: object
    content: bytes = b""

    @property
    def accepted(self) -> bool:
        """Whether the status is a 2xx."""
        return http.HTTPStatus.OK <= self.status < http.HTTPStatus.MULTIPLE_CHOICES


@dataclass(frozen=True, slots=True)
class Credentials:
    """The PEM files a client needs: its certificate and key, and the CA that it trusts the gateway by."""

    certificate: Path
    key: Path
    ca: Path

    def context(self, protocol: str = "http/1.1") -> ssl.SSLContext:
        """
        Return a TLS context that proves who we are and holds the gateway to its name; raises GatewayError.

        `protocol` is the application's, by its ALPN name.

        It takes a CA without keyUsage, as `openssl req -x509` makes them, in each version of Python alike.
        """
        for path in (self.certificate, self.key, self.ca):
            # The ssl module doesn't say which of its files is missing.
            _probe(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols([protocol])
        try:
            context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise GatewayError(f"{self.ca} holds no readable PEM certificate.") from error
        try:
            context.load_cert_chain(self.certificate, self.key, password=_no_password)
        except _EncryptedKeyError as error:
            raise GatewayError(f"{self.key} is encrypted; sending needs an unencrypted key.") from error
        except ssl.SSLError as error:
            mismatch = error.reason == "KEY_VALUES_MISMATCH"
            why = "they don't belong together" if mismatch else "one of them is not readable PEM"
            raise GatewayError(f"{self.certificate} and {self.key} can't be used: {why}.") from error
        return context


class _EncryptedKeyError(Exception):
    pass


def _no_password() -> str:
    raise _EncryptedKeyError


def _probe(path: Path) -> None:
    try:
        with path.open("rb"):
            pass
    except OSError as error:
        raise GatewayError(f"{path}: {error.strerror}.") from error


class Gateway:
    """
    A gateway at an ``https`` URL, which may hold a path in front of ``/v1``.

    Raises GatewayError for a URL or files that can't be used.
    """

    def __init__(self, url: str, credentials: Credentials) -> None:
        self._credentials = credentials
        self._host, self._port, self._path = _parse(url)
        self._context = credentials.context()

    def reenrol(self, request: bytes) -> Answer:
        """
        Ask for our next certificate by a request in base64 (RFC 7030 section 4.2.2).

        The answer's body is None where it was accepted, and its content then the certificates. Raises GatewayError
        when no answer comes back.
        """
        prefix = self._path.removesuffix(MESSAGES_PATH)
        return self._post(f"{prefix}{REENROL_PATH}", request, {"Content-Type": "application/pkcs10"})

    def submit(self, message: Mapping[str, object], idempotency_key: str | None = None) -> Answer:
        """Submit one message, as JSON; raises GatewayError when no answer comes back."""
        headers = {"Content-Type": "application/json", "Accept": "application/json, application/problem+json"}
        if idempotency_key is not None:
            headers["Idempotency-Key"] = idempotency_key
        try:
            body = json.dumps(message, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise GatewayError("The message holds text that is not UTF-8.") from error
        return self._post(self._path, body, headers)

    def _post(self, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT, context=self._context)
        try:
            return self._exchange(connection, path, body, headers)
        except OSError as error:
            raise GatewayError(self._sentence(error)) from error
        except http.client.HTTPException as error:
            raise GatewayError(f"{self._where} answered, but not in HTTP.") from error
        finally:
            connection.close()

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
    ) -> Answer:
        connection.connect()
        # When writing fails, a refusal may stand in the receive buffer already: of the certificate, which TLS 1.3
        # tells after the handshake (RFC 8446 section 4.4.2.4), or a 413 before the body was read. It says more.
        with suppress(ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError):
            connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        content = response.read(LARGEST_ANSWER)
        return Answer(response.status, _json(content), content)

    @property
    def _where(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{host}:{self._port}"

    def _sentence(self, error: OSError) -> str:
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._distrust(error)
        if isinstance(error, ssl.SSLError):
            return self._tls_failure(error)
        return self._network_failure(error)

    def _network_failure(self, error: OSError) -> str:
        match error:
            case ConnectionRefusedError():
                return f"Nothing listens at {self._where}: connection refused."
            case socket.gaierror():
                return f"The host {self._host} can't be found: {error.strerror}."
            case TimeoutError():
                return f"{self._where} did not answer within {TIMEOUT:.0f} seconds."
            case ConnectionError():
                return self._silence()
            case _:
                return f"{self._where} can't be reached: {error.strerror or error}."

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        why = error.verify_message.rstrip(".")
        if error.verify_code in _NAME_MISMATCH:
            return f"The certificate of {self._where} is for another name: {why}."
        return (
            f"The certificate of {self._where} can't be trusted: {why}. "
            f"Is {self._credentials.ca} the CA that issued it?"
        )

    def _tls_failure(self, error: ssl.SSLError) -> str:
        reason = error.reason or ""
        if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return self._silence()
        if "ALERT" in reason:
            alert = reason.partition("ALERT_")[2].replace("_", " ").lower()
            return f"The gateway refused our certificate {self._credentials.certificate}: {alert}."
        if reason in {"WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER_FAILURE", "PACKET_LENGTH_TOO_LONG"}:
            return f"{self._where} does not speak TLS."
        return f"TLS with {self._where} failed: {reason.replace('_', ' ').lower() or error}."

    def _silence(self) -> str:
        return (
            f"{self._where} closed the connection without an answer; "
            f"it may have refused our certificate {self._credentials.certificate}, and its log says why."
        )


def _parse(url: str) -> tuple[str, int, str]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise GatewayError(f"{url!r} is not a URL: {error}.") from error
    if parts.scheme != "https" or not host or parts.query or parts.fragment or parts.username is not None:
        raise GatewayError(f"{url!r} is not a gateway's URL: it must look like https://gate.example.com:8443.")
    if not host.isascii():
        try:
            host = dns_name(host)
        except CertificateAuthorityError as error:
            raise GatewayError(str(error)) from error
    path = parts.path.rstrip("/").removesuffix(MESSAGES_PATH) + MESSAGES_PATH
    if not path.isascii() or not path.isprintable() or " " in path:
        raise GatewayError(f"{url!r} is not a URL: its path must be percent-encoded.")
    return host, port if port is not None else http.client.HTTPS_PORT, path


def _json(content: bytes) -> object:
    try:
        value: object = json.loads(content)
    except ValueError:
        return None
    return value

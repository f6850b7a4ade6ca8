"""An HTTPS client of the gateway that keeps its connection."""

import http.client
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True)
class Answer:
    status: int
    headers: http.client.HTTPMessage
    body: object

    def __getitem__(self, key: str) -> object:
        assert isinstance(self.body, dict), self.body
        return self.body[key]


class Client:
    """One connection; opened by the first request, and again after one that the gateway closed."""

    def __init__(self, port: int, ca: Path, certificate: Path | None = None, key: Path | None = None) -> None:
        context = ssl.create_default_context(cafile=str(ca))
        # OpenSSL's `req -x509` makes CAs without keyUsage, which newer versions of Python refuse by default.
        context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
        if certificate is not None:
            context.load_cert_chain(certificate, key)
        self.connection = http.client.HTTPSConnection("localhost", port, timeout=30, context=context)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.connection.close()

    def request(self, method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        """Make one request; header names are written with underscores."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        response = self.connection.getresponse()
        return Answer(response.status, response.headers, json.loads(response.read()))

    def fetch(self, method: str, path: str, body: bytes | None = None, **headers: str) -> tuple[int, str, bytes]:
        """Make one request whose answer is no JSON; return status, content type and content."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, path, body, named)
        response = self.connection.getresponse()
        return response.status, response.headers["Content-Type"], response.read()

    def submit(self, message: dict[str, object], **headers: str) -> Answer:
        """Submit a message as JSON."""
        body = json.dumps(message, ensure_ascii=False).encode()
        return self.request("POST", "/v1/messages", body, Content_Type="application/json", **headers)

    def submit_raw(self, content: bytes, sender: str, *recipients: str) -> Answer:
        """Submit a finished message with its envelope."""
        query = "&".join([f"from={sender}", *(f"to={recipient}" for recipient in recipients)])
        return self.request("POST", f"/v1/messages?{query}", content, Content_Type="message/rfc822")

    def state(self, identifier: object) -> Answer:
        """Ask what became of a message."""
        return self.request("GET", f"/v1/messages/{identifier}")

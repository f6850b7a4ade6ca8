"""Answers of the HTTPS door, and their octets on the wire (RFC 9110, RFC 9112)."""

from dataclasses import dataclass
from http import HTTPStatus
from math import ceil

from mailgate.model.refusal import Refusal, RefusalCode
from mailgate.wire.problem import problem, status_of

JSON = b"application/json"
PROBLEM = b"application/problem+json"

_TRY_LATER = frozenset({429, 503})
_RETRY_AFTER = 10.0


_STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class Answer:
    """
    What a route answers.

    Attributes:
        status: three digits.
        body: octets of JSON; none for 204.
        content_type: of the body.
        headers: further fields; their values hold no CR or LF, since none of them comes from a client as it is.

    """

    status: int
    body: bytes = b""
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()


def refused(refusal: Refusal, request_id: str, allow: tuple[str, ...] = ()) -> Answer:
    """Return the answer to a request that was refused; `allow` names the methods for a 405."""
    status = status_of(refusal.code)
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if refusal.retry_after is not None or status in _TRY_LATER:
        seconds = _RETRY_AFTER if refusal.retry_after is None else refusal.retry_after
        headers = ((b"Retry-After", b"%d" % max(1, ceil(seconds))),)
    if refusal.code is RefusalCode.METHOD_NOT_ALLOWED:
        headers = (*headers, (b"Allow", ", ".join(allow).encode()))
    return Answer(status, problem(refusal, request_id), PROBLEM, headers)


def octets(answer: Answer, common: bytes, *, body: bool, close: bool) -> bytes:
    """
    Return an answer as it goes on the wire.

    `common` holds the header fields of every answer, each with its CRLF; `body` is false for HEAD.
    """
    parts = [_STATUS_LINES[answer.status], common]
    parts.extend(b"%b: %b\r\n" % field for field in answer.headers)
    if answer.status != 204:  # noqa: PLR2004 (RFC 9110 section 8.6: no Content-Length on a 204)
        parts.append(b"Content-Type: %b\r\nContent-Length: %d\r\n" % (answer.content_type, len(answer.body) + 1))
    if close:
        parts.append(b"Connection: close\r\n")
    parts.append(b"\r\n")
    if body and answer.body:
        # The line's end is for whoever reads the answer in a terminal.
        parts += (answer.body, b"\n")
    return b"".join(parts)

"""Refusals as problem details (RFC 9457)."""

from typing import Final
from urllib.parse import quote

import msgspec

from mailgate.model.refusal import FaultCode, Refusal, RefusalCode

TYPE_PREFIX = "https://mailgate.example/problems/"

_KINDS: Final[dict[RefusalCode, tuple[int, str]]] = {
    RefusalCode.INVALID_JSON: (400, "Invalid JSON"),
    RefusalCode.INVALID_IDEMPOTENCY_KEY: (400, "Invalid idempotency key"),
    RefusalCode.BAD_REQUEST: (400, "Bad request"),
    RefusalCode.HEADERS_TOO_LARGE: (431, "Headers too large"),
    RefusalCode.CLIENT_UNKNOWN: (403, "Client unknown"),
    RefusalCode.CLIENT_DISABLED: (403, "Client disabled"),
    RefusalCode.CERTIFICATE_REVOKED: (403, "Certificate revoked"),
    RefusalCode.DOOR_NOT_ALLOWED: (403, "Door not allowed"),
    RefusalCode.SENDER_NOT_ALLOWED: (403, "Sender not allowed"),
    RefusalCode.RECIPIENT_NOT_ALLOWED: (403, "Recipient not allowed"),
    RefusalCode.NOT_FOUND: (404, "Not found"),
    RefusalCode.METHOD_NOT_ALLOWED: (405, "Method not allowed"),
    RefusalCode.IDEMPOTENCY_IN_PROGRESS: (409, "Idempotency in progress"),
    RefusalCode.NOT_CANCELABLE: (409, "Not cancelable"),
    RefusalCode.REQUEST_TIMEOUT: (408, "Request timeout"),
    RefusalCode.MESSAGE_TOO_LARGE: (413, "Message too large"),
    RefusalCode.UNSUPPORTED_MEDIA_TYPE: (415, "Unsupported media type"),
    RefusalCode.VALIDATION_FAILED: (422, "Validation failed"),
    RefusalCode.IDEMPOTENCY_KEY_REUSED: (422, "Idempotency key reused"),
    RefusalCode.RATE_LIMITED: (429, "Rate limited"),
    RefusalCode.QUOTA_EXCEEDED: (429, "Quota exceeded"),
    RefusalCode.QUEUE_FULL: (503, "Queue full"),
    RefusalCode.DRAINING: (503, "Draining"),
    RefusalCode.STORAGE_UNAVAILABLE: (503, "Storage unavailable"),
    RefusalCode.DISK_LOW: (507, "Disk low"),
}
_RETRYABLE: Final = frozenset(
    {
        RefusalCode.IDEMPOTENCY_IN_PROGRESS,
        RefusalCode.REQUEST_TIMEOUT,
        RefusalCode.RATE_LIMITED,
        RefusalCode.QUOTA_EXCEEDED,
        RefusalCode.QUEUE_FULL,
        RefusalCode.DRAINING,
        RefusalCode.STORAGE_UNAVAILABLE,
        RefusalCode.DISK_LOW,
    }
)
_FRAGMENT: Final = "/~!$&'()*+,;=:@-._?"
"""What a URI's fragment holds unencoded (RFC 3986 section 3.5)."""


class ProblemFault(msgspec.Struct, frozen=True):
    """One of a problem's faults; the pointer is a URI fragment."""

    pointer: str
    code: FaultCode
    detail: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The members of a problem document; `limit` and `actual` are octets, where a size was the reason."""

    type: str
    title: str
    status: int
    detail: str
    code: RefusalCode
    request_id: str
    retryable: bool
    errors: tuple[ProblemFault, ...] = ()
    limit: int | None = None
    actual: int | None = None


def status_of(code: RefusalCode) -> int:
    """Return the HTTP status that answers a refusal of this code."""
    return _KINDS[code][0]


def problem(refusal: Refusal, request_id: str) -> bytes:
    """Return the problem document that tells a client of the refusal, as JSON."""
    status, title = _KINDS[refusal.code]
    return msgspec.json.encode(
        Problem(
            type=TYPE_PREFIX + refusal.code.replace("_", "-"),
            title=title,
            status=status,
            detail=refusal.detail,
            code=refusal.code,
            request_id=request_id,
            retryable=refusal.code in _RETRYABLE,
            errors=tuple(ProblemFault(_fragment(each.pointer), each.code, each.detail) for each in refusal.faults),
            limit=refusal.limit,
            actual=refusal.actual,
        )
    )


def _fragment(pointer: str) -> str:
    """Return a JSON pointer as a URI fragment (RFC 6901 section 6)."""
    return "#" + quote(pointer, safe=_FRAGMENT)

"""Why a submission was not taken, as data: the doors render it, nobody parses its text."""

from dataclasses import dataclass
from enum import StrEnum


class RefusalCode(StrEnum):
    """The `code` of an answer; every door maps each to its own status."""

    INVALID_JSON = "invalid_json"
    INVALID_IDEMPOTENCY_KEY = "invalid_idempotency_key"
    BAD_REQUEST = "bad_request"
    HEADERS_TOO_LARGE = "headers_too_large"
    CLIENT_UNKNOWN = "client_unknown"
    CLIENT_DISABLED = "client_disabled"
    CERTIFICATE_REVOKED = "certificate_revoked"
    DOOR_NOT_ALLOWED = "door_not_allowed"
    SENDER_NOT_ALLOWED = "sender_not_allowed"
    RECIPIENT_NOT_ALLOWED = "recipient_not_allowed"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    IDEMPOTENCY_IN_PROGRESS = "idempotency_in_progress"
    NOT_CANCELABLE = "not_cancelable"
    REQUEST_TIMEOUT = "request_timeout"
    MESSAGE_TOO_LARGE = "message_too_large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported_media_type"
    VALIDATION_FAILED = "validation_failed"
    IDEMPOTENCY_KEY_REUSED = "idempotency_key_reused"
    RATE_LIMITED = "rate_limited"
    QUOTA_EXCEEDED = "quota_exceeded"
    QUEUE_FULL = "queue_full"
    DRAINING = "draining"
    STORAGE_UNAVAILABLE = "storage_unavailable"
    DISK_LOW = "disk_low"


class FaultCode(StrEnum):
    """The `code` of one fault within a submission."""

    REQUIRED = "required"
    WRONG_TYPE = "wrong_type"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_ADDRESS = "invalid_address"
    NOT_IN_POLICY = "not_in_policy"
    INVALID_HEADER = "invalid_header"
    CONTROL_CHARACTER = "control_character"
    INVALID_BASE64 = "invalid_base64"
    TOO_MANY = "too_many"
    TOO_LONG = "too_long"
    IN_THE_PAST = "in_the_past"


@dataclass(frozen=True, slots=True)
class Fault:
    """
    One thing wrong with a submission.

    Attributes:
        pointer: where, as a JSON pointer (RFC 6901) in the HTTPS request, like ``/to/1``.
        code: what kind of fault.
        detail: a sentence that a person can act on; never holds message content.
        address: the addr-spec that is at fault, where it is one address; empty otherwise.

    """

    pointer: str
    code: FaultCode
    detail: str
    address: str = ""


@dataclass(frozen=True, slots=True)
class Refusal:
    """
    A submission (or request) that was not taken, whole.

    Attributes:
        code: the reason that decides the answer's status.
        detail: one sentence for the client; never holds secrets or message content.
        faults: every fault that was found, the deciding one among them.
        retry_after: seconds after which the same submission may succeed, or None where it never will.
        limit, actual: octets, where a size was the reason.

    """

    code: RefusalCode
    detail: str
    faults: tuple[Fault, ...] = ()
    retry_after: float | None = None
    limit: int | None = None
    actual: int | None = None

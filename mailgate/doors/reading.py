"""From a request to a submission: which of wire's decoders reads it, and with what from the head."""

from mailgate.doors.request import GatewayRequest
from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Submission
from mailgate.wire.json import decode_message
from mailgate.wire.request_headers import parse_idempotency_key
from mailgate.wire.rfc822 import decode_rfc822

_TWO_KEYS = Refusal(RefusalCode.INVALID_IDEMPOTENCY_KEY, "a request has one Idempotency-Key field at most")
_ENVELOPE = frozenset({b"from", b"to"})


def decode_submission(request: GatewayRequest, max_recipients: int, now: float) -> Submission | Refusal:
    """Return the message that a request submits, or why it is none."""
    kind = media_type(request)
    if len(request.requestHeaders.getRawHeaders(b"Idempotency-Key") or ()) > 1:
        return _TWO_KEYS
    key = parse_idempotency_key(request.header(b"Idempotency-Key"))
    if isinstance(key, Refusal):
        return key
    if kind == "application/json":
        return refuse_query(request) or decode_message(
            request.body, idempotency_key=key, now=now, max_recipients=max_recipients
        )
    if kind == "message/rfc822":
        return refuse_query(request, _ENVELOPE) or decode_rfc822(
            request.body,
            mail_from=_values(request, b"from"),
            rcpt_to=_values(request, b"to"),
            idempotency_key=key,
            max_recipients=max_recipients,
        )
    return Refusal(
        RefusalCode.UNSUPPORTED_MEDIA_TYPE,
        "a message is sent as application/json in UTF-8 or as message/rfc822, without a Content-Encoding",
    )


def refuse_query(request: GatewayRequest, known: frozenset[bytes] = frozenset()) -> Refusal | None:
    """Return the refusal of a query that has other parameters than the known ones, or None."""
    unknown = sorted((request.args or {}).keys() - known)
    if not unknown:
        return None
    faults = tuple(
        Fault("", FaultCode.UNKNOWN_FIELD, f"the query parameter {name.decode(errors='replace')!r} is unknown")
        for name in unknown
    )
    return Refusal(RefusalCode.VALIDATION_FAILED, "the query has a parameter that is unknown here", faults)


def media_type(request: GatewayRequest) -> str | None:
    """Return the type of a body that can be read as it is, in lower case."""
    if request.header(b"Content-Encoding") not in {None, "identity"}:
        return None
    found, _, parameters = (request.header(b"Content-Type") or "").lower().partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "us-ascii"}:
            return None
    return found.strip()


def _values(request: GatewayRequest, parameter: bytes) -> list[str]:
    return [value.decode(errors="replace") for value in (request.args or {}).get(parameter, [])]

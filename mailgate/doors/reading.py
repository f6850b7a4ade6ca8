"""From a request to a submission: which of wire's decoders reads it, and with what from the head."""

from mailgate.doors.request import GatewayRequest
from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Submission
from mailgate.wire.json import decode_message
from mailgate.wire.request_headers import parse_idempotency_key


def decode_submission(request: GatewayRequest, max_recipients: int, now: float) -> Submission | Refusal:
    """Return the message that a request submits, or why it is none."""
    media_type = _media_type(request)
    key = parse_idempotency_key(request.header(b"Idempotency-Key"))
    if isinstance(key, Refusal):
        return key
    if media_type == "application/json":
        return refuse_query(request) or decode_message(
            request.body, idempotency_key=key, now=now, max_recipients=max_recipients
        )
    return Refusal(
        RefusalCode.UNSUPPORTED_MEDIA_TYPE,
        "a message is sent as application/json in UTF-8, without a Content-Encoding",
    )


def refuse_query(request: GatewayRequest) -> Refusal | None:
    """Return the refusal of a query at a path that takes none, or None where there is no query."""
    unknown = sorted(request.args or {})
    if not unknown:
        return None
    faults = tuple(
        Fault("", FaultCode.UNKNOWN_FIELD, f"the query parameter {name.decode(errors='replace')!r} is unknown")
        for name in unknown
    )
    return Refusal(RefusalCode.VALIDATION_FAILED, "the query has a parameter that is unknown here", faults)


def _media_type(request: GatewayRequest) -> str | None:
    """Return the type of a body that can be read as it is, in lower case."""
    if request.header(b"Content-Encoding") not in {None, "identity"}:
        return None
    media_type, _, parameters = (request.header(b"Content-Type") or "").lower().partition(";")
    for parameter in parameters.split(";"):
        name, _, value = parameter.strip().partition("=")
        if name == "charset" and value.strip('"') not in {"utf-8", "us-ascii"}:
            return None
    return media_type.strip()

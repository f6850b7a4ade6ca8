"""From a request to a submission: which of wire's decoders reads it, and with what from the head."""

from mailgate.doors.request import GatewayRequest
from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Submission
from mailgate.wire.json import decode_message, decode_rfc822, parse_idempotency_key

_ENVELOPE = frozenset({b"from", b"to"})


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
    if media_type == "message/rfc822":
        return _decode_rfc822(request, key, max_recipients)
    return Refusal(
        RefusalCode.UNSUPPORTED_MEDIA_TYPE,
        "a message is sent as application/json in UTF-8 or as message/rfc822, without a Content-Encoding",
    )


def refuse_query(request: GatewayRequest, known: frozenset[bytes] = frozenset()) -> Refusal | None:
    """Return the refusal of a query that has parameters other than the known ones, or None."""
    unknown = sorted(name for name in request.args or {} if name not in known)
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


def _decode_rfc822(request: GatewayRequest, key: str | None, max_recipients: int) -> Submission | Refusal:
    unknown = refuse_query(request, _ENVELOPE)
    if unknown is not None:
        return unknown
    arguments = request.args or {}
    return decode_rfc822(
        request.body,
        mail_from=[value.decode(errors="replace") for value in arguments.get(b"from", [])],
        rcpt_to=[value.decode(errors="replace") for value in arguments.get(b"to", [])],
        idempotency_key=key,
        max_recipients=max_recipients,
    )

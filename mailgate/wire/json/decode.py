"""From the body of a request to a submission, or to everything that is wrong with it."""

import json
import re
from codecs import BOM_UTF8
from itertools import islice
from typing import Any

import msgspec

from mailgate.model.refusal import FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Submission
from mailgate.wire.faults import Faults
from mailgate.wire.json.check import check, seconds
from mailgate.wire.json.schema import MessageRequest, member_count
from mailgate.wire.json.shape import mend
from mailgate.wire.mime.compose import compose

_DECODER = msgspec.json.Decoder(MessageRequest)
_PERHAPS_MEMBER = re.compile(rb'"\s*:')
_STRING_OR_COMMA = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)|,', re.DOTALL)

MOST_VALUES = 20_000
"""Of a whole body, far above the limits of its parts; a value of two octets can take eighty in memory."""


class _DuplicateMemberError(ValueError):
    """An object has two members of one name."""


def decode_message(
    body: bytes,
    *,
    idempotency_key: str | None,
    now: float,
    max_recipients: int,
    max_without_attachments: int | None = None,
) -> Submission | Refusal:
    """
    Return the submission that a JSON body holds, or its refusal with every fault.

    `now` is in seconds since the epoch; whether it has passed the times of a message with an idempotency key is
    for intake to judge, which knows whether this is a repeat. `max_without_attachments` limits the body's octets
    beside the content of its attachments, where it isn't None. Refuses a body that isn't JSON in UTF-8 with
    objects of distinct member names (RFC 8259 section 4) as `invalid_json`, and any other fault as
    `validation_failed`. A byte order mark is passed over, as RFC 8259 section 8.1 allows.
    """
    faults = Faults()
    body = body.removeprefix(BOM_UTF8)
    if _has_too_many_values(body):
        faults.add("", FaultCode.TOO_MANY, f"the body has more than {MOST_VALUES} values")
        return faults.refusal()
    try:
        try:
            request = _DECODER.decode(body)
        except msgspec.ValidationError:
            request = mend(msgspec.json.decode(body), faults)
            faults = Faults(faults.found())
            duplicates = True
        else:
            duplicates = len(_PERHAPS_MEMBER.findall(body)) != member_count(request)
        if duplicates:
            _refuse_duplicates(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, _DuplicateMemberError) as error:
        return Refusal(RefusalCode.INVALID_JSON, _reason(error))
    if max_without_attachments is not None:
        octets = len(body) - sum(len(each.content) for each in request.attachments or ())
        if octets > max_without_attachments:
            detail = "the body is too large, its attachments aside"
            return Refusal(RefusalCode.MESSAGE_TOO_LARGE, detail, limit=max_without_attachments, actual=octets)
    repeatable = idempotency_key is not None and not request.dry_run
    made = check(request, faults, now=now, repeatable=repeatable, max_recipients=max_recipients)
    if made is None:
        return faults.refusal()
    draft, envelope = made
    content = compose(draft)
    return Submission(
        envelope=envelope,
        authors=(draft.author.address,),
        content=content,
        eight_bit=not content.isascii(),
        idempotency_key=idempotency_key,
        metadata=request.metadata or {},
        scheduled_at=seconds(request.scheduled_at),
        expires_at=seconds(request.expires_at),
        dry_run=request.dry_run,
    )


def _has_too_many_values(body: bytes) -> bool:
    # Nearly every body has fewer commas, those of its text included. A member has two strings and a comma at most.
    if body.count(b",") <= MOST_VALUES:
        return False
    return next(islice(_STRING_OR_COMMA.finditer(body), 3 * MOST_VALUES, None), None) is not None


def _refuse_duplicates(body: bytes) -> None:
    # A cheap count has raised the suspicion; only this look at the names themselves decides.
    json.loads(body, object_pairs_hook=_distinct, parse_int=str, parse_float=str)


def _distinct(members: list[tuple[str, Any]]) -> None:
    if len(dict(members)) != len(members):
        raise _DuplicateMemberError


def _reason(error: Exception) -> str:
    if isinstance(error, _DuplicateMemberError):
        return "the body has an object with two members of one name"
    if isinstance(error, UnicodeDecodeError):
        return "the body is not UTF-8"
    if isinstance(error, RecursionError):
        return "the body is nested too deeply"
    return f"the body is not JSON: {error}"

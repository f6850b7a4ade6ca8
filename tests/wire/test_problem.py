"""Refusals as the HTTPS door tells them."""

import json

import pytest

from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.wire.problem import problem, status_of

STATUS = {
    400: "invalid_json invalid_idempotency_key bad_request",
    403: "client_unknown client_disabled certificate_revoked door_not_allowed sender_not_allowed "
    "recipient_not_allowed",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "idempotency_in_progress not_cancelable",
    413: "message_too_large",
    415: "unsupported_media_type",
    422: "validation_failed idempotency_key_reused",
    429: "rate_limited quota_exceeded",
    431: "headers_too_large",
    503: "queue_full draining storage_unavailable",
    507: "disk_low",
}


def test_every_refusal_has_its_status():
    told = {code: status for status, codes in STATUS.items() for code in codes.split()}
    assert {code.value: status_of(code) for code in RefusalCode} == told


def test_a_problem_holds_all_a_client_needs():
    faults = (
        Fault("/to/1", FaultCode.NOT_IN_POLICY, "lee@x.kr is not allowed", "lee@x.kr"),
        Fault("/headers/X-한국~1 %", FaultCode.INVALID_HEADER, "no"),
        Fault("", FaultCode.WRONG_TYPE, "this must be an object"),
    )
    body = problem(Refusal(RefusalCode.SENDER_NOT_ALLOWED, "수신인이 허용되지 않음", faults), "r-1")
    assert json.loads(body) == {
        "type": "https://mailgate.example/problems/sender-not-allowed",
        "title": "Sender not allowed",
        "status": 403,
        "detail": "수신인이 허용되지 않음",
        "code": "sender_not_allowed",
        "request_id": "r-1",
        "retryable": False,
        "errors": [
            {"pointer": "#/to/1", "code": "not_in_policy", "detail": "lee@x.kr is not allowed"},
            {"pointer": "#/headers/X-%ED%95%9C%EA%B5%AD~1%20%25", "code": "invalid_header", "detail": "no"},
            {"pointer": "#", "code": "wrong_type", "detail": "this must be an object"},
        ],
    }


def test_a_size_is_told_with_its_limit():
    told = json.loads(problem(Refusal(RefusalCode.MESSAGE_TOO_LARGE, "too large", limit=10, actual=11), "r"))
    assert (told["limit"], told["actual"]) == (10, 11)
    assert "errors" not in told


@pytest.mark.parametrize("code", RefusalCode)
def test_what_may_pass_later_is_retryable(code):
    told = json.loads(problem(Refusal(code, "x"), "r"))
    later = {408, 429, 503, 507}
    assert told["retryable"] == (told["status"] in later or code is RefusalCode.IDEMPOTENCY_IN_PROGRESS)
    assert told["title"].lower().replace(" ", "_") == code.value

"""All that the HTTPS door reads and writes: requests decoded and checked, answers rendered."""

from mailgate.wire.json.answers import render_dry_run, render_receipt, render_record, render_whoami
from mailgate.wire.json.decode import decode_message
from mailgate.wire.request_headers import parse_idempotency_key, parse_prefer_wait
from mailgate.wire.rfc822 import decode_rfc822

__all__ = [
    "decode_message",
    "decode_rfc822",
    "parse_idempotency_key",
    "parse_prefer_wait",
    "render_dry_run",
    "render_receipt",
    "render_record",
    "render_whoami",
]

"""Header fields of a request that say how it is to be handled."""

import re

from mailgate.model.refusal import Refusal, RefusalCode

LONGEST_WAIT = 60.0
"""Seconds; a client that prefers to wait longer waits so long."""

MAX_IDEMPOTENCY_KEY = 255

_BARE = re.compile(r"[ !#-~]{1,255}")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\["\\])*)"')
_PREFERENCE = re.compile(r'\s*wait\s*=\s*(?:(\d+)|"(\d+)")\s*(?:;.*)?', re.IGNORECASE | re.DOTALL | re.ASCII)
_MANY_DIGITS = 9


def parse_idempotency_key(raw: str | None) -> str | Refusal | None:
    """
    Return the key of an Idempotency-Key field, bare or as a string of RFC 8941; None if there is no field.

    A key is 1 to 255 printable ASCII characters; quoted or not, it is the same key.
    """
    if raw is None:
        return None
    text = raw.strip(" \t")
    quoted = _QUOTED.fullmatch(text)
    key = re.sub(r"\\(.)", r"\1", quoted[1]) if quoted else text
    if (quoted or _BARE.fullmatch(key)) and 1 <= len(key) <= MAX_IDEMPOTENCY_KEY:
        return key
    return Refusal(
        RefusalCode.INVALID_IDEMPOTENCY_KEY,
        f"an idempotency key is 1 to {MAX_IDEMPOTENCY_KEY} printable ASCII characters, bare or in double quotes",
    )


def parse_prefer_wait(value: str | None) -> float | None:
    """
    Return how many seconds a Prefer field (RFC 7240) asks to wait, at most 60; None if it doesn't ask.

    The first ``wait`` counts; one that is no number of seconds is no preference.
    """
    for preference in (value or "").split(","):
        if preference.partition("=")[0].strip().lower() == "wait":
            wanted = _PREFERENCE.fullmatch(preference)
            return min(float((wanted[1] or wanted[2])[:_MANY_DIGITS]), LONGEST_WAIT) if wanted else None
    return None

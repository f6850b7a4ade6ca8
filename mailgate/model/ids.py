"""Identifiers of messages: UUID version 7 (RFC 9562 section 5.7), so that an index grows at its end."""

import os
import re
from uuid import UUID

_FORM = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")


def new_id(now: float) -> str:
    """Return a fresh identifier for the moment `now`, in seconds since the epoch."""
    milliseconds = int(now * 1000) & (1 << 48) - 1
    random = int.from_bytes(os.urandom(10))
    value = milliseconds << 80 | 7 << 76 | (random >> 68 & 0xFFF) << 64 | 2 << 62 | random & (1 << 62) - 1
    return str(UUID(int=value))


def is_id(text: str) -> bool:
    """Tell whether `text` has the form of an identifier that this gateway gives."""
    return _FORM.fullmatch(text) is not None

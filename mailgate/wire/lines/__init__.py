"""The line protocol without I/O: what a device writes, turned into submissions, and what it is answered."""

from mailgate.wire.lines.message import LineLimits, LineMessage
from mailgate.wire.lines.replies import Reply, greeting, refused
from mailgate.wire.lines.session import Answer, Check, Event, LineSession, Send, Stat
from mailgate.wire.lines.store import Store, StoreError

__all__ = [
    "Answer",
    "Check",
    "Event",
    "LineLimits",
    "LineMessage",
    "LineSession",
    "Reply",
    "Send",
    "Stat",
    "Store",
    "StoreError",
    "greeting",
    "refused",
]

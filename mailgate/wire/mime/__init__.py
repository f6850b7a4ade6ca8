"""Internet messages: composed, stamped with the gateway's trace, read back as header fields, reported on."""

from mailgate.wire.mime.compose import Attachment, Draft, compose
from mailgate.wire.mime.fields import header_fields
from mailgate.wire.mime.report import Undelivered, compose_report
from mailgate.wire.mime.status import UndeliveredRecipient
from mailgate.wire.mime.trace import Trace, stamp

__all__ = [
    "Attachment",
    "Draft",
    "Trace",
    "Undelivered",
    "UndeliveredRecipient",
    "compose",
    "compose_report",
    "header_fields",
    "stamp",
]

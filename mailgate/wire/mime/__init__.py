"""Internet messages: composed from parts, stamped with the gateway's trace, read back as header fields."""

from mailgate.wire.mime.compose import Attachment, Draft, compose
from mailgate.wire.mime.fields import header_fields
from mailgate.wire.mime.trace import Trace, stamp

__all__ = ["Attachment", "Draft", "Trace", "compose", "header_fields", "stamp"]

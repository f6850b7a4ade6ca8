"""Transparency of the message content (RFC 5321 section 4.5.2)."""


def stuff(content: bytes) -> bytes:
    r"""
    Return the octets that carry `content` after DATA, the ending ``.\r\n`` included.

    `content` is a whole message in canonical form (`mailgate.model.submission.check_content`): every line
    ends with CRLF and no CR or LF stands elsewhere. It is never a part of one: a dot can only be judged by
    the octets before it, and a message that is stuffed in parts lets one through at each border.
    """
    stuffed = content.replace(b"\n.", b"\n..")
    if content.startswith(b"."):
        stuffed = b"." + stuffed
    # Of a damaged queue's text the end may be missing: the server would wait for it for ever.
    end = b".\r\n" if not content or content.endswith(b"\r\n") else b"\r\n.\r\n"
    return stuffed + end

"""Check the attachments of a request."""

from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from mailgate.model.refusal import FaultCode
from mailgate.wire.faults import Faults
from mailgate.wire.files import check_content_id, check_content_type, check_filename
from mailgate.wire.json.schema import AttachmentObject
from mailgate.wire.mime.bodies import base64_lines
from mailgate.wire.mime.compose import OCTET_STREAM, Attachment

MAX_ATTACHMENTS = 100

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"


def check_attachments(objects: Sequence[AttachmentObject], faults: Faults) -> list[Attachment]:
    """Return the attachments, without those that a fault was noted for."""
    if len(objects) > MAX_ATTACHMENTS:
        detail = f"a message has at most {MAX_ATTACHMENTS} attachments"
        faults.add("/attachments", FaultCode.TOO_MANY, detail)
        return []
    made = [_check_attachment(each, f"/attachments/{at}", faults) for at, each in enumerate(objects)]
    return [each for each in made if each is not None]


def canonical_base64(text: str) -> bytes | None:
    """
    Return base64 (RFC 4648 section 4) without the line ends it may have; None for what is not base64.

    Bits that stand for nothing come back as zeros, so that equal files are equal.
    """
    if not text.isascii():
        return None
    encoded = text.encode()
    rest = encoded.translate(None, _ALPHABET)
    if rest.strip(b"="):
        encoded = encoded.translate(None, b"\r\n")
        rest = encoded.translate(None, _ALPHABET)
    if len(encoded) % 4 or rest not in {b"", b"=", b"=="} or not encoded.endswith(rest):
        return None
    if rest:
        encoded = encoded[:-4] + b2a_base64(a2b_base64(encoded[-4:]), newline=False)
    return encoded


def _check_attachment(given: AttachmentObject, pointer: str, faults: Faults) -> Attachment | None:
    content = canonical_base64(given.content)
    if content is None:
        detail = "the content is not base64 (RFC 4648 section 4)"
        faults.add(f"{pointer}/content", FaultCode.INVALID_BASE64, detail)
    check_filename(given.filename, f"{pointer}/filename", faults)
    if given.content_type is not None:
        check_content_type(given.content_type, f"{pointer}/content_type", faults)
    content_id = None if given.content_id is None else given.content_id.removeprefix("<").removesuffix(">")
    if content_id is not None:
        check_content_id(content_id, f"{pointer}/content_id", faults)
    if content is None:
        return None
    disposition = given.disposition or ("attachment" if content_id is None else "inline")
    return Attachment(
        filename=given.filename,
        content=base64_lines(content),
        content_type=given.content_type or OCTET_STREAM,
        content_id=content_id,
        inline=disposition == "inline",
    )

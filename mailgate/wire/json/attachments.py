"""Check the attachments of a request."""

import re
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence

from mailgate.model.refusal import FaultCode
from mailgate.wire.faults import Faults
from mailgate.wire.json.schema import AttachmentObject
from mailgate.wire.mime.compose import OCTET_STREAM, Attachment

MAX_ATTACHMENTS = 100
MAX_FILENAME_OCTETS = 255
MAX_CONTENT_TYPE = 200
MAX_CONTENT_ID = 200

_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_ATOM = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"
_CONTENT_TYPE = re.compile(rf'{_ATOM}/{_ATOM}(?:; *{_ATOM}=(?:{_ATOM}|"[ !#-\[\]-~]*"))*')
_CONTENT_ID = re.compile(r"[!-;=?-~]+")


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
    _check_filename(given.filename, f"{pointer}/filename", faults)
    if given.content_type is not None:
        _check_content_type(given.content_type, f"{pointer}/content_type", faults)
    content_id = None if given.content_id is None else given.content_id.removeprefix("<").removesuffix(">")
    if content_id is not None:
        _check_content_id(content_id, f"{pointer}/content_id", faults)
    if content is None:
        return None
    disposition = given.disposition or ("attachment" if content_id is None else "inline")
    return Attachment(
        filename=given.filename,
        content=content,
        content_type=given.content_type or OCTET_STREAM,
        content_id=content_id,
        inline=disposition == "inline",
    )


def _check_filename(filename: str, pointer: str, faults: Faults) -> None:
    if not filename:
        faults.add(pointer, FaultCode.REQUIRED, "an attachment has a file name")
    elif len(filename.encode()) > MAX_FILENAME_OCTETS:
        detail = f"a file name has at most {MAX_FILENAME_OCTETS} octets of UTF-8"
        faults.add(pointer, FaultCode.TOO_LONG, detail)
    else:
        faults.control(filename, pointer, "a file name")


def _check_content_type(content_type: str, pointer: str, faults: Faults) -> None:
    if len(content_type) > MAX_CONTENT_TYPE:
        detail = f"a content type has at most {MAX_CONTENT_TYPE} characters"
        faults.add(pointer, FaultCode.TOO_LONG, detail)
    elif faults.control(content_type, pointer, "a content type"):
        return
    elif not _CONTENT_TYPE.fullmatch(content_type):
        detail = "a content type has the form type/subtype, with parameters as ; name=value"
        faults.add(pointer, FaultCode.INVALID_HEADER, detail)
    elif content_type.lower().startswith("multipart/"):
        faults.add(pointer, FaultCode.INVALID_HEADER, "an attachment is one file, not a multipart")


def _check_content_id(content_id: str, pointer: str, faults: Faults) -> None:
    if len(content_id) > MAX_CONTENT_ID:
        detail = f"a content id has at most {MAX_CONTENT_ID} characters"
        faults.add(pointer, FaultCode.TOO_LONG, detail)
    elif faults.control(content_id, pointer, "a content id"):
        return
    elif not _CONTENT_ID.fullmatch(content_id):
        detail = "a content id is printable ASCII without spaces or angle brackets"
        faults.add(pointer, FaultCode.INVALID_HEADER, detail)

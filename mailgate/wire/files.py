"""What holds for the files that go with a message, whichever syntax they came in."""

import re

from mailgate.model.refusal import FaultCode
from mailgate.wire.faults import Faults

MAX_FILENAME_OCTETS = 255
MAX_CONTENT_TYPE = 200
MAX_CONTENT_ID = 200

_ATOM = r"[A-Za-z0-9!#$%&'*+.^_`{|}~-]+"
_CONTENT_TYPE = re.compile(rf'{_ATOM}/{_ATOM}(?:; *{_ATOM}=(?:{_ATOM}|"[ !#-\[\]-~]*"))*')
_CONTENT_ID = re.compile(r"[!-;=?-~]+")


def check_filename(filename: str, pointer: str, faults: Faults) -> None:
    """Note why the text is no file name."""
    if not filename:
        faults.add(pointer, FaultCode.REQUIRED, "an attachment has a file name")
    elif len(filename.encode()) > MAX_FILENAME_OCTETS:
        detail = f"a file name has at most {MAX_FILENAME_OCTETS} octets of UTF-8"
        faults.add(pointer, FaultCode.TOO_LONG, detail)
    else:
        faults.control(filename, pointer, "a file name")


def check_content_type(content_type: str, pointer: str, faults: Faults) -> None:
    """Note why the text is no content type (RFC 2045 section 5.1) of a file."""
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


def check_content_id(content_id: str, pointer: str, faults: Faults) -> None:
    """Note why the text, without angle brackets, is no Content-ID (RFC 2045 section 7)."""
    if len(content_id) > MAX_CONTENT_ID:
        detail = f"a content id has at most {MAX_CONTENT_ID} characters"
        faults.add(pointer, FaultCode.TOO_LONG, detail)
    elif faults.control(content_id, pointer, "a content id"):
        return
    elif not _CONTENT_ID.fullmatch(content_id):
        detail = "a content id is printable ASCII without spaces or angle brackets"
        faults.add(pointer, FaultCode.INVALID_HEADER, detail)

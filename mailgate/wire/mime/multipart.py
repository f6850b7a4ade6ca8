"""Parts put together to one (RFC 2046 section 5.1)."""

from collections.abc import Sequence
from hashlib import blake2b

from mailgate.wire.mime.bodies import Part


class Boundaries:
    """
    Boundaries (RFC 2046 section 5.1.1) that no part holds.

    All hold ``=_``, which neither base64 nor quoted-printable can, and a digest of the unencoded parts, which
    nobody can write into what it is the digest of.
    """

    def __init__(self, texts: Sequence[Part]) -> None:
        digest = blake2b(digest_size=16)
        for part in texts:
            if part.literal:
                for octets in part.body:
                    digest.update(octets)
        self._stem = f"=_{digest.hexdigest()}"
        self._used = 0

    def multipart(self, kind: str, parts: Sequence[Part]) -> Part:
        """Return the parts as one multipart of a kind."""
        self._used += 1
        boundary = f"{self._stem}.{self._used}"
        subtype, semicolon, rest = kind.partition(";")
        body: list[bytes] = []
        for part in parts:
            body.append(f"--{boundary}\r\n{part.fields}\r\n".encode())
            body.extend(part.body)
            body.append(b"\r\n")
        body.append(f"--{boundary}--\r\n".encode())
        fields = f'Content-Type: multipart/{subtype};\r\n boundary="{boundary}"{semicolon}{rest}\r\n'
        return Part(fields, tuple(body))

"""The large parts of a message as they come in: texts, files, and a message that comes as a whole."""

from codecs import getincrementaldecoder
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mailgate.wire.lines.store import Store
from mailgate.wire.mime.bodies import Base64Lines, base64_length
from mailgate.wire.mime.compose import Attachment

_Decoder = getincrementaldecoder("utf-8")


class UnfitOctetsError(Exception):
    """Octets that the part can't hold; the text is a sentence."""


class TextPart:
    """A text in UTF-8, looked at while it comes: a NUL, or what isn't UTF-8, raises UnfitOctetsError."""

    __slots__ = ("_decoder", "_store", "_verb")

    def __init__(self, verb: str, store: Store) -> None:
        self._verb = verb
        self._store = store
        self._decoder = _Decoder()

    def add(self, octets: bytes) -> None:
        """Append octets. Raises UnfitOctetsError, StoreError."""
        if b"\0" in octets:
            raise UnfitOctetsError("mail can't carry a NUL")
        try:
            self._decoder.decode(octets)
        except UnicodeDecodeError:
            raise UnfitOctetsError(f"{self._verb} is not UTF-8") from None
        self._store.append(octets)

    def size_with(self, octets: int) -> int:
        """Return how large the part is with so many more octets, as it will be sent at least."""
        return self._store.size + octets

    def read(self) -> str:
        """Return the text. Raises UnfitOctetsError where it ends within a character, StoreError."""
        try:
            return self._store.read().decode()
        except UnicodeDecodeError:
            raise UnfitOctetsError(f"{self._verb} ends within a UTF-8 character") from None


class WholePart:
    """A message that comes as one, in JSON or as RFC 5322 has it."""

    __slots__ = ("_store",)

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, octets: bytes) -> None:
        """Append octets. Raises StoreError."""
        self._store.append(octets)

    def size_with(self, octets: int) -> int:
        """Return how large the part is with so many more octets."""
        return self._store.size + octets

    def read(self) -> bytes:
        """Return the octets. Raises StoreError."""
        return self._store.read()


@dataclass(slots=True)
class FilePart:
    """
    One file, encoded while it comes.

    Attributes:
        attachment: all of it but its content.
        start, end: where its base64 lies in the store of all files; `end` is set when it is complete.
        octets: how many came.

    """

    attachment: Attachment
    store: Store
    encoder: Base64Lines
    start: int
    end: int = 0
    octets: int = 0

    def add(self, octets: bytes) -> None:
        """Append octets. Raises StoreError."""
        self.octets += len(octets)
        self.store.append(self.encoder.encode(octets))

    def size_with(self, octets: int) -> int:
        """Return how large the part is, in base64, with so many more octets."""
        return base64_length(self.octets + octets)

    def finish(self) -> None:
        """Write what the encoder still holds. Raises StoreError."""
        self.store.append(self.encoder.finish())
        self.end = self.store.size


class Files:
    """The files of a message, one behind the other in one store: only the last one grows."""

    __slots__ = ("_files", "_store")

    def __init__(self, store: Store) -> None:
        self._store = store
        self._files: list[FilePart] = []

    def __len__(self) -> int:
        return len(self._files)

    @property
    def size(self) -> int:
        """Octets of all files in base64."""
        return sum(file.size_with(0) for file in self._files)

    def begin(self, attachment: Attachment) -> FilePart:
        """Return a new file, behind the one before. Raises StoreError."""
        self._finish()
        file = FilePart(attachment, self._store, Base64Lines(), self._store.size)
        self._files.append(file)
        return file

    def attachments(self) -> Iterator[Attachment]:
        """Yield the files as they go into the message, read one at a time. Raises StoreError."""
        self._finish()
        for file in self._files:
            yield replace(file.attachment, content=self._store.read(file.start, file.end))

    def _finish(self) -> None:
        if self._files:
            self._files[-1].finish()

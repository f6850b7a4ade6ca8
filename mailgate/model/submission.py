"""A message that is fit to be queued: whoever holds a Submission holds a valid one."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from mailgate.model.address import Address

MAX_LINE_OCTETS = 998
"""RFC 5322 section 2.1.1, without the CRLF."""


class UnfitContentError(ValueError):
    """Octets that can't travel as one message over SMTP; its text is a sentence for the client."""


@dataclass(frozen=True, slots=True)
class Recipient:
    """An envelope recipient and the place in the request that named it (a JSON pointer)."""

    address: Address
    source: str


@dataclass(frozen=True, slots=True)
class Envelope:
    """The SMTP envelope (RFC 5321 section 2.3.1): return path and recipients, each recipient once."""

    sender: Address
    recipients: tuple[Recipient, ...]
    sender_source: str = "/from"

    def __post_init__(self) -> None:
        if not self.recipients:
            raise ValueError("an envelope has at least one recipient")
        if len({recipient.address for recipient in self.recipients}) != len(self.recipients):
            raise ValueError("an envelope names each recipient once")

    @property
    def needs_smtputf8(self) -> bool:
        """Whether an address of the envelope can only travel with SMTPUTF8 (RFC 6531)."""
        return self.sender.needs_smtputf8 or any(r.address.needs_smtputf8 for r in self.recipients)


@dataclass(frozen=True, slots=True)
class Parties:
    """
    Whom a message is from and whom it is for: what a client's rules are held against.

    Attributes:
        senders: the header's authors and the envelope's sender, each once, with the place in the request (a JSON
            pointer) that named it.
        recipients: the envelope's recipients.

    """

    senders: tuple[tuple[str, Address], ...]
    recipients: tuple[Recipient, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """
    What is known of a message that is still being written.

    Attributes:
        parties: whom it is from and for, as far as it says.
        size: octets that it has at least.
        idempotency_key, scheduled_at, expires_at: as a submission has them.

    """

    parties: Parties
    size: int
    idempotency_key: str | None = None
    scheduled_at: float | None = None
    expires_at: float | None = None


def has_long_line(content: bytes) -> bool:
    """Tell whether a line of canonical octets is over 998 octets long without its CRLF."""
    start, end = 0, len(content)
    # Looks back from where the longest line would end: a search per kilobyte instead of one per octet.
    while end - start > MAX_LINE_OCTETS:
        feed = content.rfind(b"\n", start, start + MAX_LINE_OCTETS + 2)
        if feed < 0:
            return True
        start = feed + 1
    return False


def check_content(content: bytes) -> None:
    """
    Raise UnfitContentError unless the octets are one header and body in canonical form.

    Canonical form: every CR is followed by LF and every LF preceded by CR, the last line is ended, no NUL,
    no line over 998 octets (RFC 5321 sections 2.3.8 and 4.5.3.1.6, RFC 5322 section 2.1.1). Smuggling of a
    second message needs one of these.
    """
    ends = content.count(b"\r\n")
    if content.count(b"\r") != ends or content.count(b"\n") != ends:
        raise UnfitContentError("a line ends with a bare CR or a bare LF")
    if not content.endswith(b"\r\n"):
        raise UnfitContentError("the last line has no end")
    if b"\0" in content:
        raise UnfitContentError("the message holds a NUL")
    if has_long_line(content):
        raise UnfitContentError(f"a line is longer than {MAX_LINE_OCTETS} octets")


@dataclass(frozen=True, slots=True, kw_only=True)
class Submission:
    """
    One message as a client handed it over, checked and composed.

    Attributes:
        envelope: return path and recipients.
        authors: the addresses of the header From; policy binds them like the envelope's sender.
        author_source: the JSON pointer of the header From.
        content: header and body in canonical form, without what the gateway stamps on top (Received, and
            Date and Message-ID unless the mail brought its own).
        message_id: the mail's own Message-ID with its angle brackets; None if the gateway gives one.
        has_date: whether the mail brought its own Date.
        eight_bit: whether the content has octets above 127.
        idempotency_key: the client's key, or None.
        metadata: the client's own labels.
        scheduled_at, expires_at: seconds since the epoch, or None.
        dry_run: decide and answer, but queue nothing.

    Raises UnfitContentError where the content is not canonical.

    """

    envelope: Envelope
    authors: tuple[Address, ...]
    content: bytes
    author_source: str = "/from"
    message_id: str | None = None
    has_date: bool = False
    eight_bit: bool = False
    idempotency_key: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    scheduled_at: float | None = None
    expires_at: float | None = None
    dry_run: bool = False

    def __post_init__(self) -> None:
        if not self.authors:
            raise ValueError("a message has an author")
        check_content(self.content)

    @property
    def parties(self) -> Parties:
        """Whom the message is from and for."""
        authors = [(self.author_source, author) for author in self.authors]
        envelope = self.envelope
        senders = dict.fromkeys([*authors, (envelope.sender_source, envelope.sender)])
        return Parties(tuple(senders), envelope.recipients)

    @property
    def needs_smtputf8(self) -> bool:
        """Whether the envelope or the header holds octets above 127, which takes SMTPUTF8 (RFC 6531, RFC 6532)."""
        if self.envelope.needs_smtputf8:
            return True
        return self.eight_bit and not self.content.partition(b"\r\n\r\n")[0].isascii()

    @property
    def fingerprint(self) -> str:
        """
        The SHA-256 of all that the client decided, in hex: equal for a repeat through any door.

        The idempotency key itself is not part of it.
        """
        digest = sha256()
        parts = [
            str(self.envelope.sender),
            *(str(recipient.address) for recipient in self.envelope.recipients),
            repr(sorted(self.metadata.items())),
            repr((self.scheduled_at, self.expires_at)),
        ]
        for part in parts:
            octets = part.encode()
            digest.update(b"%d:" % len(octets))
            digest.update(octets)
        digest.update(self.content)
        return digest.hexdigest()

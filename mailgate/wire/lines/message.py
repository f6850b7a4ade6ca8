"""One message of a line session, from MAIL to SEND: judged as it comes, and doomed by its first fault."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from mailgate.model.refusal import Refusal
from mailgate.model.submission import Envelope, Outline, Submission
from mailgate.wire.faults import Faults
from mailgate.wire.json.decode import decode_message
from mailgate.wire.lines.fields import Fields
from mailgate.wire.lines.parts import FilePart, Files, TextPart, UnfitOctetsError, WholePart
from mailgate.wire.lines.replies import Reply, bad_argument, bad_content, bad_request, refused, too_large
from mailgate.wire.lines.store import Store, StoreError
from mailgate.wire.mime.compose import Draft, compose
from mailgate.wire.rfc822 import decode_rfc822

MAX_PARTS = 20
MAX_JSON = 256 * 1024
"""Octets of a message in JSON, without the content of its attachments."""

FIELDS = frozenset({"FROM", "TO", "CC", "BCC", "REPLY", "SUBJ", "HDR", "AT", "META", "DRYRUN"})
TEXTS = frozenset({"TEXT", "HTML"})
FILES = frozenset({"FILE", "EMBED"})
WHOLES = frozenset({"JSON", "RAW"})
PARTS = TEXTS | FILES | WHOLES | {"MORE"}
"""What may be longer than a field, and is not kept in memory."""

_FIELD_WEIGHT = 4
"""A field is kept as it came, as its value and in the header."""

_CHECKED_BEFORE = bad_request(503, "5.5.1", "a message in JSON is checked once; SEND tells the rest")

_ONCE = frozenset({"FROM", "SUBJ", "AT"}) | WHOLES
_BESIDE_RAW = frozenset({"FROM", "TO"})


@dataclass(frozen=True, slots=True)
class LineLimits:
    """
    What one client's message may have.

    Attributes:
        size: octets of the composed message.
        body: octets of a message in JSON.
        recipients: envelope recipients.

    """

    size: int
    body: int
    recipients: int


Part = TextPart | FilePart | WholePart


class LineMessage:
    """
    A message that is being written.

    Attributes:
        key: its idempotency key; empty where it has none.
        doom: what SEND will be answered, whatever else comes; None while all is well.

    """

    def __init__(self, key: str, limits: LineLimits, new_store: Callable[[], Store]) -> None:
        self.key = key
        self.doom: Reply | None = None
        self._limits = limits
        self._new_store = new_store
        self._stores: list[Store] = []
        self._seen: set[str] = set()
        self._fields = Fields(limits.recipients)
        self._texts: dict[str, TextPart] = {}
        self._files: Files | None = None
        self._whole: WholePart | None = None
        self._last: Part | None = None
        self._judged: tuple[int, Reply | Outline] | None = None

    @property
    def size(self) -> int:
        """Octets that the composed message has at least, as far as it has come."""
        whole = 0 if self._whole is None else self._whole.size_with(0)
        return whole + sum(text.size_with(0) for text in self._texts.values()) + self._size_of_files

    @property
    def weight(self) -> int:
        """Octets that it takes in memory once it is composed, more or less."""
        return self.size + _FIELD_WEIGHT * self._fields.octets

    def doom_with(self, reply: Reply) -> None:
        """Remember a fault, if it is the first, and let go of what has come."""
        if self.doom is None:
            self.doom = reply
            self.close()

    def take(self, verb: str, value: bytes) -> None:
        """Take a field, or a line of a text."""
        if self.doom is not None or not self._in_order(verb):
            return
        if verb in TEXTS:
            self._append(self._text(verb), value + b"\n")
        elif verb in PARTS:
            self.doom_with(bad_argument(f"{verb} needs a count of octets, like {verb}#1024"))
        else:
            self._take_field(verb, value)

    def begin(self, verb: str, count: int, argument: bytes) -> None:
        """Begin a part of so many octets, or go on with the last one."""
        if self.doom is not None or not self._in_order(verb):
            return
        part = self._part(verb, argument)
        if part is not None and self._fits(part, count):
            self._last = part

    def add(self, octets: bytes) -> None:
        """Take octets of the part that was begun last."""
        if self.doom is None and self._last is not None:
            self._append(self._last, octets)

    def verdict(self, now: float) -> Reply | Outline:
        """
        Return what dooms the message so far, or what is known of it.

        A message in JSON is looked into once, since that takes time, and not again after more has come. What
        stands in a RAW one is judged when it is sent.
        """
        doom = self.tell_doom()
        if doom is not None:
            return doom
        if "JSON" not in self._seen:
            fields = self._fields
            return Outline(fields.parties(), self.size, self.key or None, fields.scheduled_at)
        if self._judged is None:
            made = self.compose(now)
            if isinstance(made, Reply) and made.temporary:
                return made
            if isinstance(made, Reply):
                self._judged = self.size, replace(made, reason="")
                return made
            self._judged = self.size, _outline(made)
        size, verdict = self._judged
        return verdict if size == self.size else _CHECKED_BEFORE

    def tell_doom(self) -> Reply | None:
        """Return what dooms the message, with its reason the first time only: the journal hears of it once."""
        doom = self.doom
        if doom is not None:
            self.doom = replace(doom, reason="")
        return doom

    def compose(self, now: float) -> Submission | Reply:
        """Return the submission, or why it is none. Its octets are in memory from now on."""
        try:
            made = self._compose(now)
        except StoreError as error:
            made = error.refusal
        except UnfitOctetsError as error:
            return bad_content(str(error))
        return refused(made) if isinstance(made, Refusal) else made

    def close(self) -> None:
        """Forget the octets of all parts."""
        self._last = None
        stores, self._stores = self._stores, []
        for store in stores:
            store.close()

    @property
    def _size_of_files(self) -> int:
        return 0 if self._files is None else self._files.size

    def _in_order(self, verb: str) -> bool:
        """Tell whether a verb may come now, and doom the message if not."""
        seen = self._seen
        if verb in _ONCE and verb in seen:
            self.doom_with(bad_request(503, "5.5.1", f"a message has one {verb}"))
        elif verb == "MORE" and self._last is None:
            self.doom_with(bad_request(503, "5.5.1", "MORE goes on with a part, and there is none"))
        elif "JSON" in seen | {verb} and (seen | {verb}) - {"JSON", "MORE"}:
            self.doom_with(bad_request(503, "5.5.1", "no other field goes with JSON"))
        elif "RAW" in seen | {verb} and (seen | {verb}) - _BESIDE_RAW - {"RAW", "MORE"}:
            self.doom_with(bad_request(503, "5.5.1", "only FROM and TO go with RAW"))
        seen.add(verb)
        return self.doom is None

    def _take_field(self, verb: str, value: bytes) -> None:
        try:
            text = value.decode()
        except UnicodeDecodeError:
            self.doom_with(bad_content(f"{verb} is not UTF-8"))
            return
        fault = self._fields.take(verb, text)
        if fault is not None:
            self.doom_with(fault)

    def _part(self, verb: str, argument: bytes) -> Part | None:
        """Return the part that a verb begins or goes on with; None once the message is doomed."""
        if verb in FILES:
            return self._file(verb, argument)
        if argument:
            self.doom_with(bad_argument(f"{verb} takes an argument or a count, not both"))
            return None
        if verb == "MORE":
            return self._last
        if verb in TEXTS:
            return self._text(verb)
        self._whole = WholePart(self._store())
        return self._whole

    def _file(self, verb: str, argument: bytes) -> FilePart | None:
        if self._files is None:
            self._files = Files(self._store())
        if len(self._files) == MAX_PARTS:
            self.doom_with(too_large(MAX_PARTS + 1, MAX_PARTS, "parts"))
            return None
        attachment = self._fields.attachment(verb, argument)
        if isinstance(attachment, Reply):
            self.doom_with(attachment)
            return None
        try:
            return self._files.begin(attachment)
        except StoreError as error:
            self.doom_with(refused(error.refusal))
            return None

    def _text(self, verb: str) -> TextPart:
        if verb not in self._texts:
            self._texts[verb] = TextPart(verb, self._store())
        return self._texts[verb]

    def _store(self) -> Store:
        self._stores.append(self._new_store())
        return self._stores[-1]

    def _fits(self, part: Part, octets: int) -> bool:
        """Tell whether so many more octets may come, and doom the message if not."""
        limit = self._limits.body if "JSON" in self._seen else self._limits.size
        size = self.size - part.size_with(0) + part.size_with(octets)
        if size > limit:
            self.doom_with(too_large(size, limit))
        return self.doom is None

    def _append(self, part: Part, octets: bytes) -> None:
        if not self._fits(part, len(octets)):
            return
        self._last = part
        try:
            part.add(octets)
        except UnfitOctetsError as error:
            self.doom_with(bad_content(str(error)))
        except StoreError as error:
            self.doom_with(refused(error.refusal))

    def _compose(self, now: float) -> Submission | Refusal:
        key = self.key or None
        if self._whole is None:
            return self._compose_draft(key)
        octets = self._whole.read()
        if "JSON" in self._seen:
            return decode_message(
                octets,
                idempotency_key=key,
                now=now,
                max_recipients=self._limits.recipients,
                max_without_attachments=MAX_JSON,
            )
        fields = self._fields
        faults = Faults()
        author = fields.author_of_all(faults)
        if author is None or faults:
            return faults.refusal()
        return decode_rfc822(
            octets,
            mail_from=[str(author.address)],
            rcpt_to=[str(mailbox.address) for mailbox in fields.recipients["TO"]],
            idempotency_key=key,
            max_recipients=self._limits.recipients,
        )

    def _compose_draft(self, key: str | None) -> Submission | Refusal:
        fields = self._fields
        faults = Faults()
        author = fields.author_of_all(faults)
        if author is None or faults:
            return faults.refusal()
        text, html = self._texts.get("TEXT"), self._texts.get("HTML")
        content = compose(
            Draft(
                author=author,
                to=fields.recipients["TO"],
                cc=fields.recipients["CC"],
                reply_to=fields.reply_to,
                subject=fields.subject,
                headers=fields.headers,
                text=None if text is None else text.read(),
                html=None if html is None else html.read(),
                attachments=[] if self._files is None else list(self._files.attachments()),
            )
        )
        return Submission(
            envelope=Envelope(author.address, fields.parties().recipients),
            authors=(author.address,),
            content=content,
            eight_bit=not content.isascii(),
            idempotency_key=key,
            metadata=fields.metadata,
            scheduled_at=fields.scheduled_at,
            dry_run=fields.dry_run,
        )


def _outline(made: Submission) -> Outline:
    key, size = made.idempotency_key, len(made.content)
    return Outline(made.parties, size, key, made.scheduled_at, made.expires_at)

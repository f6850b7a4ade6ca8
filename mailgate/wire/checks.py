"""What holds for the parts of a message, whichever syntax they came in."""

from collections.abc import Iterable, Mapping

from mailgate.model.address import Address, Mailbox
from mailgate.model.refusal import FaultCode
from mailgate.model.submission import Recipient
from mailgate.wire.address import MAX_TEXT, parse_address, parse_mailbox, parse_name
from mailgate.wire.faults import Faults, escape_pointer

MAX_SUBJECT = 2000
MAX_LABELS = 50
MAX_LABEL_NAME = 64
MAX_LABEL_VALUE = 1024


def check_mailbox(text: str, pointer: str, faults: Faults) -> Mailbox | None:
    """Return the mailbox that the text writes, or None once its fault is noted."""
    if _control(text, pointer, "an address", faults):
        return None
    try:
        return parse_mailbox(text)
    except ValueError as error:
        faults.add(pointer, FaultCode.INVALID_ADDRESS, str(error))
        return None


def check_address(text: str, pointer: str, faults: Faults) -> Address | None:
    """Return the address, without a name, that the text writes, or None once its fault is noted."""
    if _control(text, pointer, "an address", faults):
        return None
    try:
        return parse_address(text)
    except ValueError as error:
        faults.add(pointer, FaultCode.INVALID_ADDRESS, str(error))
        return None


def check_recipients(named: Iterable[tuple[str, str]], faults: Faults) -> tuple[Recipient, ...]:
    """Return the recipients that the texts write, each with its place, without those a fault is noted for."""
    addresses = [(place, check_address(text, place, faults)) for place, text in named]
    return each_once((place, address) for place, address in addresses if address is not None)


def check_name(text: str, pointer: str, faults: Faults) -> str | None:
    """Return a mailbox's name, or None once its fault is noted."""
    if _control(text, pointer, "a name", faults):
        return None
    try:
        return parse_name(text)
    except ValueError as error:
        faults.add(pointer, FaultCode.TOO_LONG, str(error))
        return None


def each_once(named: Iterable[tuple[str, Address]]) -> tuple[Recipient, ...]:
    """Return the recipients in order, each address once and at the place that named it first."""
    first: dict[Address, str] = {}
    for place, address in named:
        first.setdefault(address, place)
    return tuple(Recipient(address, place) for address, place in first.items())


def too_many_recipients(most: int, pointer: str, faults: Faults) -> None:
    """Note that there are more recipients than a message may have."""
    faults.add(pointer, FaultCode.TOO_MANY, f"a message has at most {most} recipients")


def too_many_addresses(most: int, pointer: str, faults: Faults) -> None:
    """Note that a field that names no recipients has more addresses than it may."""
    faults.add(pointer, FaultCode.TOO_MANY, f"a field has at most {most} addresses")


def check_subject(subject: str, faults: Faults) -> None:
    """Note why a header can't hold the subject."""
    if len(subject) > MAX_SUBJECT:
        faults.add("/subject", FaultCode.TOO_LONG, f"the subject has at most {MAX_SUBJECT} characters")
    else:
        faults.control(subject, "/subject", "the subject")


def check_labels(metadata: Mapping[str, str], faults: Faults) -> None:
    """Note what is wrong with a client's own labels."""
    if len(metadata) > MAX_LABELS:
        faults.add("/metadata", FaultCode.TOO_MANY, f"a message has at most {MAX_LABELS} labels")
        return
    for name, value in metadata.items():
        pointer = f"/metadata/{escape_pointer(name)}"
        if len(name) > MAX_LABEL_NAME:
            faults.add(pointer, FaultCode.TOO_LONG, f"a label's name has at most {MAX_LABEL_NAME} characters")
        elif len(value) > MAX_LABEL_VALUE:
            faults.add(pointer, FaultCode.TOO_LONG, f"a label has at most {MAX_LABEL_VALUE} characters")
        elif not name:
            faults.add(pointer, FaultCode.REQUIRED, "a label has a name")
        else:
            faults.control(name + value, pointer, "a label")


def check_times(scheduled_at: float | None, expires_at: float | None, now: float, faults: Faults) -> None:
    """Note which of a message's times (seconds since the epoch) is not to come, or not after the other."""
    start = now
    if scheduled_at is not None:
        start = max(now, scheduled_at)
        if scheduled_at < now:
            faults.add("/scheduled_at", FaultCode.IN_THE_PAST, "this time has passed")
    if expires_at is not None and expires_at <= start:
        detail = "this time has passed" if start == now else "this is not after scheduled_at"
        faults.add("/expires_at", FaultCode.IN_THE_PAST, detail)


def _control(text: str, pointer: str, what: str, faults: Faults) -> bool:
    # What is too long is refused for that, and is not worth the time of a closer look.
    return len(text) <= MAX_TEXT and faults.control(text, pointer, what)

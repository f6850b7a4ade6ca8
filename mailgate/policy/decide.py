"""Whether a client may send a message: every fault named, the first one deciding."""

from mailgate.model.address import Address
from mailgate.model.refusal import Fault, FaultCode, Refusal, RefusalCode
from mailgate.model.submission import Parties
from mailgate.policy.rules import AddressPattern, ClientRules
from mailgate.wire.address import display


def decide(rules: ClientRules, parties: Parties, *, size: int, max_message: int) -> Refusal | None:
    """
    Return why the rules refuse a message between these parties, or None where they allow it.

    `size` is that of the composed message and `max_message` the gateway's limit, in octets. The refusal's
    code is that of the first fault in the order sender, recipients, size; its faults are all there are.
    """
    senders = tuple(
        _not_allowed(source, address, "a sender this client may use")
        for source, address in parties.senders
        if not _any(rules.senders, address)
    )
    recipients = tuple(
        _not_allowed(recipient.source, recipient.address, "a recipient this client may send to")
        for recipient in parties.recipients
        if not _any(rules.recipients, recipient.address)
    )
    limit = max_message if rules.max_message is None else min(rules.max_message, max_message)
    too_large = (
        (Fault("", FaultCode.TOO_LONG, f"the composed message has {size} octets; the limit is {limit}"),)
        if size > limit
        else ()
    )
    faults = senders + recipients + too_large
    if senders:
        return Refusal(RefusalCode.SENDER_NOT_ALLOWED, senders[0].detail, faults)
    if recipients:
        return Refusal(RefusalCode.RECIPIENT_NOT_ALLOWED, recipients[0].detail, faults)
    if too_large:
        return Refusal(RefusalCode.MESSAGE_TOO_LARGE, too_large[0].detail, faults, limit=limit, actual=size)
    return None


def _not_allowed(source: str, address: Address, what: str) -> Fault:
    written = str(address)
    return Fault(source, FaultCode.NOT_IN_POLICY, f"{display(written)} is not {what}", written)


def _any(patterns: tuple[AddressPattern, ...], address: Address) -> bool:
    return any(pattern.matches(address) for pattern in patterns)

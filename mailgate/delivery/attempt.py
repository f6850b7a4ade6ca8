"""How one attempt to hand a message over ended."""

from dataclasses import dataclass

from mailgate.model.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    The end of a mail transaction, or of the several that one message took.

    Attributes:
        outcomes: one per recipient of the claim, ``accepted``, ``deferred`` or ``failed``, in the order of their
            positions; empty where the attempt counts for nothing (`stale`).
        unknown: whether the message was sent but no reply came: it may have been accepted for some recipients.
        trouble: what is wrong with the upstream or the way to it, so that it should be left alone for a while;
            empty where all is well.
        stale: whether a reused connection turned out to be dead before the server did anything with the message,
            which can go over another connection at once.
        upstream: the name of the upstream it was made with.

    """

    outcomes: tuple[Outcome, ...] = ()
    unknown: bool = False
    trouble: str = ""
    stale: bool = False
    upstream: str = ""

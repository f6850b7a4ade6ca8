"""How one attempt to hand a message over ended."""

from dataclasses import dataclass

from mailgate.model.outcome import Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    The end of one mail transaction.

    Attributes:
        outcomes: one per recipient of the claim, ``accepted``, ``deferred`` or ``failed``, in the order of their
            positions; empty where the attempt counts for nothing (`stale`).
        unknown: whether the message was sent whole but no reply came: it may have been accepted.
        trouble: what is wrong with the upstream or the way to it, so that it should be left alone for a while;
            empty where all is well.
        stale: whether a reused connection turned out to be dead before the server did anything with the message,
            which can go over another connection at once.

    """

    outcomes: tuple[Outcome, ...] = ()
    unknown: bool = False
    trouble: str = ""
    stale: bool = False

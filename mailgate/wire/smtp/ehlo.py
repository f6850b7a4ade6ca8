"""What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Extensions:
    """
    The service extensions of a server that matter to a client which submits messages.

    Attributes:
        size: SIZE (RFC 1870): the most octets of a message, 0 where the server names no limit, None where the
            extension is not offered.
        eight_bit: 8BITMIME (RFC 6152).
        smtputf8: SMTPUTF8 (RFC 6531).
        pipelining: PIPELINING (RFC 2920).
        enhanced_codes: ENHANCEDSTATUSCODES (RFC 2034).
        starttls: STARTTLS (RFC 3207).
        auth: mechanisms of AUTH (RFC 4954) in upper case.

    """

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    pipelining: bool = False
    enhanced_codes: bool = False
    starttls: bool = False
    auth: frozenset[str] = frozenset()


def parse_extensions(lines: Sequence[bytes]) -> Extensions:
    """
    Read the lines of a positive reply to EHLO; the first only greets.

    Keywords count in any case (RFC 5321 section 2.4), also ``AUTH=PLAIN`` as servers before RFC 2554 wrote
    it. Keywords that nobody here needs are passed over.
    """
    offered: dict[str, list[str]] = {}
    for line in lines[1:]:
        words = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ", 1).split()
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    return Extensions(
        size=_size(offered.get("SIZE")),
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        pipelining="PIPELINING" in offered,
        enhanced_codes="ENHANCEDSTATUSCODES" in offered,
        starttls="STARTTLS" in offered,
        auth=frozenset(offered.get("AUTH", ())),
    )


def _size(parameters: list[str] | None) -> int | None:
    if parameters is None:
        return None
    # RFC 1870 section 4 gives the number at most 20 digits; anything else is no limit that one could keep.
    if parameters and parameters[0].isascii() and parameters[0].isdigit() and len(parameters[0]) <= 20:  # noqa: PLR2004
        return int(parameters[0])
    return 0

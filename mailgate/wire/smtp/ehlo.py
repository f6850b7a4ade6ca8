"""What a server offers in its reply to EHLO (RFC 5321 section 4.1.1.1)."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

_LIMIT = re.compile(r"([A-Z]+)=([1-9][0-9]{0,5})")


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
        chunking: CHUNKING (RFC 3030).
        dsn: DSN (RFC 3461).
        most_recipients, most_transactions: RCPTMAX and MAILMAX of LIMITS (RFC 9422): recipients of a transaction,
            transactions over one connection; None where the server names no limit.
        starttls: STARTTLS (RFC 3207).
        auth: mechanisms of AUTH (RFC 4954) in upper case.

    """

    size: int | None = None
    eight_bit: bool = False
    smtputf8: bool = False
    pipelining: bool = False
    chunking: bool = False
    dsn: bool = False
    most_recipients: int | None = None
    most_transactions: int | None = None
    starttls: bool = False
    auth: frozenset[str] = frozenset()


def parse_extensions(lines: Sequence[bytes]) -> Extensions:
    """
    Read the lines of a positive reply to EHLO; the first only greets.

    Keywords count in any case (RFC 5321 section 2.4), also ``AUTH=PLAIN`` as servers before RFC 2554 wrote
    it. Keywords that nobody here needs are passed over, ENHANCEDSTATUSCODES among them: enhanced codes are known
    by their form and class, which servers also keep that never announced them.
    """
    offered: dict[str, list[str]] = {}
    for line in lines[1:]:
        words = line.decode("ascii", "replace").upper().replace("AUTH=", "AUTH ", 1).split()
        if words:
            offered.setdefault(words[0], []).extend(words[1:])
    limits = _limits(offered.get("LIMITS", []))
    return Extensions(
        size=_size(offered.get("SIZE")),
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        pipelining="PIPELINING" in offered,
        chunking="CHUNKING" in offered,
        dsn="DSN" in offered,
        most_recipients=limits.get("RCPTMAX"),
        most_transactions=limits.get("MAILMAX"),
        starttls="STARTTLS" in offered,
        auth=frozenset(offered.get("AUTH", ())),
    )


def _limits(parameters: list[str]) -> dict[str, int]:
    # RFC 9422 section 4: a number from 1 to 999999; section 3 has a client pass over what is not written so.
    found = (_LIMIT.fullmatch(parameter) for parameter in parameters)
    return {each[1]: int(each[2]) for each in found if each}


def _size(parameters: list[str] | None) -> int | None:
    if parameters is None:
        return None
    # RFC 1870 section 4 gives the number at most 20 digits; anything else is no limit that one could keep.
    if parameters and parameters[0].isascii() and parameters[0].isdigit() and len(parameters[0]) <= 20:  # noqa: PLR2004
        return int(parameters[0])
    return 0

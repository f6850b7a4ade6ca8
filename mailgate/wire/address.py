"""Mail addresses as people write them, to and from the form that SMTP carries."""

import re
from functools import lru_cache
from unicodedata import normalize

import idna

from mailgate.model.address import MAX_DOMAIN_OCTETS, Address, Mailbox

MAX_NAME = 320
"""Characters of a display name; header lines are finite and so is what a reader can see."""

MAX_TEXT = 2048
"""Characters of an address with its name; none is as long."""

_FAR_TOO_LONG = "the address is far too long"
_MAX_LIST = 64 * 1024
_SIMPLE = re.compile(r"([A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*)@([A-Za-z0-9.-]+)")
_ADDR_SPEC = re.compile(r'("(?:[^"\\]|\\.)*"|[^"@\s]*)@(.*)', re.DOTALL)
_DOT_ATOM = re.compile(r"[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+(?:\.[^\s\x00-\x20\x7f()<>\[\]:;@\\,.\"]+)*")
_NAMED = re.compile(r'("(?:[^"\\]|\\.)*"[ \t]*|[^"<>]*)<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>', re.DOTALL)
_LIST_PART = re.compile(r'"(?:[^"\\]|\\.)*"|\((?:[^()\\]|\\.)*\)|[^"(),]+|,', re.DOTALL)
_ANGLE = re.compile(r'((?:"(?:[^"\\]|\\.)*"|[^"<>:;])*)<((?:"(?:[^"\\]|\\.)*"|[^"<>])*)>', re.DOTALL)
_QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def parse_mailbox(text: str) -> Mailbox:
    """
    Return the mailbox that `text` writes as ``a@b``, ``Name <a@b>`` or ``"Quoted, Name" <a@b>``.

    Follows RFC 5322 section 3.4 with the non-ASCII characters of RFC 6531 and 6532, without comments, groups
    and routes; dots and brackets need no quotes in a name. The name and the local part come back in
    normalization form C, the domain in A-labels. Raises ValueError with a sentence for the sender.
    """
    simple = _SIMPLE.fullmatch(text)
    if simple:
        return Mailbox(Address(simple[1], to_a_label(simple[2])))
    if len(text) > MAX_TEXT:
        raise ValueError(_FAR_TOO_LONG)
    stripped = text.strip(" \t")
    if not stripped.endswith(">"):
        return Mailbox(parse_address(stripped))
    named = _NAMED.fullmatch(stripped)
    if not named:
        raise ValueError(
            "write a mailbox as name@domain or Name <name@domain>, with a name in quotes where needed"
        )
    return Mailbox(parse_address(named[2]), parse_name(_unquoted_name(named[1].strip(" \t"))))


def parse_address(text: str) -> Address:
    """Return the address that the addr-spec `text` (RFC 5321 section 4.1.2) writes; raises ValueError."""
    if len(text) > MAX_TEXT:
        raise ValueError(_FAR_TOO_LONG)
    parts = _ADDR_SPEC.fullmatch(text)
    if not parts:
        raise ValueError("an address has the form name@domain")
    local = normalize("NFC", parts[1])
    if local.startswith('"'):
        local = _QUOTED_PAIR.sub(r"\1", local[1:-1])
    elif local and not _DOT_ATOM.fullmatch(local):
        raise ValueError("the part before the @ holds characters or dots that need quotes around it")
    return Address(local, to_a_label(parts[2]))


def parse_author_list(value: str) -> tuple[Address, ...]:
    """
    Return the addresses of a From field's unfolded value (RFC 5322 section 3.6.2), at least one.

    Comments are passed over. Groups, routes and the spaces of the obsolete syntax are refused: readers disagree
    on whom such a field names. Raises ValueError.
    """
    if len(value) > _MAX_LIST:
        raise ValueError("the field is far too long")
    parts = _LIST_PART.findall(value)
    if sum(map(len, parts)) != len(value):
        raise ValueError("a quote or parenthesis is not closed")
    items: list[list[str]] = [[]]
    for part in parts:
        if part == ",":
            items.append([])
        else:
            items[-1].append(" " if part.startswith("(") else part)
    return tuple(_author("".join(item).strip(" \t")) for item in items)


def parse_name(text: str) -> str:
    """Return a display name in normalization form C; raises ValueError where a header can't hold it."""
    # Normalizing can take time by the square of the length.
    name = normalize("NFC", text) if len(text) <= MAX_TEXT else text
    if _CONTROL.search(name):
        raise ValueError("the name holds a control character")
    if len(name) > MAX_NAME:
        raise ValueError(f"the name is longer than {MAX_NAME} characters")
    return name


def _author(text: str) -> Address:
    if not text.endswith(">"):
        return parse_address(text)
    angle = _ANGLE.fullmatch(text)
    if not angle:
        raise ValueError("a mailbox has the form name@domain or Name <name@domain>; groups are not taken")
    if "@" in _QUOTED.sub("", angle[1]) and angle[1].strip() != angle[2]:
        raise ValueError("a name that holds an @ needs quotes around it, or some readers take it for the address")
    return parse_address(angle[2])


def _unquoted_name(text: str) -> str:
    if text.startswith('"'):
        return _QUOTED_PAIR.sub(r"\1", text[1:-1])
    if any(special in text for special in ",;:"):
        raise ValueError("give one address; a name that holds a comma, colon or semicolon needs quotes around it")
    return text


@lru_cache(maxsize=4096)
def to_a_label(domain: str) -> str:
    """
    Return the domain in lower-case A-labels (RFC 5891), mapped by UTS #46 without its transitional forms.

    Raises ValueError with a sentence for what is no domain name, address literals and bare IP addresses included.
    """
    if domain.startswith("["):
        raise ValueError("an address literal in square brackets is not taken; use a domain name")
    if len(domain) > MAX_DOMAIN_OCTETS:
        raise ValueError(f"the domain is longer than {MAX_DOMAIN_OCTETS} characters")
    label = domain.lower()
    if not label.isascii() or "xn--" in label:
        label = _encoded(domain)
    if label.rpartition(".")[2].isdigit():
        raise ValueError(f"{domain!r} is an IP address or no domain name; use a domain name")
    return Address("x", label).domain


def _encoded(domain: str) -> str:
    try:
        return idna.encode(domain, uts46=True).decode()
    except UnicodeError as error:
        raise ValueError(f"{domain!r} is not a domain name: {error}") from error


def display(addr_spec: str) -> str:
    """
    Return the address as people read it: with the domain's U-labels, where they lead back to the very domain.

    Takes any addr-spec that `Address` writes; what has no faithful Unicode form comes back as it is.
    """
    local, at, domain = addr_spec.rpartition("@")
    return f"{local}{at}{_to_u_label(domain)}" if "xn--" in domain else addr_spec


@lru_cache(maxsize=4096)
def _to_u_label(domain: str) -> str:
    try:
        unicode = idna.decode(domain)
        faithful = idna.encode(unicode, uts46=True).decode() == domain
    except UnicodeError:
        return domain
    return unicode if faithful else domain

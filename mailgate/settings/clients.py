"""One ``[clients.NAME]`` table, turned into the rules of that client."""

import binascii
import re
from pathlib import Path

from mailgate.policy.clients import WILDCARD
from mailgate.policy.rules import AddressPattern, ClientRules, Rate
from mailgate.settings.tables import ClientTable
from mailgate.settings.values import read, read_optional
from mailgate.trust.files import read_authorities
from mailgate.trust.settings import TrustError
from mailgate.wire.address import parse_address, to_a_label
from mailgate.wire.units import parse_size

_HASH = re.compile(r"[0-9a-f]{64}")
_HASH_OCTETS = 32
_KINDS = "CN:, DNS:, URI:, SHA256: or SPKI:"


def client_rules(name: str, table: ClientTable, largest: int, base: Path) -> ClientRules:
    """
    Return the rules of the entry called `name`.

    `largest` is the gateway's own `max_message`, and file names are relative to `base`. Reads the entry's CA file.
    Raises ValueError with a sentence that names the key.
    """
    key = f'clients."{name}"'
    if not name or not name.isprintable():
        raise ValueError("clients: an entry's name is empty or holds a control character")
    if name == WILDCARD and table.certificates is not None:
        raise ValueError(f"{key}.certificates: the wildcard entry is for every other certificate")
    max_message = read_optional(f"{key}.max_message", parse_size, table.max_message)
    if max_message is not None and max_message > largest:
        raise ValueError(f"{key}.max_message is more than limits.max_message, which holds for everyone")
    return ClientRules(
        label=name,
        certificates=_certificates(key, name, table.certificates),
        senders=tuple(read(f"{key}.senders", AddressPattern.parse, text) for text in table.senders),
        recipients=tuple(read(f"{key}.recipients", AddressPattern.parse, text) for text in table.recipients),
        doors=None if table.doors is None else frozenset(table.doors),
        rate=read_optional(f"{key}.rate", Rate.parse, table.rate),
        quota=read_optional(f"{key}.quota", Rate.parse, table.quota),
        max_message=max_message,
        bounces=read_optional(f"{key}.bounces", parse_address, table.bounces),
        enabled=table.enabled,
        authorities=None if table.ca is None else _authorities(key, base / table.ca),
    )


def _authorities(key: str, file: Path) -> frozenset[str]:
    try:
        return read_authorities(file)
    except TrustError as error:
        raise ValueError(f"{key}.ca: {error}") from error


def _certificates(key: str, name: str, listed: list[str] | None) -> tuple[str, ...]:
    if name == WILDCARD:
        return ()
    if listed is None:
        return (f"CN:{name}",)
    if not listed:
        raise ValueError(f"{key}.certificates is empty: no certificate could ever match")
    return tuple(read(f"{key}.certificates", _certificate, text) for text in listed)


def _certificate(text: str) -> str:
    kind, _, value = text.partition(":")
    match kind.upper():
        case "CN" | "URI" if value:
            return f"{kind.upper()}:{value}"
        case "DNS" if value:
            # Certificates carry names that are no host names, like those with an underscore.
            return f"DNS:{value.lower() if value.isascii() else to_a_label(value)}"
        case "SHA256" | "SPKI":
            return f"{kind.upper()}:{parse_digest(value)}"
    raise ValueError(f'"{text}" does not start with {_KINDS}')


def parse_digest(value: str) -> str:
    """
    Return a SHA-256 in lower-case hex, given in hexadecimal, with or without colons, or in base64 as pins are.

    Raises ValueError with a sentence.
    """
    digest = value.replace(":", "").lower()
    if _HASH.fullmatch(digest):
        return digest
    try:
        octets = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        octets = b""
    if len(octets) != _HASH_OCTETS:
        raise ValueError(f'"{value}" is not a SHA-256 (64 hexadecimal digits, or base64)')
    return octets.hex()

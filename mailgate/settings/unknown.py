"""Unknown keys, each with its place and what was probably meant."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import cast

from msgspec import Struct
from msgspec.structs import fields

from mailgate.settings.tables import (
    ClientTable,
    DeliveryTable,
    HttpsTable,
    LimitsTable,
    QueueTable,
    SettingsFile,
    TlsTable,
    UpstreamTable,
)

_TABLES: Mapping[str, type[Struct]] = {
    "tls": TlsTable,
    "limits": LimitsTable,
    "https": HttpsTable,
    "queue": QueueTable,
    "delivery": DeliveryTable,
}


def unknown_keys(document: Mapping[str, object]) -> Iterator[str]:
    """Yield a sentence for each key of the parsed file that no table knows."""
    yield from _compare("the file", document, SettingsFile)
    for name, table_type in _TABLES.items():
        yield from _table(f"[{name}]", document.get(name), table_type)
    upstreams = document.get("upstream")
    for number, upstream in enumerate(upstreams if isinstance(upstreams, list) else [], 1):
        yield from _table(f"[[upstream]] number {number}", upstream, UpstreamTable)
    clients = document.get("clients")
    for name, client in (clients if isinstance(clients, dict) else {}).items():
        yield from _table(f"[clients.{_quoted(name)}]", client, ClientTable)


def _table(place: str, value: object, table_type: type[Struct]) -> Iterator[str]:
    if isinstance(value, dict):
        yield from _compare(place, cast("Mapping[str, object]", value), table_type)


def _compare(place: str, table: Mapping[str, object], table_type: type[Struct]) -> Iterator[str]:
    known = [known.encode_name for known in fields(table_type)]
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"it may have {', '.join(known)}"
            yield f'{place} has an unknown key "{key}"; {hint}'


def _quoted(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'

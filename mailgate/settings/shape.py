"""The shape of the file: unknown, missing and mistyped keys, each told with its place and what was meant."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import cast

import msgspec
from msgspec import Struct
from msgspec.structs import FieldInfo, fields

from mailgate.settings.tables import (
    ClientTable,
    DeliveryTable,
    EstTable,
    HttpsTable,
    LimitsTable,
    LinesTable,
    OpsTable,
    QueueTable,
    SettingsFile,
    TlsTable,
    UpstreamTable,
)

_TABLES: Mapping[str, type[Struct]] = {
    "tls": TlsTable,
    "limits": LimitsTable,
    "https": HttpsTable,
    "lines": LinesTable,
    "est": EstTable,
    "ops": OpsTable,
    "queue": QueueTable,
    "delivery": DeliveryTable,
}

_KINDS: Mapping[type, str] = {
    dict: "a table",
    list: "a list",
    str: "a string in quotes",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
}


def read_shape(document: Mapping[str, object]) -> SettingsFile:
    """Return the parsed file as tables. Raises ValueError with one sentence that has all faults."""
    faults = list(_faults(document))
    if faults:
        raise ValueError("; ".join(faults))
    return msgspec.convert(document, SettingsFile)


def _faults(document: Mapping[str, object]) -> Iterator[str]:
    yield from _compare("the file", document, SettingsFile)
    yield from _loose_values(document)
    for name, table_type in _TABLES.items():
        if name in document:
            yield from _table(f"[{name}]", document[name], table_type)
    upstreams = document.get("upstream")
    if isinstance(upstreams, dict):
        yield "an upstream is written with two brackets, [[upstream]], since there may be several"
    elif isinstance(upstreams, list) and upstreams:
        for number, upstream in enumerate(upstreams, 1):
            yield from _table(f"[[upstream]] number {number}", upstream, UpstreamTable)
    elif upstreams is not None:
        yield "there is no [[upstream]] table"
    clients = document.get("clients")
    if isinstance(clients, dict) and clients:
        for name, client in clients.items():
            yield from _table(f"[clients.{_quoted(name)}]", client, ClientTable)
    elif clients is not None:
        yield "there is no [clients.NAME] table"


def _loose_values(document: Mapping[str, object]) -> Iterator[str]:
    """Yield what is wrong with the values above all tables."""
    for known in fields(SettingsFile):
        if known.encode_name in document and known.encode_name not in {*_TABLES, "upstream", "clients"}:
            yield from _value(known.encode_name, document[known.encode_name], known)


def _table(place: str, value: object, table_type: type[Struct]) -> Iterator[str]:
    if not isinstance(value, dict):
        yield f"{place} must be a table, not {_kind(value)}"
        return
    table = cast("Mapping[str, object]", value)
    yield from _compare(place, table, table_type)
    for known in fields(table_type):
        if known.encode_name in table:
            yield from _value(f"{known.encode_name} in {place}", table[known.encode_name], known)


def _compare(place: str, table: Mapping[str, object], table_type: type[Struct]) -> Iterator[str]:
    known = {known.encode_name: known for known in fields(table_type)}
    for key in table:
        if key not in known:
            close = get_close_matches(key, known, n=1)
            hint = f'did you mean "{close[0]}"?' if close else f"it may have {', '.join(known)}"
            yield f'{place} has an unknown key "{key}"; {hint}'
    for key, field in known.items():
        if field.required and key not in table:
            yield f'{place} lacks "{key}"'


def _value(place: str, value: object, field: FieldInfo) -> Iterator[str]:
    try:
        msgspec.convert(value, field.type)
    except msgspec.ValidationError as error:
        allowed = msgspec.json.schema(field.type)
        choices = _choices(allowed)
        told = str(error).partition(" - at ")[0]
        yield f"{place} is {_shown(value)}: {choices or told[:1].lower() + told[1:]}"


def _choices(schema: Mapping[str, object]) -> str | None:
    """Return the values that a schema allows, where it lists them."""
    for part in (schema, schema.get("items"), *cast("list[object]", schema.get("anyOf", []))):
        if isinstance(part, dict) and "enum" in part:
            return "it may be " + " or ".join(f'"{choice}"' for choice in part["enum"])
        if isinstance(part, dict) and isinstance(part.get("items"), dict) and "enum" in part["items"]:
            return _choices(part["items"])
    return None


def _shown(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"' if value.isprintable() else "a string with control characters"
    return _kind(value)


def _kind(value: object) -> str:
    if value == []:
        return "an empty list"
    return _KINDS.get(type(value), "a date or time")


def _quoted(name: str) -> str:
    return name if name.replace("-", "").replace("_", "").isalnum() and name.isascii() else f'"{name}"'

"""Find everything in a JSON value that isn't of the shape its type wants, not only the first thing."""

from typing import Any, Final

import msgspec
from msgspec import inspect

from mailgate.model.refusal import FaultCode
from mailgate.wire.faults import Faults, escape_pointer
from mailgate.wire.json.schema import MessageRequest, Moment

_REQUEST: Final = inspect.type_info(MessageRequest)
_TAKES: Final[dict[type[inspect.Type], type]] = {
    inspect.StrType: str,
    inspect.LiteralType: str,
    inspect.DateTimeType: str,
    inspect.StructType: dict,
    inspect.DictType: dict,
    inspect.ListType: list,
    inspect.BoolType: bool,
    inspect.NoneType: type(None),
}
_NAMES: Final[dict[type[inspect.Type], str]] = {
    inspect.StrType: "a string",
    inspect.DateTimeType: "a time of RFC 3339 with its offset, like 2026-12-01T09:00:00+09:00",
    inspect.StructType: "an object",
    inspect.DictType: "an object",
    inspect.ListType: "a list",
    inspect.BoolType: "true or false",
}


def mend(value: object, faults: Faults) -> MessageRequest:
    """
    Note every fault of shape in a decoded request, and return it with blanks in place of what is faulty.

    The blanks keep every other part at its place, so that it can be checked too; what is found in a blank
    follows from the first fault.
    """
    return msgspec.convert(_mend(value, _REQUEST, "", faults), MessageRequest)


def _mend(value: object, wanted: inspect.Type, pointer: str, faults: Faults) -> Any:
    choice = _choice(value, wanted)
    if isinstance(choice, inspect.StructType) and isinstance(value, dict):
        return _mend_struct(value, choice, pointer, faults)
    if isinstance(choice, inspect.ListType) and isinstance(value, list):
        return [_mend(item, choice.item_type, f"{pointer}/{at}", faults) for at, item in enumerate(value)]
    if isinstance(choice, inspect.DictType) and isinstance(value, dict):
        return {
            key: _mend(item, choice.value_type, f"{pointer}/{escape_pointer(key)}", faults)
            for key, item in value.items()
        }
    if choice is None:
        faults.add(pointer, FaultCode.WRONG_TYPE, f"this must be {_describe(wanted)}")
        return _blank(wanted)
    return value


def _mend_struct(
    value: dict[str, object], wanted: inspect.StructType, pointer: str, faults: Faults
) -> dict[str, Any]:
    fields = {field.encode_name: field for field in wanted.fields}
    mended = {}
    for key, item in value.items():
        place = f"{pointer}/{escape_pointer(key)}"
        if key in fields:
            mended[key] = _mend(item, fields[key].type, place, faults)
        else:
            faults.add(place, FaultCode.UNKNOWN_FIELD, "there is no such field")
    for key, field in fields.items():
        if field.required and key not in mended:
            faults.add(f"{pointer}/{key}", FaultCode.REQUIRED, f"the field {key} is required")
            mended[key] = _blank(field.type)
    return mended


def _alternatives(wanted: inspect.Type) -> tuple[inspect.Type, ...]:
    if isinstance(wanted, inspect.Metadata):
        return _alternatives(wanted.type)
    if isinstance(wanted, inspect.UnionType):
        return tuple(plain for each in wanted.types for plain in _alternatives(each))
    return (wanted,)


def _choice(value: object, wanted: inspect.Type) -> inspect.Type | None:
    """Return the alternative that is to take the value, None if none of them can."""
    for each in _alternatives(wanted):
        if type(value) is _TAKES[type(each)] and _fits(value, each):
            return each
    return None


def _fits(value: object, wanted: inspect.Type) -> bool:
    if isinstance(wanted, inspect.LiteralType):
        return value in wanted.values
    if isinstance(wanted, inspect.DateTimeType):
        return _is_moment(value)
    return True


def _is_moment(value: object) -> bool:
    try:
        msgspec.convert(value, Moment)
    except msgspec.ValidationError:
        return False
    return True


def _blank(wanted: inspect.Type) -> Any:
    """Return a value of the type that says the least; never null where something was given but a time."""
    first = _alternatives(wanted)[0]
    if isinstance(first, inspect.StructType):
        return {field.encode_name: _blank(field.type) for field in first.fields if field.required}
    if isinstance(first, inspect.DateTimeType | inspect.LiteralType):
        return None
    return _TAKES[type(first)]()


def _describe(wanted: inspect.Type) -> str:
    names: list[str] = []
    for each in _alternatives(wanted):
        if isinstance(each, inspect.LiteralType):
            names.extend(f'"{value}"' for value in each.values)
        elif not isinstance(each, inspect.NoneType):
            names.append(_NAMES[type(each)])
    return " or ".join(names)

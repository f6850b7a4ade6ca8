"""Reading one value, with the key's name put before whatever is wrong with it."""

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def read(key: str, parse: Callable[[str], T], text: str) -> T:
    """Return what `parse` makes of the text. Raises ValueError with a sentence that starts with the key."""
    try:
        return parse(text)
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from error


def read_optional(key: str, parse: Callable[[str], T], text: str | None) -> T | None:
    """Return None for a key that was left out, else as `read`."""
    return None if text is None else read(key, parse, text)

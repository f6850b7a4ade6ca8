"""Sizes, durations, rates and shares as settings write them: ``25 MiB``, ``5 days``, ``60/minute``, ``5%``."""

import re

_SIZES = {"b": 1, "kib": 1024, "mib": 1024**2, "gib": 1024**3, "kb": 1000, "mb": 1000**2, "gb": 1000**3}
_SECOND, _MINUTE, _HOUR, _DAY = 1.0, 60.0, 3600.0, 86400.0
_DURATIONS = {
    **dict.fromkeys(("s", "second", "seconds"), _SECOND),
    **dict.fromkeys(("m", "min", "minute", "minutes"), _MINUTE),
    **dict.fromkeys(("h", "hour", "hours"), _HOUR),
    **dict.fromkeys(("d", "day", "days"), _DAY),
    **dict.fromkeys(("w", "week", "weeks"), 7 * _DAY),
}
_LARGEST = 1024.0**4
_LONGEST = 36_500 * _DAY
"""A hundred years: the end of what began now is still a date."""

_PERIODS = {"second": _SECOND, "minute": _MINUTE, "hour": _HOUR, "day": _DAY}
_QUANTITY = re.compile(r"(\d+(?:\.\d+)?)\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_RATE = re.compile(r"(\d+)\s*/\s*([a-z]+)", re.ASCII | re.IGNORECASE)
_SHARE = re.compile(r"(\d+(?:\.\d+)?)\s*%", re.ASCII)


def parse_size(text: str) -> int:
    """Return octets, 1 to a TiB; ``KiB`` is 1024 and ``kB`` 1000. Raises ValueError with a sentence."""
    octets = int(min(_quantity(text, _SIZES, "a size", "25 MiB"), _LARGEST + 1))
    if not 1 <= octets <= _LARGEST:
        raise ValueError(f'"{text}" is not a size between 1 B and 1024 GiB')
    return octets


def parse_duration(text: str) -> float:
    """Return seconds, more than 0 and at most a hundred years'. Raises ValueError with a sentence."""
    seconds = _quantity(text, _DURATIONS, "a duration", "90s")
    if seconds > _LONGEST:
        raise ValueError(f'"{text}" is longer than 36500 days')
    return seconds


def parse_rate(text: str) -> tuple[int, float]:
    """Return a count of 1 or more and the period in seconds. Raises ValueError with a sentence."""
    match = _RATE.fullmatch(text.strip())
    period = _PERIODS.get(match[2].lower()) if match else None
    if match is None or period is None or int(match[1]) < 1:
        raise ValueError(f'"{text}" is not a rate like "60/minute" (second, minute, hour or day)')
    return int(match[1]), period


def parse_share(text: str) -> float:
    """Return a share between 0 and 1. Raises ValueError with a sentence."""
    match = _SHARE.fullmatch(text.strip())
    if match is None or float(match[1]) >= 100:  # noqa: PLR2004 - a hundred per cent is what it says
        raise ValueError(f'"{text}" is not a share like "5%"')
    return float(match[1]) / 100


def format_rate(count: int, period: float) -> str:
    """Return the text that `parse_rate` reads; `period` is one that it gave."""
    return f"{count}/{next(name for name, seconds in _PERIODS.items() if seconds == period)}"


def _quantity(text: str, units: dict[str, int] | dict[str, float], kind: str, example: str) -> float:
    match = _QUANTITY.fullmatch(text.strip())
    unit = units.get(match[2].lower()) if match else None
    if match is None or unit is None or float(match[1]) <= 0:
        raise ValueError(f'"{text}" is not {kind} like "{example}"')
    return float(match[1]) * unit

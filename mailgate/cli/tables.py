"""Text for a terminal, whoever wrote it."""

import unicodedata
from collections.abc import Iterator, Sequence


def table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows with their columns in line."""
    cells = [[shown(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        padded = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        yield "  ".join(padded).rstrip()


def shown(text: str) -> str:
    """Return the text without what could command the terminal: a certificate's text is its maker's."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in text)


def _width(text: str) -> int:
    """Columns on a terminal: Hangul and Han take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)

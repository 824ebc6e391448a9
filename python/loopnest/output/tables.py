"""Tables of text for the terminal, without lines."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # rich is imported when a table is made
    from rich.console import RenderableType
    from rich.table import Table


@dataclass(frozen=True)
class Sheet:
    """A table of texts, with headings or without; the first `words` columns hold words, the others numbers. Notes stand
    below it."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    notes: Sequence[str] = ()


def headed(*names: str, words: Collection[int] = (0,)) -> Table:
    """An empty table with these headings.

    words  the columns that hold words, by their numbers; only the last column folds them. The others hold numbers
    """
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for number, name in enumerate(names):
        of_words = number in words
        folds = of_words and number == len(names) - 1
        table.add_column(Text(name), justify="left" if of_words else "right", no_wrap=not folds)
    return table


def columns(*rows: Sequence[RenderableType], numbers: bool = False) -> Table:
    """Rows without headings; text is printed as it is. The first column holds names, or `numbers`."""
    from rich.text import Text

    table = headed("", words=() if numbers else (0,))
    table.columns[0].no_wrap = True
    table.show_header = False
    for row in rows:
        table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return table

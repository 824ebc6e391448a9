"""An experiment: a question, a function that measures, and the answer as a sentence, a table and a picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

Rows = Sequence[Sequence[str]]


@dataclass(frozen=True)
class Experiment:
    """A question that is answered by measuring.

    name     as in `loopnest experiment NAME`
    run      (**options) -> data, a frozen dataclass
    finding  (data) -> the answer in a sentence or two
    rows     (data) -> a small table: the header, then a row for each case
    picture  (data) -> an SVG file
    missing  why the experiment cannot run here, with the fix, or None
    """

    name: str
    question: str
    run: Callable[..., Any]
    finding: Callable[[Any], str]
    rows: Callable[[Any], Rows]
    picture: Callable[[Any], str]
    missing: Callable[[], str | None] = lambda: None

    def table(self, data: Any) -> list[str]:
        """The rows as lines of text: the first column on the left, numbers on the right."""
        rows = self.rows(data)
        first, *others = (max(map(len, column)) for column in zip(*rows, strict=True))
        return [
            f"{name:<{first}}  {'  '.join(f'{cell:>{width}}' for cell, width in zip(cells, others, strict=True))}"
            for name, *cells in rows
        ]

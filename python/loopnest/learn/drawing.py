"""An attempt at an exercise in the terminal: the wrong result is drawn next to the right one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..output.text import duration
from .exercises import Attempt, Failure, Result

Array = np.ndarray[Any, Any]

DRAWN = 8
"""Rows and columns up to which a matrix is drawn as numbers; a larger one is drawn as one sign for each element."""

MAPPED = 72
"""Rows and columns up to which a matrix is drawn at all."""


def report(attempt: Attempt, width: int = 80) -> Iterator[RenderableType]:
    """The lines and tables to print."""
    if attempt.outcome == "not-here":
        yield Text.assemble(("not here: ", "yellow"), attempt.reason)
        return
    if attempt.failure is not None:
        yield from _wrong(attempt, attempt.failure, width)
        return
    cases = f"{attempt.cases} small cases"
    if attempt.outcome == "refused":
        yield Text.assemble(("not yet. ", "bold red"), f"The {cases} are right, but the judge found an error:")
    else:
        judged = ", and all calls of `loopnest check`" if attempt.verdict is not None else ""
        yield Text.assemble(("right: ", "bold green"), f"{cases}{judged}.")
    if attempt.verdict is not None:
        from ..check.tables import footer
        from ..check.tables import report as verdict_report

        yield Text("")
        yield from verdict_report(attempt.verdict)
        if attempt.verdict.timing is not None:
            yield Text(footer(attempt.verdict.timing), style="dim")
    elif attempt.times:
        yield Text("")
        yield _times(attempt)
    elif attempt.reason:
        yield Text(attempt.reason, style="dim")
    if attempt.outcome == "right":
        yield Text(f"\nloopnest exercise {attempt.number} --solution   one way to do it", style="dim")


def _wrong(attempt: Attempt, failure: Failure, width: int) -> Iterator[RenderableType]:
    word = {"wrong": "wrong", "raised": "an error", "missing": "missing", "does-not-build": "it does not build"}
    title = word.get(attempt.outcome, attempt.outcome)
    before = f" after {attempt.passed} right {'case' if attempt.passed == 1 else 'cases'}" if attempt.passed else ""
    if attempt.outcome == "does-not-build":
        yield Text.assemble((title, "bold red"), ":")
        yield Padding(Text(failure.message), (0, 0, 0, 2))
        return
    yield Text.assemble((title, "bold red"), f": {failure.function}, {failure.about}{before} (of {attempt.cases})\n")
    if attempt.outcome != "missing":
        yield from _drawn(failure, width)
    if failure.message:
        yield Text(failure.message)
    if attempt.starter:
        yield Text("\nThis is the starter, unchanged: fill it in, and check again.", style="dim")


def _drawn(failure: Failure, width: int) -> Iterator[RenderableType]:
    yield Columns([_value(name, x, None) for name, x in failure.shown.items()], padding=(0, 4))
    for result in failure.results:
        if result.wrong is not None and not result.wrong.any():
            continue
        yield Text("")
        yield from _result(result, width)


def _result(result: Result, width: int) -> Iterator[RenderableType]:
    if result.wrong is None:
        got = np.shape(result.got) if isinstance(result.got, np.ndarray | tuple | list) else type(result.got).__name__
        yield Text(f"{result.name}: expected shape {np.shape(result.expected)}, got {got}: {_short(result.got)}")
        yield _value("expected", result.expected, None)
        return
    expected, got, wrong = result.expected, result.got, result.wrong
    if expected.ndim == 0:
        yield Text.assemble(f"{result.name}: expected {_number(expected)}, got ", (_number(got), "bold red"))
        return
    count = f"{int(wrong.sum())} of {wrong.size} elements"
    yield Text(f"{result.name}: {count} {'are' if wrong.sum() != 1 else 'is'} wrong")
    rows, cols = (1, len(expected)) if expected.ndim == 1 else expected.shape[-2:]
    if max(rows, cols) <= DRAWN and expected.ndim <= 2:
        yield Columns([_value("expected", expected, None), _value("yours (wrong: *)", got, wrong)], padding=(0, 4))
    elif rows <= MAPPED and cols <= min(MAPPED, width - 2) and expected.ndim <= 2:
        yield _map(np.atleast_2d(wrong))
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    yield Text(
        f"the first: [{', '.join(map(str, first))}] expected {_number(expected[first])}, got {_number(got[first])}"
    )


def _value(name: str, x: Any, wrong: Array | None) -> RenderableType:
    """A small matrix or vector as a table of its numbers, the wrong ones marked by *; anything else in one line."""
    array = np.asarray(x)
    if array.ndim == 0 or isinstance(x, tuple | str):
        return Text(f"{name} = {x!r}")
    if array.ndim > 2 or max(array.shape) > DRAWN:
        return Text(f"{name}: {' x '.join(map(str, array.shape))}", style="dim")
    grid = Table.grid(padding=(0, 1))
    matrix = np.atleast_2d(array)
    marks = np.zeros(matrix.shape, bool) if wrong is None else np.atleast_2d(wrong)
    for _ in range(matrix.shape[1]):
        grid.add_column(justify="right")
    for row, marked in zip(matrix, marks, strict=True):
        cells = (
            Text(_number(v) + "*", style="bold red") if bad else Text(_number(v) + " ")
            for v, bad in zip(row, marked, strict=True)
        )
        grid.add_row(*cells)
    return Group(Text(name, style="dim"), grid if array.size else Text("(empty)", style="dim"))


def _map(wrong: Array) -> RenderableType:
    """A sign for each element: . right, # wrong."""
    text = Text("yours: . right, # wrong\n", style="dim")
    for row in wrong:
        for bad in row:
            text.append("#" if bad else ".", style="bold red" if bad else "dim")
        text.append("\n")
    text.right_crop(1)
    return text


def _number(x: Any) -> str:
    return f"{float(x):.5g}" if np.asarray(x).dtype.kind in "fiub" else str(x)


def _short(x: Any) -> str:
    text = " ".join(repr(x).split())
    return text if len(text) <= 60 else text[:57] + "…"


def _times(attempt: Attempt) -> RenderableType:
    """The rivals, the slowest first, with their speed as a multiple of the slowest one's."""
    times = sorted(attempt.times, key=lambda t: -t.seconds)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("")
    table.add_column("time", justify="right")
    table.add_column("times as fast as the slowest", justify="right")
    for t in times:
        style = "bold" if t.name.startswith("your") else ""
        table.add_row(Text(t.name, style=style), duration(t.seconds), f"{times[0].seconds / t.seconds:,.1f}")
    return table

"""An attempt at an exercise in the terminal: the wrong result is drawn next to the right one."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.columns import Columns
from rich.console import Group, RenderableType
from rich.table import Column, Table
from rich.text import Text

from ..arrays import Array
from .exercises import Attempt, Failure, Result

DRAWN = 8
"""Rows and columns up to which a matrix is drawn."""


def report(attempt: Attempt) -> Iterator[RenderableType]:
    """The lines and tables to print."""
    if attempt.outcome == "not-here":
        yield Text.assemble(("not here: ", "yellow"), attempt.reason)
        return
    if attempt.failure is not None:
        yield from _failure(attempt, attempt.failure)
        return
    cases = f"{attempt.cases} small cases"
    if attempt.outcome == "refused":
        yield Text.assemble(("not yet. ", "bold red"), f"The {cases} are right, but the judge found an error:\n")
    else:
        judged = ", and all calls of `loopnest check`" if attempt.verdict is not None else ""
        yield Text.assemble(("right: ", "bold green"), f"{cases}{judged}.\n")
    if attempt.verdict is not None:
        from ..check.tables import report as verdict_report

        yield from verdict_report(attempt.verdict)
    if attempt.outcome == "right":
        yield Text(f"\nloopnest exercise {attempt.number} --solution   one way to do it", style="dim")
    else:
        yield _hint(attempt)


def _failure(attempt: Attempt, failure: Failure) -> Iterator[RenderableType]:
    title = {"raised": "an error", "does-not-build": "it does not build"}.get(attempt.outcome, attempt.outcome)
    if attempt.outcome == "does-not-build":
        yield Text.assemble((title, "bold red"), f":\n{textwrap.indent(failure.message, '  ')}")
        return
    before = f" after {attempt.passed} right {'case' if attempt.passed == 1 else 'cases'}" if attempt.passed else ""
    yield Text.assemble((title, "bold red"), f": {failure.function}, {failure.about}{before} (of {attempt.cases})\n")
    if attempt.outcome != "missing":
        yield Columns([_value(name, x) for name, x in failure.shown.items()], padding=(0, 4))
    for result in failure.results:
        if result.wrong is None or result.wrong.any():
            yield Text("")
            yield from _result(result)
    if failure.message:
        yield Text(failure.message)
    if attempt.starter:
        yield Text("\nThis is the starter, unchanged: fill it in, and check again.", style="dim")
    yield _hint(attempt)


def _hint(attempt: Attempt) -> Text:
    return Text(f"\nloopnest exercise {attempt.number} --hint   an idea, not the solution", style="dim")


def _result(result: Result) -> Iterator[RenderableType]:
    expected, got, wrong = result.expected, result.got, result.wrong
    if wrong is None:
        what = np.shape(got) if isinstance(got, np.ndarray | tuple | list) else type(got).__name__
        shown = textwrap.shorten(repr(got), 60, placeholder="…")
        yield Text(f"{result.name}: expected shape {np.shape(expected)}, got {what}: {shown}")
        yield _value("expected", expected)
        return
    if expected.ndim == 0:
        yield Text.assemble(f"{result.name}: expected {_number(expected)}, got ", (_number(got), "bold red"))
        return
    count = f"{int(wrong.sum())} of {wrong.size} elements"
    yield Text(f"{result.name}: {count} {'are' if wrong.sum() != 1 else 'is'} wrong")
    if expected.ndim <= 2 and max(expected.shape) <= DRAWN:
        yield Columns([_value("expected", expected), _value("yours (wrong: *)", got, wrong)], padding=(0, 4))
    first = tuple(int(i) for i in np.argwhere(wrong)[0])
    at = ", ".join(map(str, first))
    yield Text(f"the first: [{at}] expected {_number(expected[first])}, got {_number(got[first])}")


def _value(name: str, x: Any, wrong: Array | None = None) -> RenderableType:
    """A small matrix or vector as a table of its numbers, the wrong ones marked by *; anything else in one line."""
    array = np.asarray(x)
    if array.ndim == 0 or isinstance(x, tuple | str):
        return Text(f"{name} = {x!r}")
    if array.ndim > 2 or max(array.shape) > DRAWN:
        return Text(f"{name}: {' x '.join(map(str, array.shape))}", style="dim")
    matrix = np.atleast_2d(array)
    marks = np.zeros(matrix.shape, bool) if wrong is None else np.atleast_2d(wrong)
    grid = Table.grid(*(Column(justify="right") for _ in matrix[0]), padding=(0, 1))
    for row, marked in zip(matrix, marks, strict=True):
        pairs = zip(map(_number, row), marked, strict=True)
        grid.add_row(*(Text(f"{number}*", style="bold red") if bad else Text(f"{number} ") for number, bad in pairs))
    return Group(Text(name, style="dim"), grid if array.size else Text("(empty)", style="dim"))


def _number(x: Any) -> str:
    return f"{float(x):.5g}" if np.asarray(x).dtype.kind in "fiub" else str(x)

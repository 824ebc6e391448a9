"""Runs a learner's file in a process of its own, which exercises.py starts.

From standard input comes a pickled Job. To standard output go pickles, one for each call, in order; whoever reads them
sees by the first that is missing which call crashed or did not end. What the file itself prints goes to standard error.
"""

from __future__ import annotations

import copy
import os
import pickle
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np

from ..backends.user_file import UserFileError, described, load

Way = Literal["returns", "writes", "touches"]


@dataclass(frozen=True)
class Call:
    """One call that is made to the file's function.

    way      how the result comes back: it is returned; it is written to `places`, the numbers of arguments; or what
             counts beside it is the order in which elements of lists of lists are touched
    """

    function: str
    arguments: tuple[Any, ...]
    way: Way = "returns"
    places: tuple[int, ...] = ()


@dataclass(frozen=True)
class Job:
    """A file, and the calls to its functions; where `exercise` is not 0, its timing beside that exercise's others."""

    file: str
    calls: tuple[Call, ...] = ()
    exercise: int = 0
    seconds: float = 0.0


@dataclass(frozen=True)
class Answer:
    """What came of a call: a value; or what went wrong, and its text.

    outcome  "returned", "raised", "missing" (there is no such function), "does-not-build"
    """

    outcome: str
    value: Any = None
    text: str = ""


FLAGS = "-std=c++20 -O2 -Wall"


def cpp_compiler() -> str | None:
    """CXX of the environment, or else the first of the usual ones that is here; None where there is none."""
    named = os.environ.get("CXX")
    return next(filter(shutil.which, [named] if named else ["g++", "clang++", "c++"]), None)


class Touched:
    """A matrix as a list of rows, which notes in which order its elements are first touched."""

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = [list(row) for row in rows]
        self.order: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> _Row:
        self.rows[i]  # an IndexError, as a list would raise
        return _Row(self, i % len(self.rows))

    def touch(self, i: int, j: int) -> None:
        self.order.setdefault((i, j), len(self.order))

    def touches(self) -> np.ndarray[Any, Any]:
        """By element, when it was first touched: 0 for the first; -1 for never."""
        return np.array([[self.order.get((i, j), -1) for j in range(len(row))] for i, row in enumerate(self.rows)])


class _Row:
    def __init__(self, matrix: Touched, i: int) -> None:
        self.matrix, self.i = matrix, i

    def __len__(self) -> int:
        return len(self.matrix.rows[self.i])

    def __getitem__(self, j: int) -> float:
        value = self.matrix.rows[self.i][j]
        self.matrix.touch(self.i, j % len(self))
        return value

    def __setitem__(self, j: int, value: float) -> None:
        self.matrix.rows[self.i][j] = value
        self.matrix.touch(self.i, j % len(self))


def answer(call: Call, function: Callable[..., Any] | None, file: Path) -> Answer:
    """Make the call."""
    if function is None:
        return Answer("missing", text=f"{file.name} has no function {call.function}")
    arguments: Any = copy.deepcopy(call.arguments)
    if call.way == "touches":
        arguments = tuple(Touched(x) for x in arguments)
    try:
        returned = function(*arguments)
    except Exception as error:
        return Answer("raised", text=described(error, file))
    if call.way == "writes":
        values = tuple(arguments[place] for place in call.places)
        return Answer("returned", values[0] if len(values) == 1 else values)
    if call.way == "touches":
        a, b, c = arguments
        return Answer("returned", (np.array(c.rows), a.touches(), b.touches(), c.touches()))
    return Answer("returned", returned)


def run(job: Job, results: BinaryIO) -> None:
    """Do what the job says; an Answer for each call, or the times, go to `results`."""
    file = Path(job.file)
    try:
        named = load(file, flags=FLAGS)
    except UserFileError as error:
        pickle.dump(Answer("does-not-build", text=str(error)), results)
        return
    if job.exercise:
        from .exercises import EXERCISES, time_rivals

        pickle.dump(time_rivals(EXERCISES[job.exercise], named, job.seconds), results)
    for call in job.calls:
        one = answer(call, named(call.function), file)
        try:
            pickled = pickle.dumps(one)
        except Exception as error:  # a value that cannot be sent, such as a generator or a lambda
            kind = type(one.value).__name__
            pickled = pickle.dumps(
                Answer("raised", text=f"{call.function} returned a {kind}, no number or array: {error}")
            )
        results.write(pickled)
        results.flush()


def main() -> None:
    with os.fdopen(os.dup(1), "wb") as results:
        os.dup2(2, 1)
        run(pickle.load(sys.stdin.buffer), results)

"""What runs in the process of a learner's file: calls of its functions, and the race of the loop orders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.user_file import Built, Functions, load
from ..operations.matmul import matmul
from ..timing.turns import Turn, calibrate, run_rounds

ORDERS = ("ijk", "ikj", "jik", "jki", "kij", "kji")
RUNGS = ("python.naive", "python.reordered", "numpy.naive", "cpp.naive", "cpp.reordered", "numpy.matmul")

_loaded: dict[Path, Functions] = {}


class MissingFunctionError(Exception):
    """The file has no function of this name."""


def function_of(path: Path, built: Built, name: str) -> Any:
    """A function of the file, which is loaded once for all calls. Raises MissingFunctionError, UserFileError."""
    if path not in _loaded:
        _loaded[path] = load(path, built)
    function = _loaded[path](name)
    if not callable(function):
        raise MissingFunctionError(f"{path.name} has no function {name}")
    return function


def call(path: Path, built: Built, name: str, arguments: Mapping[str, Any]) -> tuple[Any, Mapping[str, Any]]:
    """Call a function of the file: what it returns, and the arguments after the call."""
    returned = function_of(path, built, name)(*arguments.values())
    if not isinstance(returned, int | float | np.generic | np.ndarray | list | tuple | None):
        raise TypeError(f"{name} returned a {type(returned).__name__}, expected a number or an array")
    return returned, arguments


def race_orders(path: Path, built: Built, seconds: float) -> dict[str, float]:
    """The best time of a 64 x 64 product, in seconds: by each of the learner's loop orders, and by rungs of the ladder.
    All are timed in turn."""
    n = 64
    a, b = (np.random.default_rng(seed).standard_normal((n, n)) for seed in (0, 1))
    rows_a, rows_b = a.tolist(), b.tolist()

    def own(order: str) -> None:
        function_of(path, built, order)(rows_a, rows_b, [[0.0] * n for _ in range(n)])

    turns = [Turn(f"your {order}", partial(own, order)) for order in ORDERS]
    turns += [Turn(id, partial(matmul[id], a, b)) for id in RUNGS]
    for turn in turns:
        turn.read()  # compiles and loads
        calibrate([turn], min(0.01, seconds / 50))  # alone: samples as long as the slowest one's would take too long
    run_rounds(turns, seconds=seconds, least=2)
    return {turn.name: turn.best for turn in turns}


class Watched:
    """A matrix as a list of rows, which records in which order its elements are first touched.

    >>> x = Watched([[1.0, 2.0], [3.0, 4.0]])
    >>> x[1][0] + x[0][0]
    4.0
    >>> x.order()
    array([[ 1, -1],
           [ 0, -1]])
    """

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self.rows = [list(row) for row in rows]
        self._first: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, i: int) -> _Row:
        self.rows[i]  # raises IndexError, as a list does
        return _Row(self, i % len(self.rows))

    def touch(self, i: int, j: int) -> None:
        self._first.setdefault((i, j), len(self._first))

    def order(self) -> np.ndarray[Any, Any]:
        """For each element its place in the order, from 0; -1 for an element that was not touched."""
        return np.array([[self._first.get((i, j), -1) for j in range(len(row))] for i, row in enumerate(self.rows)])


class _Row:
    def __init__(self, matrix: Watched, i: int) -> None:
        self._matrix, self._i = matrix, i

    def __len__(self) -> int:
        return len(self._matrix.rows[self._i])

    def __getitem__(self, j: int) -> float:
        value = self._matrix.rows[self._i][j]
        self._matrix.touch(self._i, j % len(self))
        return value

    def __setitem__(self, j: int, value: float) -> None:
        self._matrix.rows[self._i][j] = value
        self._matrix.touch(self._i, j % len(self))

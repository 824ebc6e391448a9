"""What runs in the process of a learner's file: calls of its functions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.user_file import Built, Functions, load

TOUCHED = "order in which {}'s elements are first touched"

_loaded: dict[Path, Functions] = {}


class MissingFunctionError(Exception):
    """The file has no function of this name."""


def call(
    path: Path, built: Built, name: str, arguments: Mapping[str, Any], by_element: bool = False
) -> tuple[Any, Mapping[str, Any]]:
    """Call a function of the file, which is loaded once: what it returns, and the arguments after the call.

    by_element  whether operations on whole arrays are refused

    Of an argument that is a list of rows, the order in which its elements were touched comes back too. Raises
    MissingFunctionError, UserFileError, TypeError.
    """
    if path not in _loaded:
        _loaded[path] = load(path, built)
    function = _loaded[path](name)
    if not callable(function):
        raise MissingFunctionError(f"{path.name} has no function {name}")
    watched: dict[str, Any] = {n: Watched(x) for n, x in arguments.items() if isinstance(x, list)}
    single = {n: x.view(ByElement) for n, x in arguments.items() if by_element and isinstance(x, np.ndarray)}
    returned = function(*{**arguments, **watched, **single}.values())
    if not isinstance(returned, int | float | np.generic | np.ndarray | list | tuple | None):
        raise TypeError(f"{name} returned a {type(returned).__name__}, expected a number or an array")
    orders = {TOUCHED.format(n): x.order() for n, x in watched.items()}
    return returned, {**arguments, **{n: [list(row) for row in x] for n, x in watched.items()}, **orders}


class ByElement(np.ndarray[Any, Any]):
    """An array for one element at a time: operations on the whole array are the exercise itself.

    >>> x = np.array([1.0, 2.0]).view(ByElement)
    >>> float(x[1] + x[0])
    3.0
    >>> x @ x
    Traceback (most recent call last):
      ...
    TypeError: matmul works on whole arrays: write a loop over the elements x[i]
    """

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **how: Any) -> Any:
        plain = [np.asarray(x) if isinstance(x, ByElement) else x for x in inputs]
        if any(isinstance(x, np.ndarray) and x.ndim for x in plain):
            raise TypeError(f"{ufunc.__name__} works on whole arrays: write a loop over the elements x[i]")
        return getattr(ufunc, method)(*plain, **how)

    def __array_function__(self, function: Any, types: Any, inputs: Any, how: Any) -> Any:
        raise TypeError(f"np.{function.__name__} works on whole arrays: write a loop over the elements x[i]")

    def _whole(self, *_: Any, **__: Any) -> Any:
        raise TypeError("this method works on whole arrays: write a loop over the elements x[i]")

    dot = sum = prod = cumsum = mean = _whole


class Watched(list["_Row"]):
    """A matrix as a list of rows, which records in which order its elements are first touched.

    >>> x = Watched([[1.0, 2.0], [3.0, 4.0]])
    >>> x[1][0] + x[0][0]
    4.0
    >>> x.order()
    array([[ 1, -1],
           [ 0, -1]])
    """

    def __init__(self, rows: Sequence[Sequence[float]]) -> None:
        self._first: dict[tuple[int, int], int] = {}
        super().__init__(_Row(row, i, self._first) for i, row in enumerate(rows))

    def order(self) -> np.ndarray[Any, Any]:
        """For each element its place in the order, from 0; -1 for an element that was not touched."""
        return np.array([[self._first.get((i, j), -1) for j in range(len(row))] for i, row in enumerate(self)])


class _Row(list[float]):
    def __init__(self, values: Sequence[float], i: int, first: dict[tuple[int, int], int]) -> None:
        super().__init__(values)
        self._i, self._first = i, first

    def _touch(self, j: Any) -> None:
        for at in range(len(self))[j] if isinstance(j, slice) else (range(len(self))[j],):
            self._first.setdefault((self._i, at), len(self._first))

    def __getitem__(self, j: Any) -> Any:
        self._touch(j)
        return super().__getitem__(j)

    def __setitem__(self, j: Any, value: Any) -> None:
        self._touch(j)
        super().__setitem__(j, value)

    def __iter__(self) -> Iterator[float]:
        return (self[j] for j in range(len(self)))

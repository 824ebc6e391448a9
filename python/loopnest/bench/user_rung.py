"""A kernel from a user's Python file, as a rung for as long as a comparison needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..backends.user_file import language, load
from ..operation import Implementation, Kernel, Operation
from ..verify.signature import SignatureError, plan, python_form, python_forms


@contextmanager
def rung_from_file(operation: Operation, file: Path | str) -> Iterator[Implementation]:
    """Inside, the file's function with the operation's name is a rung, `file.<the file's name>`.

    operation  such as ln.matmul
    file       a Python file with a function of the operation's name, in one of two forms:

        def matmul(a, b, out): ...     fills the results, as the kernels of operations/ do
        def matmul(a, b): return ...   returns the result, of the inputs' dtype, or a tuple of results

    The arguments are those that the operation's kernels take: arrays, here in C order, and then options, such as GELU's
    `tanh_form`. A function that returns its result may leave the options out.

    Raises ValueError for a file that is missing, cannot be imported, or has no such function, and for a function that
    takes other arguments.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{operation.name}: there is no file {path}; an implementation's id has no / and no .py")
    if language(path) != "python":
        raise ValueError(f"{operation.name}: {path} is no Python file: expected a name that ends in .py")
    function = load(path)(operation.name)
    if not callable(function):
        forms = " or ".join(python_forms(operation))
        raise ValueError(f"{operation.name}: {path} has no function {operation.name}; expected {forms}")
    name = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    taken = {k.id for k in operation.ladder()}
    id = next(id for id in (f"file.{name}", *(f"file.{name}_{n}" for n in range(2, 99))) if id not in taken)
    operation.register(id)(_kernel(operation, function, path))
    try:
        yield operation[id]
    finally:
        operation.unregister(id)


def returned_by(implementation: Implementation) -> Callable[..., Any] | None:
    """A file's function that returns its results, to be called with a kernel's arguments less the results; None for
    every other implementation."""
    function: Callable[..., Any] | None = getattr(implementation.kernel, "returning", None)
    return function


def _kernel(operation: Operation, function: Callable[..., Any], path: Path) -> Kernel:
    try:
        signature = inspect.signature(getattr(function, "py_func", function))
    except ValueError:  # a function of C without a signature, such as np.matmul
        signature = None
    try:
        form = python_form(operation, signature)
    except SignatureError as error:
        raise ValueError(f"{path}: {error}") from None
    known = plan(operation)
    taken = [known.parameters.index(p) for p in form.taken]
    if form.given:
        return function if len(taken) == len(known.parameters) else lambda *args: function(*(args[i] for i in taken))
    places = [i for i, p in enumerate(known.parameters) if p.role == "result"]
    others = [i for i in range(len(known.parameters)) if i not in places]

    def returning(*given: Any) -> Any:
        return function(*given[: len(taken)])

    def kernel(*args: Any) -> None:
        returned = returning(*(args[i] for i in others))
        values = returned if isinstance(returned, tuple) else (returned,)
        if len(values) != len(places):
            raise ValueError(f"{operation.name} in {path} returned {len(values)} results, expected {len(places)}")
        for value, place in zip(values, places, strict=True):
            _same_kind(f"{operation.name} in {path}", value, args[place])
            args[place][...] = value

    kernel.__doc__ = inspect.getdoc(function)
    kernel.returning = function if len(taken) == len(others) else returning  # type: ignore[attr-defined]
    return kernel


def _same_kind(who: str, value: Any, place: np.ndarray[Any, Any]) -> None:
    found = np.asarray(value)
    if found.shape != place.shape or found.dtype != place.dtype:
        raise ValueError(
            f"{who} returned {found.dtype} of shape {found.shape}, expected {place.dtype} of shape {place.shape}"
        )

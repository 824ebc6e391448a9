"""A kernel of the user's, from a Python file, as a rung for as long as it is needed."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..bench.measure import Problem
from ..operation import Implementation, Kernel, Operation


@contextmanager
def rung_from_file(operation: Operation, file: Path | str) -> Iterator[Implementation]:
    """Inside, the file's function named for the operation is a rung of it, `file.<the file's name>`.

    operation  such as ln.matmul
    file       a Python file with a function of the operation's name, in one of two forms:

        def matmul(a, b, out): ...     fills the results: what Operation.register takes
        def matmul(a, b): return ...   returns the result, of the inputs' dtype, or a tuple of the results

    The arguments are those that the operation's kernels take, as in the files of its folder: arrays, in NumPy's C order
    here, and then options, such as GELU's `tanh_form`, which the second form may leave out.

    Raises ValueError for a file that is not there, has no such function, or one that takes other arguments; what the
    file raises when it is imported goes through.
    """
    path = Path(file)
    if not path.is_file():
        raise ValueError(f"{operation.name}: there is no file {path}; an implementation's id has no / and no .py")
    function = getattr(_module(path), operation.name, None)
    if not callable(function):
        raise ValueError(
            f"{operation.name}: {path} has no function {operation.name}; expected {' or '.join(_forms(operation))}"
        )
    name = "".join(letter if letter.isalnum() else "_" for letter in path.stem)
    taken = {k.id for k in operation.ladder()}
    id = next(id for id in (f"file.{name}", *(f"file.{name}_{n}" for n in range(2, 99))) if id not in taken)
    operation.register(id)(_kernel(operation, function, path))
    try:
        yield operation[id]
    finally:
        operation.unregister(id)


def returned_by(implementation: Implementation) -> Callable[..., Any] | None:
    """The function of a file that returns its results, for the arguments of a kernel without the results; else None."""
    function: Callable[..., Any] | None = getattr(implementation.kernel, "returning", None)
    return function


def _module(path: Path) -> Any:
    name = f"loopnest_file_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path} is no Python file: expected one that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where dataclasses and pickle look for it
    spec.loader.exec_module(module)
    return module


def _kernel(operation: Operation, function: Callable[..., Any], path: Path) -> Kernel:
    args, results = _arguments(operation)
    others = [arg for i, arg in enumerate(args) if i not in results]
    arrays = [arg for arg in others if isinstance(arg, np.ndarray)]
    try:
        signature = inspect.signature(getattr(function, "py_func", function))
    except ValueError:  # a function of C that does not tell: as np.matmul, it takes inputs and returns the result
        count = len(arrays)
    else:
        if _fit(signature, args):
            return function
        fitting = [n for n in (len(others), len(arrays)) if results and _fit(signature, others[:n])]
        if not fitting:
            forms = " or ".join(_forms(operation))
            raise ValueError(f"{operation.name}: the function in {path} takes {signature}, expected {forms}")
        count = fitting[0]

    def returning(*others: Any) -> Any:
        return function(*others[:count])

    def kernel(*args: Any) -> None:
        returned = returning(*(arg for i, arg in enumerate(args) if i not in results))
        values = returned if isinstance(returned, tuple) else (returned,)
        if len(values) != len(results):
            raise ValueError(f"{operation.name} in {path} returned {len(values)} results, expected {len(results)}")
        for value, place in zip(values, results, strict=True):
            _same_kind(f"{operation.name} in {path}", value, args[place])
            args[place][...] = value

    kernel.__doc__ = inspect.getdoc(function)
    kernel.returning = function if count == len(others) else returning  # type: ignore[attr-defined]
    return kernel


def _same_kind(who: str, value: Any, place: np.ndarray[Any, Any]) -> None:
    found = np.asarray(value)
    if found.shape != place.shape or found.dtype != place.dtype:
        raise ValueError(
            f"{who} returned {found.dtype} of shape {found.shape}, expected {place.dtype} of shape {place.shape}"
        )


def _fit(signature: inspect.Signature, args: Sequence[Any]) -> bool:
    """Whether a function of this signature can be called with these."""
    try:
        signature.bind(*args)
    except TypeError:
        return False
    return True


def _arguments(operation: Operation) -> tuple[tuple[Any, ...], tuple[int, ...]]:
    """What a kernel gets, in the smallest workload, and which of these are results."""
    problem = Problem.sample(operation, operation.contract.workloads[0], None, {})
    args, results = problem.kernel_arguments()
    return args, places_of(results, args) if not operation.contract.updates else ()


def places_of(results: Sequence[Any], args: Sequence[Any]) -> tuple[int, ...]:
    """Where among a kernel's arguments the results' arrays are."""
    return tuple(
        i
        for i, arg in enumerate(args)
        if isinstance(arg, np.ndarray) and any(np.shares_memory(arg, result) for result in results)
    )


def _forms(operation: Operation) -> list[str]:
    """The two forms in words, by the parameter names of the operation's own kernels."""
    kernel = next(k.kernel for k in operation.ladder() if k.backend in ("python", "numpy"))
    names = list(inspect.signature(inspect.unwrap(kernel)).parameters)
    _, results = _arguments(operation)
    full = f"def {operation.name}({', '.join(names)})"
    if not results:
        return [full]
    rest = [name for i, name in enumerate(names) if i not in results]
    return [full, f"def {operation.name}({', '.join(rest)}): return …"]

"""What a duel needs of its sides: one set of arrays for both, checks of their results, and files of the user's."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import SIMULATED
from ..backends.compiler import FLAGS, Library, exported, preprocessed
from ..backends.user_file import build, language, load
from ..operation import Implementation, Operation, Workload
from ..timing.turns import Turn, seconds_of
from ..verify import compare, compare_all, judge_call, poison_of
from ..verify.c_signature import CForm, bound_to, c_forms, defined
from ..verify.problem import Problem, WrongResult, places_of
from ..verify.signature import SignatureError, as_kernel, plan, public_value, python_form, python_forms

WITNESSES = 64
"""Elements of a result that are looked at after each sample."""

SLOW_REFERENCE = 3.0
"""Seconds of the exact result from which on it is not computed a second time, for other values."""


class Stage:
    """The one set of arrays on which both sides work, and the exact results."""

    def __init__(self, operation: Operation, workload: Workload, dtype: np.dtype[Any]) -> None:
        self.operation, self.workload, self.dtype = operation, workload, dtype

        def sample() -> None:
            self.problem = Problem.sample(operation, workload, dtype=dtype)

        self._seconds_of_reference = seconds_of(sample)
        self.args, self.results = self.problem.kernel_arguments()
        self.updates = operation.contract.updates
        self._places = places_of(self.results, self.args)
        self._originals = {i: self.args[i].copy() for i in self._places} if self.updates else {}
        rng = np.random.default_rng(1)
        self._witnesses = [np.unique(np.append(rng.integers(0, x.size, WITNESSES), x.size - 1)) for x in self.results]

    def turn(self, implementation: Implementation) -> Turn:
        """Before each sample: a call that is not timed, NaN in the witnesses. After it: do they hold the result?"""
        call = functools.partial(implementation.kernel, *self.args)

        def prepare() -> None:
            call()
            self._poison(everywhere=False)

        def check() -> None:
            self._hold(self._witnessed(), implementation.id, "while it was timed")

        return Turn(implementation.id, call, prepare, check)

    def check_before(self, implementation: Implementation) -> float:
        """Hold a side to the contract. Returns the seconds of its first call on these arrays."""
        id, call = implementation.id, functools.partial(implementation.kernel, *self.args)
        self._poison()
        try:
            seconds = seconds_of(call)
        except Exception as error:
            message = f"{self.operation.name} {id} raised {type(error).__name__} at its first call: {error}"
            raise WrongResult(message) from error
        self._hold(self._problems(), id, "at its first call")
        arguments = self.operation.contract.sample(self.workload, self.dtype, np.random.default_rng(0))
        answer = tuple(self.problem.exact), tuple(self.problem.bound)
        self._hold(judge_call(implementation, arguments, None, answer=answer), id, "in a call")
        return seconds

    def check_after(self, turns: Sequence[Turn]) -> None:
        """Check the arrays that were timed, with the values that they have and with others."""
        self._call_once_more(turns, "after it was timed")
        if self._seconds_of_reference <= SLOW_REFERENCE:
            self._change_values()
            self._call_once_more(turns, "with other values in the arrays that were timed: does it remember results?")

    def _call_once_more(self, turns: Sequence[Turn], when: str) -> None:
        for turn in turns:
            self._poison()
            turn.read()
            self._hold(self._problems(), turn.name, when)

    def _poison(self, everywhere: bool = True) -> None:
        """Put NaN into the results, or into their witnesses. Inputs that are updated in place are restored instead."""
        for place, original in self._originals.items():
            self.args[place][...] = original
        for result, witnesses in zip(self.results, self._witnesses, strict=True) if not self.updates else ():
            result.reshape(-1)[slice(None) if everywhere else witnesses] = poison_of(result.dtype)

    def _witnessed(self) -> list[str]:
        """Errors of the witnesses, which held NaN before the sample. Inputs updated in place have none."""
        found: list[str] = []
        for i, result in enumerate(() if self.updates else self.results):
            of = self.problem.exact[i], np.broadcast_to(self.problem.bound[i], self.problem.exact[i].shape)
            value, exact, bound = (np.reshape(x, -1)[self._witnesses[i]] for x in (result, *of))
            found += compare(value, exact, bound, self.problem.dtype, f"of {len(value)} elements, the result")
        return found

    def _problems(self) -> list[str]:
        return compare_all(self.results, self.problem.exact, self.problem.bound, self.problem.dtype)

    def _hold(self, problems: Sequence[str], who: str, when: str) -> None:
        if problems:
            raise WrongResult(f"{self.operation.name} {who} breaks its contract {when}: {problems[0]}")

    def _change_values(self) -> None:
        """Put other values into the inputs, in place, and compute their exact results."""
        other = Problem.sample(self.operation, self.workload, dtype=self.dtype, seed=2)
        values, _ = dataclasses.replace(other, out=self.problem.out).kernel_arguments()
        for i, (old, new) in enumerate(zip(self.args, values, strict=True)):
            if isinstance(old, np.ndarray) and (i not in self._places or self.updates):
                old[...] = new
                if i in self._originals:
                    self._originals[i][...] = new
        self.problem = other


@contextmanager
def rung_from_file(operation: Operation, file: Path | str, dtype: str = "float32") -> Iterator[Implementation]:
    """Inside, a function of a file in Python, C or C++ is a rung, `file.<the file's name>`.

    operation  such as ln.matmul; the function has its name
    file       has a function that fills the results, as the kernels of operations/ do: `def matmul(a, b, out): ...`. It
               takes arrays in C order, and options such as GELU's `approximate`, which it may leave out. C and C++ have
               a function as `loopnest check` takes it, compiled with `compiler.FLAGS`
    dtype      that a function in C or C++ has to take

    Raises ValueError for a file that is missing, cannot be imported or compiled, or has no such function, for a
    function that takes other arguments, and for CUDA C++, whose times on the CPU mean nothing.
    """
    path = Path(file)
    if path.is_file() and language(path) == "cuda":
        raise ValueError(f"{path} is {SIMULATED}; `loopnest check {path}` judges it")
    if path.is_file() and language(path) in ("c", "c++"):
        kernel = _kernel_in_c(operation, path, dtype)
    else:
        kernel = _kernel_in_python(operation, path)
    name, others = re.sub(r"\W", "_", path.stem), [k.id for k in operation]
    free = (f"file.{name}{'' if n == 1 else f'_{n}'}" for n in range(1, len(others) + 2))
    id = next(id for id in free if id not in others)
    operation.register(id)(kernel)
    try:
        yield operation[id]
    finally:
        operation.unregister(id)


def _kernel_in_python(operation: Operation, path: Path) -> Callable[..., Any]:
    expected = python_forms(operation)[0]
    function = load(path)(operation.name)
    if not callable(function):
        raise ValueError(f"{operation.name}: {path} has no function {operation.name}; expected {expected}")
    try:
        form = python_form(operation, inspect.signature(getattr(function, "py_func", function)))
    except SignatureError as error:
        raise ValueError(f"{path}: {error}") from None
    if not form.given:
        raise ValueError(f"{path}: {operation.name} returns its result; expected {expected}, which fills it")
    return as_kernel(operation, form, function)


def _kernel_in_c(operation: Operation, path: Path, dtype: str) -> Callable[..., Any]:
    kind = language(path) or ""
    flags = f"{FLAGS} -fopenmp" if "#pragma omp" in path.read_text(encoding="utf-8", errors="replace") else FLAGS
    made = build(path, flags=flags)
    assert isinstance(made, Library)
    names = (operation.name, f"{operation.name}_kernel")  # C has a function tanh
    function = next(filter(None, (defined(preprocessed(path, kind, flags)[0], name) for name in names)), None)
    if function is None or function.name not in exported(made.file):
        raise ValueError(f"{path} exports no function {operation.name}; expected {c_forms(operation)[0]}")
    try:
        form = bound_to(operation, function)
    except SignatureError as error:
        raise ValueError(f"{path}: {error}") from None
    if form.dtype != dtype:
        raise ValueError(
            f"{path}: {function.name} takes {form.dtype}, and the duel is in {dtype}: choose it by --dtype"
        )
    compiled = getattr(ctypes.CDLL(str(made.file)), function.name)
    compiled.argtypes = [ctypes.c_void_p if a.kind == "array" else getattr(ctypes, a.c_type) for a in form.arguments]
    compiled.restype = getattr(ctypes, form.returned) if form.returned else None
    return _called_with_arrays(operation, form, compiled)


PRIMES = (5, 7, 11, 13)


def _called_with_arrays(operation: Operation, form: CForm, function: Callable[..., Any]) -> Callable[..., Any]:
    """A C function of this form, to be called as the operation's kernels are."""
    known, axes = plan(operation), list(operation.contract.workloads[0].shape)
    lengths = dict(zip(axes, PRIMES, strict=False))
    workload = operation.workload("x".join(map(str, lengths.values())))
    args, _ = Problem.sample(operation, workload, dtype=np.dtype(form.dtype)).kernel_arguments()
    places = [(i, d) for i, x in enumerate(args) if isinstance(x, np.ndarray) for d in range(x.ndim)]
    place_of = {axis: next((p for p in places if args[p[0]].shape[p[1]] == n), (0, 0)) for axis, n in lengths.items()}
    scalars = [i for i, p in enumerate(known.parameters) if p.role == "scalar"]
    (result,) = (i for i, p in enumerate(known.parameters) if p.role == "result") if form.returned else (0,)

    def kernel(*args: Any) -> None:
        def value(kind: str, what: Any) -> Any:
            if kind == "array":
                return args[what].ctypes.data
            if kind == "size":
                return args[0].size if what == "*" else args[place_of[what][0]].shape[place_of[what][1]]
            if kind == "stride":
                return args[what[0]].strides[what[1]] // args[what[0]].itemsize
            if kind == "option":
                return public_value(what, {known.parameters[i].name: args[i] for i in scalars})
            return args[scalars[what]]

        returned = function(*(value(a.kind, a.what) for a in form.arguments))
        if form.returned:
            args[result][...] = returned

    return kernel

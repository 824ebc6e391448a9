"""What an operation's kernels take, found by a call to a kernel which only looks at its arguments; and the forms of a
Python function that may take their place.

>>> import loopnest as ln
>>> [p.name for p in plan(ln.matmul).parameters]
['a', 'b', 'c']
>>> python_forms(ln.matmul)
['def matmul(a, b, c)', 'def matmul(a, b): return …']
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..operation import Arguments, Operation
from . import arrays_in
from .problem import Problem, places_of


class SignatureError(ValueError):
    """A function that cannot be called as the operation is; the message says what was expected."""


@dataclass(frozen=True)
class Parameter:
    """What a kernel takes at one place.

    role    "input", "result", an input that is "updated" in place, or a "scalar"
    number  which of the inputs, results or scalars it is
    dtype   of the arrays: "" where it is the operation's own, else "int64"; of scalars "bool", "int" or "float"
    axes    how many an array has
    """

    name: str
    role: Literal["input", "result", "updated", "scalar"]
    number: int
    dtype: str
    axes: int = 0


@dataclass(frozen=True)
class Plan:
    """An operation's kernels' parameters.

    joined   whether the operation's own kernels get arrays as rows, which submissions get as they are
    defaults the scalars' values in an ordinary call
    """

    parameters: tuple[Parameter, ...]
    joined: bool
    defaults: tuple[Any, ...]

    @property
    def arrays(self) -> list[Parameter]:
        return [p for p in self.parameters if p.role != "scalar"]

    def of(self, *roles: str) -> list[Parameter]:
        return [p for p in self.parameters if p.role in roles]


@functools.cache
def plan(operation: Operation) -> Plan:
    """Found by a call that is made to a kernel which only looks at what it gets."""
    contract = operation.contract
    problem = Problem.sample(operation, contract.workloads[0], None, {})
    args, results = problem.kernel_arguments()
    kernel = next(k.kernel for k in operation.ladder() if k.backend in ("python", "numpy"))
    names = list(inspect.signature(inspect.unwrap(kernel)).parameters)
    leaves = arrays_in(problem.inputs)
    found: list[Parameter] = []
    places = places_of(results, args)
    joined = False
    for i, (name, arg) in enumerate(zip(names, args, strict=True)):
        if not isinstance(arg, np.ndarray):
            kind = type(arg).__name__
            found.append(Parameter(name, "scalar", sum(p.role == "scalar" for p in found), kind))
            continue
        leaf = next((n for n, x in enumerate(leaves) if np.shares_memory(x, arg)), None)
        dtype = "" if arg.dtype == problem.dtype else str(arg.dtype)
        if leaf is not None:
            role: Literal["input", "updated"] = "updated" if i in places else "input"
            found.append(Parameter(name, role, leaf, dtype, leaves[leaf].ndim))
            joined |= leaves[leaf].shape != arg.shape
        else:
            result = next(n for n, x in enumerate(results) if np.shares_memory(x, arg))
            found.append(Parameter(name, "result", result, dtype, results[result].ndim))
    scalars = tuple(arg for arg in args if not isinstance(arg, np.ndarray))
    return Plan(tuple(found), joined, scalars)


def scalars(operation: Operation, arguments: Arguments) -> tuple[Any, ...]:
    """The numbers that a kernel gets in this call, such as GELU's form."""
    known = plan(operation)
    if not known.defaults:
        return ()
    calls: list[tuple[Any, ...]] = []
    operation.contract.run(lambda *args: calls.append(args), *arguments.inputs, **arguments.options)
    if not calls:
        return known.defaults
    return tuple(arg for arg in calls[0] if not isinstance(arg, np.ndarray))


def python_forms(operation: Operation) -> list[str]:
    """The two forms of a Python function, in words."""
    known = plan(operation)
    full = f"def {operation.name}({', '.join(p.name for p in known.parameters)})"
    if not known.of("result"):
        return [full]
    rest = [p.name for p in known.parameters if p.role != "result"]
    return [full, f"def {operation.name}({', '.join(rest)}): return …"]


@dataclass(frozen=True)
class PythonForm:
    """How a Python function is called: whether it is given arrays for its results, and which arguments it takes."""

    given: bool
    taken: tuple[Parameter, ...]

    @property
    def takes_options(self) -> bool:
        """Whether it takes the operation's options, such as GELU's form, and so has to heed them."""
        return any(p.role == "scalar" for p in self.taken)


def python_form(operation: Operation, signature: inspect.Signature | None) -> PythonForm:
    """How to call a Python function of this signature; with the inputs alone where it has none, as NumPy's functions.

    Raises SignatureError for a function that takes other arguments.
    """
    known = plan(operation)
    inputs, others = known.of("input", "updated"), [p for p in known.parameters if p.role != "result"]
    if signature is None:
        return PythonForm(not known.of("result"), tuple(inputs))
    ways: list[tuple[bool, Sequence[Parameter]]] = [(True, known.parameters)]
    if known.of("result"):
        ways += [(True, known.arrays), (False, others), (False, inputs)]
    fitting = [way for way in ways if _accepts(signature, way[1])]
    if not fitting:
        forms = " or ".join(python_forms(operation))
        raise SignatureError(f"{operation.name} takes {signature}, expected {forms}")

    def names_in_common(way: tuple[bool, Sequence[Parameter]]) -> int:
        return sum(p.name == name for p, name in zip(way[1], signature.parameters, strict=False))

    given, taken = max(fitting, key=names_in_common)  # gelu(x, tanh_form) takes no `out`
    return PythonForm(given, tuple(taken))


def _accepts(signature: inspect.Signature, arguments: Sequence[Any]) -> bool:
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True

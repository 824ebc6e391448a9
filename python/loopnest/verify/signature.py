"""What an operation's kernels take, found by a call to a kernel which only looks at its arguments; and how functions in
Python that may take their place are called.

>>> import loopnest as ln
>>> [p.name for p in plan(ln.matmul).parameters]
['a', 'b', 'c']
>>> python_forms(ln.matmul)
['def matmul(a, b, out)', 'def matmul(a, b): return c']
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
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
    kernel = next(k.kernel for k in operation if k.backend in ("python", "numpy"))
    names = list(inspect.signature(inspect.unwrap(kernel)).parameters)
    inputs, updated = arrays_in(problem.inputs), places_of(results, args) if contract.updates else ()
    found: list[Parameter] = []
    scalars: list[Any] = []
    joined = False
    for i, (name, arg) in enumerate(zip(names, args, strict=True)):
        if not isinstance(arg, np.ndarray):
            found.append(Parameter(name, "scalar", len(scalars), type(arg).__name__))
            scalars.append(arg)
            continue
        role: Literal["input", "updated", "result"] = "updated" if i in updated else "input"
        array = next(((n, x) for n, x in enumerate(inputs) if np.shares_memory(x, arg)), None)
        if array is None:
            role, array = "result", next((n, x) for n, x in enumerate(results) if np.shares_memory(x, arg))
        joined |= role != "result" and array[1].shape != arg.shape
        dtype = "" if arg.dtype == problem.dtype else str(arg.dtype)
        found.append(Parameter(name, role, array[0], dtype, array[1].ndim))
    return Plan(tuple(found), joined, tuple(scalars))


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


def options(operation: Operation, arguments: Arguments) -> dict[str, Any]:
    """The options of this call by their public names, such as `approximate`: as they are given, or their defaults."""
    found = {name: p.default for name, p in _public(operation).items() if p.default is not p.empty}
    for value in filter(dataclasses.is_dataclass, arguments.inputs):  # a cache keeps GELU's form
        found |= {name: x for name, x in vars(value).items() if not isinstance(x, np.ndarray)}
    return found | dict(arguments.options)


NOT_A_KERNELS = ("out", "out_dtype", "scale_a", "scale_b", "impl")
"""The options that say where and what a result is: a kernel sees the result's array. Scales are not asked for."""


def _public(operation: Operation) -> dict[str, inspect.Parameter]:
    """The operation's options, as its own signature has them."""
    parameters = inspect.signature(operation).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and n not in NOT_A_KERNELS}


@functools.cache
def sampled(operation: Operation) -> Arguments:
    return operation.contract.sample(operation.contract.workloads[0], np.dtype(np.float32), np.random.default_rng(0))


@functools.cache
def records(operation: Operation) -> Mapping[str, Mapping[str, Parameter | str]]:
    """Public arguments that hold several arrays: for each what its attributes are, such as those of mlp_backward's
    cache."""
    inputs = {p.number: p for p in plan(operation).of("input")}
    found: dict[str, dict[str, Parameter | str]] = {}
    number = 0
    for name, value in zip(inspect.signature(operation).parameters, sampled(operation).inputs, strict=False):
        if not dataclasses.is_dataclass(value):
            number += 1
            continue
        found[name] = {}
        for attribute, x in vars(value).items():
            found[name][attribute] = inputs[number] if isinstance(x, np.ndarray) else attribute
            number += isinstance(x, np.ndarray)
    return found


def left_out(operation: Operation, taken: Set[str]) -> list[str]:
    """The options that a function has to take, with a default or without one, and does not: without them it could not
    compute what it is asked for."""
    derived = {p.name for p in plan(operation).of("scalar")} - set(_public(operation))
    given = options(operation, sampled(operation))
    return [
        name
        for name, p in _public(operation).items()
        if name not in taken and p.default != given[name] and not (derived and derived <= taken)
    ]


def asked_variations(operation: Operation, taken: Set[str]) -> frozenset[str]:
    """The contract's variations that differ in something which a function takes."""
    before = sampled(operation)
    found = set()
    for name, change in operation.contract.variations.items():
        after = change(before)
        numbers = zip(plan(operation).of("scalar"), scalars(operation, before), scalars(operation, after), strict=True)
        kernels = {p.name for p, x, y in numbers if x != y}
        old = options(operation, before)
        public = {option for option, x in options(operation, after).items() if x != old[option]}
        if public <= taken or (kernels and kernels <= taken):
            found.add(name)
    return frozenset(found)


def python_forms(operation: Operation) -> list[str]:
    """The two forms of a Python function, in words."""
    known, names = plan(operation), _public(operation)
    extra = {name for record in records(operation).values() for name, x in record.items() if isinstance(x, str)}
    rest = [f"{n}={p.default!r}" for n, p in names.items() if p.default is not p.empty] + [f"{n}='tanh'" for n in extra]
    rest = [n for n, p in names.items() if p.default is p.empty] + rest
    results = [p.name for p in known.of("result")]
    inputs = [p.name for p in known.parameters if p.role in ("input", "updated")]
    given = ["out"] if len(results) == 1 else results
    full = f"def {operation.name}({', '.join([*inputs, *given, *rest])})"
    returned = f"def {operation.name}({', '.join([*inputs, *rest])}): return {', '.join(results) or '…'}"
    return [full, returned] if results else [full]


@dataclass(frozen=True)
class PythonForm:
    """How a Python function is called: whether it is given arrays for its results, and which arguments it takes.

    taken     for each argument in order a parameter of the plan, or the public name of an option or of a record
    keywords  the same of those that are given by name
    """

    given: bool
    taken: tuple[Parameter | str, ...]
    keywords: Mapping[str, Parameter | str] = field(default_factory=dict)

    def options(self, operation: Operation) -> frozenset[str]:
        """The options that it takes, such as GELU's form, and so has to heed."""
        names = set()
        for source in (*self.taken, *self.keywords.values()):
            if isinstance(source, str):
                names |= {x for x in records(operation).get(source, {source: source}).values() if isinstance(x, str)}
            elif source.role == "scalar":
                names.add(source.name)
        return frozenset(names)


def python_form(operation: Operation, signature: inspect.Signature | None) -> PythonForm:
    """How to call a Python function of this signature; with the inputs alone where it has none, as NumPy's functions.

    Arguments are matched by name, the public ones (`out`, `approximate`, `step`) or those of the operation's kernels
    (`c`, `tanh_form`, `correction1`); the others by their order: inputs, results, numbers. A parameter that has a
    default and an unknown name keeps its default.

    Raises SignatureError for a function that takes other arguments.
    """
    known = plan(operation)
    inputs = known.of("input", "updated")
    if signature is None:
        return PythonForm(not known.of("result"), tuple(inputs))
    several = signature.parameters.values()
    parameters = [p for p in several if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    found = _matched(operation, parameters)
    if any(p.kind is p.VAR_POSITIONAL for p in several):  # it takes all that is left
        rest = [p for p in known.parameters if p not in found.values()]
        parameters += [inspect.Parameter(f"_{i}", inspect.Parameter.POSITIONAL_ONLY) for i in range(len(rest))]
        found |= {f"_{i}": p for i, p in enumerate(rest)}
    sources = list(found.values())
    held = [x for s in sources if isinstance(s, str) for x in records(operation).get(s, {}).values()]
    results = sum(r in sources for r in known.of("result"))
    missing = [p.name for p in parameters if p.name not in found and p.default is p.empty]
    form = PythonForm(bool(results) or not known.of("result"), *_passed(parameters, found))
    wrong = missing or [p.name for p in inputs if p not in sources and p not in held]
    if wrong or results not in (0, len(known.of("result"))):
        forms = " or ".join(python_forms(operation))
        raise SignatureError(f"{operation.name} takes {signature}, expected {forms}")
    hold_options(operation, form.options(operation), f"{operation.name}{signature}", python_forms(operation)[0])
    return form


def as_kernel(operation: Operation, form: PythonForm, function: Callable[..., Any]) -> Callable[..., Any]:
    """A Python function of this form, to be called as the operation's kernels are."""
    known, own = plan(operation).parameters, records(operation)
    if form.taken == known:
        return function

    def kernel(*args: Any) -> Any:
        numbers = {p.name: x for p, x in zip(known, args, strict=True) if p.role == "scalar"}

        def value(source: Parameter | str) -> Any:
            if isinstance(source, Parameter):
                return args[known.index(source)]
            if source in own:
                return types.SimpleNamespace(**{name: value(inner) for name, inner in own[source].items()})
            return public_value(source, numbers)

        return function(*map(value, form.taken), **{name: value(source) for name, source in form.keywords.items()})

    return kernel


def public_value(option: str, numbers: Mapping[str, Any]) -> Any:
    """An option's value, by what the kernels get of it: GELU's form, and Adam's corrections 1 - beta^step."""
    if option == "approximate":
        return "tanh" if numbers["tanh_form"] else "none"
    if option in ("step", "bias_correction"):
        corrected = numbers["correction1"] != 1
        if option == "bias_correction":
            return corrected
        return round(math.log1p(-numbers["correction1"]) / math.log(numbers["beta1"])) if corrected else 1
    return numbers[option]


def hold_options(operation: Operation, taken: Set[str], function: str, expected: str) -> None:
    """Raises SignatureError for a function that leaves out what it needs, such as the learning rate."""
    if missing := left_out(operation, taken):
        raise SignatureError(f"{function} does not take {' and '.join(missing)}, expected {expected}")


def _matched(operation: Operation, parameters: Sequence[inspect.Parameter]) -> dict[str, Parameter | str]:
    """What each of these is given, by its name, or else by its place; those without an entry keep their defaults."""
    known = plan(operation)
    numbers = {p.name: p for p in known.of("scalar")}
    inputs, results = known.of("input", "updated"), known.of("result")
    names = [p.name for p in parameters]
    held = [x for name in names for x in records(operation).get(name, {}).values()]
    options: Mapping[str, Parameter | str] = {
        **{x: x for record in records(operation).values() for x in record.values() if isinstance(x, str)},
        **numbers,
        **{name: name for name in (*_public(operation), *records(operation))},
    }
    found: dict[str, Parameter | str] = {name: options[name] for name in names if name in options}
    wanted = {p.name: p for p in inputs if p not in held}
    left = [p for p in parameters if p.name not in found]
    if wanted.keys() <= set(names):
        found |= wanted
    else:  # names of inputs may mean others here: mse(x, y) has y as its second
        found |= dict(zip((p.name for p in left), wanted.values(), strict=False))
    outs = {p.name: p for p in results} | ({"out": results[0]} if len(results) == 1 else {})
    found |= {p.name: outs[p.name] for p in left if p.name not in found and p.name in outs}
    rest = [p for p in results if p not in found.values()]
    rest += [p for p in numbers.values() if p.name not in found and p not in found.values()]
    unknown = [p.name for p in left if p.name not in found and p.default is p.empty]
    if len(unknown) in (len(rest), sum(p.role == "result" for p in rest)):
        found |= dict(zip(unknown, rest, strict=False))
    return {name: found[name] for name in names if name in found}


def _passed(
    parameters: Sequence[inspect.Parameter], found: Mapping[str, Parameter | str]
) -> tuple[tuple[Parameter | str, ...], dict[str, Parameter | str]]:
    """The arguments that are given by their place, and those that are given by name: after one that is left out."""
    taken: list[Parameter | str] = []
    keywords: dict[str, Parameter | str] = {}
    for place, p in enumerate(parameters):
        if p.name not in found:
            continue
        if len(taken) == place and p.kind is not p.KEYWORD_ONLY:
            taken.append(found[p.name])
        else:
            keywords[p.name] = found[p.name]
    return tuple(taken), keywords

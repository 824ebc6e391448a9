"""What an operation's kernels take, found by a call to a kernel which only looks at its arguments; and how functions in
Python and in C that may take their place are called.

>>> import loopnest as ln
>>> [p.name for p in plan(ln.matmul).parameters]
['a', 'b', 'c']
>>> python_forms(ln.matmul)
['def matmul(a, b, c)', 'def matmul(a, b): return …']
>>> f = defined("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}", "matmul")
>>> bound_to(ln.matmul, f).dtype
'float32'
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
import re
import tomllib
import types
from collections.abc import Callable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from ..backends.cuda_source import parameter_of, without_comments
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


def _public(operation: Operation) -> dict[str, inspect.Parameter]:
    """The operation's options, as its own signature has them."""
    parameters = inspect.signature(operation).parameters
    return {n: p for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY and n not in ("out", "impl")}


@functools.cache
def _sample(operation: Operation) -> Arguments:
    return operation.contract.sample(operation.contract.workloads[0], np.dtype(np.float32), np.random.default_rng(0))


@functools.cache
def records(operation: Operation) -> Mapping[str, Mapping[str, Parameter | str]]:
    """Public arguments that hold several arrays: for each what its attributes are, such as those of mlp_backward's
    cache."""
    inputs = {p.number: p for p in plan(operation).of("input")}
    found: dict[str, dict[str, Parameter | str]] = {}
    number = 0
    for name, value in zip(inspect.signature(operation).parameters, _sample(operation).inputs, strict=False):
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
    given = options(operation, _sample(operation))
    return [
        name
        for name, p in _public(operation).items()
        if name not in taken and p.default != given[name] and not (derived and derived <= taken)
    ]


def asked_variations(operation: Operation, taken: Set[str]) -> frozenset[str]:
    """The contract's variations that differ in something which a function takes."""
    before = _sample(operation)
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
    _hold_options(operation, form.options(operation), f"{operation.name}{signature}", python_forms(operation)[0])
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
            return _public_value(source, numbers)

        return function(*map(value, form.taken), **{name: value(source) for name, source in form.keywords.items()})

    return kernel


def _public_value(option: str, numbers: Mapping[str, Any]) -> Any:
    """An option's value, by what the kernels get of it: GELU's form, and Adam's corrections 1 - beta^step."""
    if option == "approximate":
        return "tanh" if numbers["tanh_form"] else "none"
    if option in ("step", "bias_correction"):
        corrected = numbers["correction1"] != 1
        if option == "bias_correction":
            return corrected
        return round(math.log1p(-numbers["correction1"]) / math.log(numbers["beta1"])) if corrected else 1
    return numbers[option]


def _hold_options(operation: Operation, taken: Set[str], function: str, expected: str) -> None:
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


# --- C functions

DTYPES = {"float": "float32", "double": "float64"}

_names = tomllib.loads((Path(__file__).parent / "c_names.toml").read_text(encoding="utf-8"))

INTEGERS: Mapping[str, str] = {name: c_type for c_type, names in _names["integers"].items() for name in names}
SIZES: Mapping[str, list[str]] = _names["sizes"]

DEFAULT_ORDER = {"matmul": "mnk", "linear": "mnk"}
"""The order of sizes without a known name: BLAS's; for other operations the order of the workloads' axes."""


@dataclass(frozen=True)
class CFunction:
    """A function's definition in C: the returned type, and for each parameter its type and its name."""

    name: str
    returns: str
    parameters: tuple[tuple[str, str], ...]
    line: int

    def __str__(self) -> str:
        inside = ", ".join(f"{kind} {name}".strip() for kind, name in self.parameters)
        return f"{self.returns} {self.name}({inside})"


class CArgument(NamedTuple):
    """What a parameter of a C function takes, its C type, and its name.

    what  of an array its number among the plan's parameters; of a size the axis; of a stride both; of a scalar its
          number among the plan's scalars; of an option its public name
    """

    kind: Literal["array", "size", "stride", "scalar", "option"]
    what: Any
    c_type: str
    name: str


@dataclass(frozen=True)
class CForm:
    """How a C function is called: with which arguments; and the C type of a result that is returned and not written."""

    dtype: str
    arguments: tuple[CArgument, ...]
    returned: str = ""

    @property
    def strided(self) -> bool:
        return any(a.kind == "stride" for a in self.arguments)

    def options(self, operation: Operation) -> frozenset[str]:
        """The options that it takes, and so has to heed."""
        numbers = plan(operation).of("scalar")
        taken = (a for a in self.arguments if a.kind in ("scalar", "option"))
        return frozenset(numbers[a.what].name if a.kind == "scalar" else a.what for a in taken)


_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|\[\[.*?\]\]|alignas\s*\(.*?\)", re.S)


def defined(source: str, name: str) -> CFunction | None:
    """The definition of the function of this name in a text of C or C++, or None where there is none. Of several it is
    the one with C's linkage."""
    text = _ATTRIBUTE.sub(lambda m: "\n" * m[0].count("\n"), without_comments(source))
    for alias, meaning in _aliases(text).items():
        text = re.sub(rf"\b{re.escape(alias)}\b", meaning, text)
    text = re.sub(r"^[ \t]*#.*", "", text, flags=re.M)
    inside = r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)"
    pattern = rf"([\w\s*]*)\b{re.escape(name)}\s*{inside}\s*(?:noexcept\s*)?(?:->([\w\s*]*))?\{{"
    several = list(re.finditer(pattern, text))
    if not several:
        return None
    found = next((m for m in several if re.search(r'extern\s*"C"\s*$', text[: m.start()])), several[0])
    skipped = ("extern", "inline", "static", "auto", "constexpr", "__global__", "__inline", "__extension__")
    words = [w for w in re.findall(r"\w+|\*", found[3] or found[1]) if w not in skipped]
    parameters = tuple(_parameter(part) for part in map(str.strip, found[2].split(",")) if part not in ("", "void"))
    return CFunction(name, " ".join(words) or "void", parameters, text.count("\n", 0, found.end(1)) + 1)


def _aliases(text: str) -> dict[str, str]:
    """Names that stand for a number's type, or for a pointer to one: typedef, using, #define."""
    patterns = (
        (r"\btypedef\s+([\w\s:*]+?)\b(\w+)\s*;", 1, 2),
        (r"\busing\s+(\w+)\s*=\s*([\w\s:*]+?)\s*;", 2, 1),
        (r"#[ \t]*define[ \t]+(\w+)[ \t]+([\w \t*]+?)[ \t]*$", 2, 1),
    )
    said = ((m.start(), m[meaning], m[name]) for p, meaning, name in patterns for m in re.finditer(p, text, re.M))
    found: dict[str, str] = {}
    for _, meaning, name in sorted(said):
        meant = re.sub(r"\w+", lambda word: found.get(word[0], word[0]), meaning)
        if _parameter(meant + " x")[0].rstrip("*") in {*DTYPES, *INTEGERS}:
            found[name] = meant
    return found


def _parameter(text: str) -> tuple[str, str]:
    """Type and name; a pointer is its target's type and a *."""
    p = parameter_of(re.sub(r"(\s*\[[^]]*\])+$", "[]", text))  # const float a[restrict m][k], too
    kind, name = p.type.removeprefix("std::"), p.name
    if f"{kind} {name}".strip() in {*DTYPES, *INTEGERS}:  # it has no name
        kind, name = f"{kind} {name}".strip(), ""
    return kind + "*" * p.pointer, name


def bound_to(operation: Operation, function: CFunction) -> CForm:
    """How to call a C function as the operation. Raises SignatureError where its parameters cannot be that."""
    known = plan(operation)
    arrays = known.of("input", "result", "updated")
    pointers = [(place, kind[:-1]) for place, (kind, _) in enumerate(function.parameters) if kind.endswith("*")]
    results = known.of("result")
    returned = ""
    if function.returns in DTYPES and len(results) == 1 and not results[0].axes and len(pointers) == len(arrays) - 1:
        arrays, returned = known.of("input", "updated"), f"c_{function.returns}"
    dtypes = {DTYPES.get(kind) for (_, kind), p in zip(pointers, arrays, strict=False) if not p.dtype}
    integers = {INTEGERS.get(kind) for (_, kind), p in zip(pointers, arrays, strict=False) if p.dtype}
    fits = len(pointers) == len(arrays) and (returned != "" or function.returns == "void")
    fits = fits and dtypes in ({"float32"}, {"float64"}) and integers <= {"c_long", "c_longlong"}
    placed = {place: p for (place, _), p in zip(pointers, arrays, strict=False)}
    arguments = _with_numbers(operation, function, placed) if fits else [None]
    if None in arguments:
        forms = "\n  ".join(c_forms(operation))
        text = f"{function}\ncannot be called as {operation.name}. Expected\n  {forms}\nor the same with double"
        raise SignatureError(text)
    form = CForm(str(dtypes.pop()), tuple(filter(None, arguments)), returned)
    _hold_options(operation, form.options(operation), f"{function}\n", f"\n  {c_forms(operation)[0]}")
    return form


def _with_numbers(operation: Operation, function: CFunction, placed: Mapping[int, Parameter]) -> list[CArgument | None]:
    """What each parameter takes: arrays where they are placed; strides, sizes and scalars by their names; sizes without
    a known name by their order. None for a parameter that stays unknown."""
    known, axes = plan(operation), list(operation.contract.workloads[0].shape)
    strides = {
        name: (known.parameters.index(p), axis)
        for place, p in placed.items()
        for axis in range(p.axes)
        for name in _stride_names(function.parameters[place][1], axis, p.axes)
    }
    numbers = {p.name: p.number for p in known.of("scalar")}
    public = {n for n, x in options(operation, _sample(operation)).items() if isinstance(x, int | float)}
    found: list[CArgument | None] = []
    named: list[str] = []
    for place, (kind, name) in enumerate(function.parameters):
        integer, real = INTEGERS.get(kind), f"c_{kind}" if kind in DTYPES else None
        axis = next((a for a in axes if a not in named and name in (a, a.upper(), *SIZES.get(a, ()))), None)
        if place in placed:
            found.append(CArgument("array", known.parameters.index(placed[place]), "pointer", name))
        elif name in numbers and (integer or real):
            found.append(CArgument("scalar", numbers[name], integer or real or "", name))
        elif name in public and (integer or real):
            found.append(CArgument("option", name, integer or real or "", name))
        elif integer and name.lower() in strides:
            found.append(CArgument("stride", strides[name.lower()], integer, name))
        elif integer and axis is not None:
            named.append(axis)
            found.append(CArgument("size", axis, integer, name))
        else:
            found.append(None)
    unnamed = [i for i, (kind, _) in enumerate(function.parameters) if found[i] is None and kind in INTEGERS]
    sizes = [i for i, entry in enumerate(found) if i in unnamed or (entry and entry.kind == "size")]
    rest = [axis for axis in DEFAULT_ORDER.get(operation.name, axes) if axis not in named]
    if known.joined and len(axes) == 2 and len(sizes) == 1:
        unnamed, rest = sizes, ["*"]
    if len(unnamed) == len(rest):
        for i, axis in zip(unnamed, rest, strict=True):
            kind, name = function.parameters[i]
            found[i] = CArgument("size", axis, INTEGERS[kind], name)
    taken = {entry.what for entry in found if entry and entry.kind == "scalar"}
    reals = [i for i, (kind, _) in enumerate(function.parameters) if found[i] is None and kind in DTYPES]
    left = [p for p in known.of("scalar") if p.dtype == "float" and p.number not in taken]
    if len(reals) == len(left):
        for i, p in zip(reals, left, strict=True):
            kind, name = function.parameters[i]
            found[i] = CArgument("scalar", p.number, f"c_{kind}", name)
    return found


def _stride_names(name: str, axis: int, axes: int) -> list[str]:
    """What a stride of this array along an axis may be called: a_row_stride, a_rs, rs_a, row_stride_a, lda, …"""
    name, word = name.lower(), "col" if axis == axes - 1 and axes > 1 else "row"
    short = f"{word[0]}s"
    names = [f"{name}_{word}_stride", f"{name}_{word}", f"{word}_stride_{name}", f"{name}_{short}", f"{short}_{name}"]
    if axis == axes - 2:
        names += [f"ld{name}", f"{name}_ld"]
    return names + [f"{name}_stride", f"inc{name}", f"stride_{name}"] * (axes == 1)


def c_forms(operation: Operation, dtype: str = "float") -> list[str]:
    """The C forms in words: contiguous arrays, and with strides where the arrays have rows and columns."""
    known, axes = plan(operation), list(operation.contract.workloads[0].shape)
    taken = {p.name for p in known.parameters}
    order = [a if a not in taken else SIZES[a][0] for a in DEFAULT_ORDER.get(operation.name, axes)]
    scalars = [f"{ {'bool': 'int', 'int': 'long', 'float': 'double'}[p.dtype] } {p.name}" for p in known.of("scalar")]
    forms = []
    for strided in (False, True) if any(p.axes for p in known.parameters) else (False,):
        found = []
        for p in known.arrays:
            found.append(f"{'const ' if p.role == 'input' else ''}{'long' if p.dtype else dtype}* {p.name}")
            strides = {1: ["stride"], 2: ["row_stride", "col_stride"]}.get(p.axes, [])
            found += [f"long {p.name}_{stride}" for stride in strides if strided]
        sizes = ["n"] if known.joined and not strided else order
        found += [*(f"long {size}" for size in sizes), *scalars]
        forms.append(f'extern "C" void {operation.name}({", ".join(found)})')
    return forms

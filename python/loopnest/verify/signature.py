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

import contextlib
import functools
import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    fitting = []
    for given, arguments in ways:
        with contextlib.suppress(TypeError):
            signature.bind(*arguments)
            fitting.append((given, arguments))
    if not fitting:
        forms = " or ".join(python_forms(operation))
        raise SignatureError(f"{operation.name} takes {signature}, expected {forms}")

    common = [sum(p.name == name for p, name in zip(way[1], signature.parameters, strict=False)) for way in fitting]
    given, taken = fitting[int(np.argmax(common))]  # gelu(x, tanh_form) takes no `out`
    return PythonForm(given, tuple(taken))


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
          number among the plan's scalars
    """

    kind: Literal["array", "size", "stride", "scalar"]
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

    @property
    def takes_options(self) -> bool:
        return any(a.kind == "scalar" for a in self.arguments)


_ATTRIBUTE = re.compile(r"__attribute__\s*\(\((?:[^()]|\([^()]*\))*\)\)|\[\[.*?\]\]|alignas\s*\(.*?\)", re.S)


def defined(source: str, name: str) -> CFunction | None:
    """The definition of the function of this name in a text of C or C++; None where there is none."""
    text = _ATTRIBUTE.sub(lambda m: "\n" * m[0].count("\n"), without_comments(source))
    for alias, meaning in _aliases(text).items():
        text = re.sub(rf"\b{re.escape(alias)}\b", meaning, text)
    text = re.sub(r"^[ \t]*#.*", "", text, flags=re.M)
    inside = r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)"
    found = re.search(rf"([\w\s*]*)\b{re.escape(name)}\s*{inside}\s*(?:noexcept\s*)?\{{", text)
    if found is None:
        return None
    words = [w for w in re.findall(r"\w+|\*", found[1]) if w not in ("extern", "inline", "static", "__global__")]
    parameters = tuple(_parameter(part) for part in map(str.strip, found[2].split(",")) if part not in ("", "void"))
    return CFunction(name, " ".join(words) or "void", parameters, text.count("\n", 0, found.end(1)) + 1)


def _aliases(text: str) -> dict[str, str]:
    """Names that stand for a number's type: typedef, using, #define."""
    kind = "|".join(map(re.escape, sorted({*DTYPES, *INTEGERS}, key=len, reverse=True)))
    found = {m[2]: m[1] for m in re.finditer(rf"typedef\s+({kind})\s+(\w+)\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"using\s+(\w+)\s*=\s*({kind})\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"#\s*define\s+(\w+)\s+({kind})\s*$", text, flags=re.M)}
    return found


def _parameter(text: str) -> tuple[str, str]:
    """Type and name; a pointer is its target's type and a *."""
    p = parameter_of(text)
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
    return CForm(str(dtypes.pop()), tuple(filter(None, arguments)), returned)


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
    options = {p.name: p.number for p in known.of("scalar")}
    found: list[CArgument | None] = []
    named: list[str] = []
    for place, (kind, name) in enumerate(function.parameters):
        integer, real = INTEGERS.get(kind), f"c_{kind}" if kind in DTYPES else None
        axis = next((a for a in axes if a not in named and name in (a, a.upper(), *SIZES.get(a, ()))), None)
        if place in placed:
            found.append(CArgument("array", known.parameters.index(placed[place]), "pointer", name))
        elif name in options and (integer or real):
            found.append(CArgument("scalar", options[name], integer or real or "", name))
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

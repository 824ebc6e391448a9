"""How a submission is called: the arguments that an operation's kernels take, and how a C function declares them.

>>> import loopnest as ln
>>> [str(p) for p in parameters(ln.matmul)]
['a', 'b', 'out']
>>> f = defined("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}", "matmul")
>>> form = bound_to(ln.matmul, f)
>>> form.dtype, form.strided
('float32', False)
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ..bench.measure import Problem
from ..bench.user_rung import places_of
from ..operation import Arguments, Operation, Workload
from ..verify import _leaves


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

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Plan:
    """An operation's kernels' parameters.

    joined   whether the operation's own kernels get arrays as rows, which submissions get as they are
    defaults the scalars' values in an ordinary call
    """

    parameters: tuple[Parameter, ...]
    joined: bool
    defaults: tuple[Any, ...]

    def of(self, *roles: str) -> list[Parameter]:
        return [p for p in self.parameters if p.role in roles]


def parameters(operation: Operation) -> tuple[Parameter, ...]:
    """What the operation's kernels take, in order: `plan(operation).parameters`."""
    return plan(operation).parameters


@functools.cache
def plan(operation: Operation) -> Plan:
    """Found by a call that is made to a kernel which only looks at what it gets."""
    contract = operation.contract
    problem = Problem.sample(operation, contract.workloads[0], None, {})
    args, results = problem.kernel_arguments()
    kernel = next(k.kernel for k in operation.ladder() if k.backend in ("python", "numpy"))
    names = list(inspect.signature(inspect.unwrap(kernel)).parameters)
    leaves = _leaves(problem.inputs)
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
    full = f"def {operation.name}({', '.join(map(str, known.parameters))})"
    if not known.of("result"):
        return [full]
    rest = [p.name for p in known.parameters if p.role != "result"]
    return [full, f"def {operation.name}({', '.join(rest)}): return …"]


def fits(signature: Mapping[str, Any], count: int) -> bool:
    """Whether a function of this signature, as the runner tells it, can be called with so many arguments by place."""
    least, most = 0, 0
    for _, optional, kind in signature["parameters"]:
        if kind == "var_positional":
            return count >= least
        if kind == "keyword_only" and not optional:
            return False
        if kind in ("positional_only", "positional_or_keyword"):
            most += 1
            least += not optional
    return least <= count <= most


@dataclass(frozen=True)
class PythonForm:
    """How a Python function is called: whether it is given arrays for its results, and which arguments it takes."""

    given: bool
    taken: tuple[Parameter, ...]

    @property
    def all_options(self) -> bool:
        """Whether it takes the operation's options, such as GELU's form, and so has to heed them."""
        return any(p.role == "scalar" for p in self.taken)


def python_form(operation: Operation, signature: Mapping[str, Any] | None) -> PythonForm:
    """How to call a Python function of this signature; inputs alone where it has none, as NumPy's functions.

    Raises SignatureError for a function that takes other arguments.
    """
    known = plan(operation)
    inputs = known.of("input", "updated")
    others = [p for p in known.parameters if p.role != "result"]
    arrays = [p for p in known.parameters if p.role != "scalar"]
    if signature is None:
        return PythonForm(not known.of("result"), tuple(inputs))
    ways = [(True, known.parameters), (True, arrays)]
    if known.of("result"):
        ways += [(False, others), (False, inputs)]
    else:
        ways = [(True, known.parameters)]
    for given, taken in ways:
        if fits(signature, len(taken)):
            return PythonForm(given, tuple(taken))
    forms = " or ".join(python_forms(operation))
    raise SignatureError(f"{operation.name} takes {signature['text']}, expected {forms}")


# --- C and C++


POINTEES = {"float": "float32", "double": "float64", "_Float16": "float16"}
INTEGERS = {
    **dict.fromkeys(("long", "long int", "signed long", "ptrdiff_t", "ssize_t", "Py_ssize_t"), "c_long"),
    **dict.fromkeys(("unsigned long", "long unsigned int", "unsigned long int", "size_t"), "c_ulong"),
    **dict.fromkeys(("int", "signed", "signed int", "int32_t"), "c_int"),
    **dict.fromkeys(("unsigned", "unsigned int", "uint32_t"), "c_uint"),
    **dict.fromkeys(("long long", "long long int", "int64_t", "intptr_t"), "c_longlong"),
    **dict.fromkeys(("unsigned long long", "uint64_t", "uintptr_t"), "c_ulonglong"),
    "bool": "c_bool",
    "_Bool": "c_bool",
}
REALS = {"float": "c_float", "double": "c_double"}

SIZE_NAMES: Mapping[str, tuple[str, ...]] = {
    "m": ("m", "rows", "M"),
    "n": ("n", "cols", "columns", "N", "count", "size", "length", "len"),
    "k": ("k", "K", "depth", "inner"),
    "c": ("c", "classes", "C"),
    "t": ("t", "tokens", "T", "rows"),
    "d": ("d", "features", "D"),
    "h": ("h", "hidden", "H", "n_hidden"),
    "e": ("e", "outputs", "E"),
}
"""What a parameter may be called that holds the length of an axis, besides the axis's own name."""

DEFAULT_ORDER = {"matmul": "mnk", "linear": "mnk"}
"""The order of sizes that have no names of their own: BLAS's; of other operations that of the workloads' axes."""


@dataclass(frozen=True)
class CFunction:
    """A function's definition in C: the returned type, and for each parameter its type and its name."""

    name: str
    returns: str
    parameters: tuple[tuple[str, str], ...]
    linkage: bool
    line: int

    def __str__(self) -> str:
        inside = ", ".join(f"{kind} {name}".strip() for kind, name in self.parameters)
        return f"{self.returns} {self.name}({inside})"


@dataclass(frozen=True)
class CForm:
    """How a C function is called.

    arguments  for each parameter in order: ("array", number among the plan's parameters), ("size", axis),
               ("stride", (number, axis of the array)) or ("scalar", number among the plan's scalars); and its C type
    returned   the C type of a result that is returned and not written
    """

    dtype: str
    arguments: tuple[tuple[str, Any, str], ...]
    strided: bool
    returned: str = ""

    @property
    def all_options(self) -> bool:
        return any(kind == "scalar" for kind, _, _ in self.arguments)


def without_comments(text: str) -> str:
    """The text with comments and strings blanked, lines kept."""

    def blank(found: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", found[0])

    return re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", blank, text, flags=re.S)


def defined(source: str, name: str) -> CFunction | None:
    """The definition of the function of this name in a text of C or C++; None where there is none."""
    c_blocks = [m.start() for m in re.finditer(r'extern\s+"C"\s*\{', source)]
    text = without_comments(source)
    for alias, meaning in _aliases(text).items():
        text = re.sub(rf"\b{re.escape(alias)}\b", meaning, text)
    for found in re.finditer(rf"\b{re.escape(name)}\s*\(", text):
        closing = _closing(text, found.end() - 1)
        if closing is None or not re.match(r"\s*(noexcept\s*)?\{", text[closing + 1 :]):
            continue
        start = max(text.rfind(mark, 0, found.start()) for mark in ";}{#") + 1
        before = text[start : found.start()]
        before = before.partition("\n")[2] if text[max(start - 1, 0)] == "#" else before
        line = text.count("\n", 0, found.start()) + 1
        whole = source.splitlines()[max(0, line - 4) : line]
        linkage = 'extern "C"' in " ".join(whole) or bool(c_blocks and c_blocks[0] < found.start())
        parts = [part.strip() for part in text[found.end() : closing].split(",")]
        inside = tuple(_parameter(part) for part in parts if part and part != "void")
        words = [word for word in _words(before) if word not in ("extern", "inline", "static", "__global__")]
        return CFunction(name, " ".join(words) or "void", inside, linkage, line)
    return None


def _aliases(text: str) -> dict[str, str]:
    """Names that stand for a number's type: typedef, using, #define."""
    kinds = sorted({*POINTEES, *INTEGERS}, key=len, reverse=True)
    kind = "|".join(map(re.escape, kinds))
    found = {m[2]: m[1] for m in re.finditer(rf"typedef\s+({kind})\s+(\w+)\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"using\s+(\w+)\s*=\s*({kind})\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"#\s*define\s+(\w+)\s+({kind})\s*$", text, flags=re.M)}
    return found


def _closing(text: str, opening: int) -> int | None:
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if not depth:
            return i
    return None


def _words(text: str) -> list[str]:
    text = re.sub(r"__attribute__\s*\(\(.*?\)\)|\[\[.*?\]\]|alignas\s*\(.*?\)", " ", text, flags=re.S)
    return re.findall(r"[A-Za-z_][\w:]*|\*", text)


def _parameter(text: str) -> tuple[str, str]:
    """Type and name; a pointer is its target's type and a *."""
    text = re.sub(r"\[[^\]]*\]", "*", text.partition("=")[0])
    words = [
        word.removeprefix("std::")
        for word in _words(text)
        if word not in ("const", "volatile", "register", "struct") and "restrict" not in word
    ]
    pointer = "*" in words
    words = [word for word in words if word != "*"]
    name = ""
    if len(words) > 1 and (" ".join(words) not in INTEGERS or words[-1] not in ("int", "long", "short", "unsigned")):
        name = words.pop()
    return " ".join(words) + ("*" if pointer else ""), name


def bound_to(operation: Operation, function: CFunction) -> CForm:
    """How to call a C function as the operation. Raises SignatureError where its parameters cannot be that."""
    known = plan(operation)
    arrays = [p for p in known.parameters if p.role != "scalar"]
    pointers = [(i, kind[:-1], name) for i, (kind, name) in enumerate(function.parameters) if kind.endswith("*")]
    returned = REALS.get(function.returns, "")
    results = known.of("result")
    returning = bool(returned) and len(results) == 1 and not results[0].axes and len(pointers) == len(arrays) - 1
    if returning:
        arrays = [p for p in arrays if p.role != "result"]
    if len(pointers) != len(arrays) or (function.returns != "void" and not returning):
        raise SignatureError(_expected(operation, function))
    dtypes = {POINTEES.get(kind, kind) for (_, kind, _), p in zip(pointers, arrays, strict=True) if not p.dtype}
    if len(dtypes) != 1 or not dtypes <= {"float32", "float64"}:
        raise SignatureError(_expected(operation, function))
    for (_, kind, _), p in zip(pointers, arrays, strict=True):
        if p.dtype and INTEGERS.get(kind) not in ("c_long", "c_longlong"):
            raise SignatureError(_expected(operation, function))
    bound: list[tuple[str, Any, str] | None] = [None] * len(function.parameters)
    numbers = [known.parameters.index(p) for p in arrays]
    for (place, _, _), number in zip(pointers, numbers, strict=True):
        bound[place] = ("array", number, "pointer")
    _bind_numbers(operation, function, known, pointers, arrays, numbers, bound)
    if any(entry is None for entry in bound):
        raise SignatureError(_expected(operation, function))
    whole = tuple(entry for entry in bound if entry is not None)
    return CForm(dtypes.pop(), whole, any(kind == "stride" for kind, _, _ in whole), returned if returning else "")


def _bind_numbers(
    operation: Operation,
    function: CFunction,
    known: Plan,
    pointers: Sequence[tuple[int, str, str]],
    arrays: Sequence[Parameter],
    numbers: Sequence[int],
    bound: list[tuple[str, Any, str] | None],
) -> None:
    """Strides and sizes and scalars, by their names; sizes without one by their order."""
    axes = list(operation.contract.workloads[0].shape)
    total = len(axes) == 2 and sum(kind in INTEGERS and INTEGERS[kind] != "c_bool" for kind, _ in function.parameters)
    strides = {
        pattern: (number, axis)
        for (_, _, name), p, number in zip(pointers, arrays, numbers, strict=True)
        for axis in range(p.axes)
        for pattern in _stride_names(name, axis, p.axes)
    }
    scalar_names = {p.name: p for p in known.of("scalar")}
    unnamed: list[int] = []
    for place, (kind, name) in enumerate(function.parameters):
        if bound[place] is not None:
            continue
        integer, real = INTEGERS.get(kind), REALS.get(kind)
        if name in scalar_names and (integer or real):
            bound[place] = ("scalar", scalar_names[name].number, integer or real or "")
        elif integer and name.lower() in strides:
            bound[place] = ("stride", strides[name.lower()], integer)
        elif integer:
            axis = next((a for a in axes if name == a or name in SIZE_NAMES.get(a, ())), None)
            if axis is not None and not any(entry and entry[:2] == ("size", axis) for entry in bound):
                bound[place] = ("size", axis, integer)
            else:
                unnamed.append(place)
    sizes = [entry[1] for entry in bound if entry and entry[0] == "size"]
    elementwise = total and known.joined
    if elementwise and len(sizes) + len(unnamed) == 1:
        place = unnamed[0] if unnamed else next(i for i, e in enumerate(bound) if e and e[0] == "size")
        bound[place] = ("size", "*", INTEGERS[function.parameters[place][0]])
        return
    rest = [axis for axis in DEFAULT_ORDER.get(operation.name, axes) if axis not in sizes]
    if len(unnamed) == len(rest):
        for place, axis in zip(unnamed, rest, strict=True):
            bound[place] = ("size", axis, INTEGERS[function.parameters[place][0]])


def _stride_names(name: str, axis: int, axes: int) -> list[str]:
    """What a stride of this array along an axis may be called: a_row_stride, a_rs, rs_a, row_stride_a, lda, …"""
    name = name.lower()
    words = ("col", "column", "c", "cs") if axis == axes - 1 and axes > 1 else ("row", "r", "rs")
    names = [f"{name}_{word}{end}" for word in words for end in ("_stride", "", "stride", "s")]
    names += [f"{word}{end}_{name}" for word in words for end in ("_stride", "", "s", "stride")]
    names += [f"{name}_stride_{word}" for word in words] + [f"stride_{name}_{word}" for word in words]
    if axis == axes - 2:
        names += [f"ld{name}", f"{name}_ld"]
    if axes == 1:
        names += [f"{name}_stride", f"inc{name}", f"stride_{name}"]
    return names


def c_forms(operation: Operation, dtype: str = "float") -> list[str]:
    """The C forms in words: contiguous arrays, and with strides where the arrays have rows and columns."""
    known = plan(operation)
    axes = list(operation.contract.workloads[0].shape)
    pointers, strided = [], []
    for p in known.parameters:
        if p.role == "scalar":
            continue
        kind = "long" if p.dtype else dtype
        name = "c" if operation.name == "matmul" and p.name == "out" else p.name
        pointers.append(f"{'const ' if p.role == 'input' else ''}{kind}* {name}")
        strided.append(pointers[-1])
        if p.axes == 2:
            strided += [f"long {name}_row_stride", f"long {name}_col_stride"]
        elif p.axes == 1:
            strided.append(f"long {name}_stride")
    names = {p.name for p in known.parameters}
    order = [a if a not in names else SIZE_NAMES[a][1] for a in DEFAULT_ORDER.get(operation.name, axes)]
    sizes = [f"long {a}" for a in order]
    kinds = {"bool": "int", "int": "long", "float": "double"}
    numbers = [f"{kinds[p.dtype]} {p.name}" for p in known.of("scalar")]
    plain = ["long n"] if known.joined else sizes
    forms = [", ".join([*pointers, *plain, *numbers])]
    if any(p.axes for p in known.parameters):
        forms.append(", ".join([*strided, *sizes, *numbers]))
    return [f'extern "C" void {operation.name}({form})' for form in forms]


def _expected(operation: Operation, function: CFunction) -> str:
    forms = "\n  ".join(c_forms(operation))
    return f"{function}\ncannot be called as {operation.name}. Expected\n  {forms}\nor the same with double"


def c_values(
    form: CForm,
    workload: Workload,
    places: Mapping[int, tuple[int, int]],
    strides: Mapping[int, Sequence[int]],
    scalars: Sequence[Any],
) -> list[tuple[str, Any]]:
    """The arguments of one call as the runner takes them.

    places   for each array its slot and offset; strides  in elements
    """
    values: list[tuple[str, Any]] = []
    for kind, what, c_type in form.arguments:
        if kind == "array":
            values.append(("pointer", places[what]))
        elif kind == "size":
            sizes = workload.shape
            values.append((c_type, int(np.prod(list(sizes.values()))) if what == "*" else sizes[what]))
        elif kind == "stride":
            number, axis = what
            values.append((c_type, strides[number][axis]))
        else:
            value = scalars[what]
            values.append((c_type, int(value) if isinstance(value, bool) else value))
    return values

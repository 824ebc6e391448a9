"""How a C function is called: the arguments that an operation's kernels take, and how the function declares them.

>>> import loopnest as ln
>>> f = defined("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}", "matmul")
>>> form = bound_to(ln.matmul, f)
>>> form.dtype, form.strided
('float32', False)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..backends.cuda_source import without_comments
from ..operation import Operation
from .signature import Parameter, SignatureError, plan

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
"""What a parameter may be called that holds the length of an axis, next to the axis's own name."""

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


@dataclass(frozen=True)
class CForm:
    """How a C function is called.

    arguments  for each parameter in order what it takes, and its C type: ("array", number among the plan's parameters),
               ("size", axis), ("stride", (number, axis of the array)), ("scalar", number among the plan's scalars)
    returned   the C type of a result that is returned and not written
    """

    dtype: str
    arguments: tuple[tuple[str, Any, str], ...]
    returned: str = ""

    @property
    def strided(self) -> bool:
        return any(kind == "stride" for kind, _, _ in self.arguments)

    @property
    def takes_options(self) -> bool:
        return any(kind == "scalar" for kind, _, _ in self.arguments)


def defined(source: str, name: str) -> CFunction | None:
    """The definition of the function of this name in a text of C or C++; None where there is none."""
    text = without_comments(source)
    for alias, meaning in _aliases(text).items():
        text = re.sub(rf"\b{re.escape(alias)}\b", meaning, text)
    inside = r"\(([^()]*(?:\([^()]*\)[^()]*)*)\)"
    for found in re.finditer(rf"\b{re.escape(name)}\s*{inside}\s*(?:noexcept\s*)?\{{", text):
        start = max(text.rfind(mark, 0, found.start()) for mark in ";}{#") + 1
        before = text[start : found.start()]
        before = before.partition("\n")[2] if text[max(start - 1, 0)] == "#" else before
        line = text.count("\n", 0, found.start()) + 1
        parts = [part.strip() for part in found[1].split(",")]
        words = [word for word in _words(before) if word not in ("extern", "inline", "static", "__global__", "C")]
        parameters = tuple(_parameter(part) for part in parts if part and part != "void")
        return CFunction(name, " ".join(words) or "void", parameters, line)
    return None


def _aliases(text: str) -> dict[str, str]:
    """Names that stand for a number's type: typedef, using, #define."""
    kind = "|".join(map(re.escape, sorted({*POINTEES, *INTEGERS}, key=len, reverse=True)))
    found = {m[2]: m[1] for m in re.finditer(rf"typedef\s+({kind})\s+(\w+)\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"using\s+(\w+)\s*=\s*({kind})\s*;", text)}
    found |= {m[1]: m[2] for m in re.finditer(rf"#\s*define\s+(\w+)\s+({kind})\s*$", text, flags=re.M)}
    return found


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
    arrays = known.of("input", "result", "updated")
    pointers = [(place, kind[:-1]) for place, (kind, _) in enumerate(function.parameters) if kind.endswith("*")]
    results = known.of("result")
    returned = REALS.get(function.returns, "")
    if returned and len(results) == 1 and not results[0].axes and len(pointers) == len(arrays) - 1:
        arrays = known.of("input", "updated")
    dtypes = {POINTEES.get(kind) for (_, kind), p in zip(pointers, arrays, strict=False) if not p.dtype}
    integers = {INTEGERS.get(kind) for (_, kind), p in zip(pointers, arrays, strict=False) if p.dtype}
    fits = len(pointers) == len(arrays) and (len(arrays) < len(known.arrays) or function.returns == "void")
    fits = fits and dtypes in ({"float32"}, {"float64"}) and integers <= {"c_long", "c_longlong"}
    placed = {place: p for (place, _), p in zip(pointers, arrays, strict=False)}
    arguments = _with_numbers(operation, function, placed) if fits else [None]
    if None in arguments:
        forms = "\n  ".join(c_forms(operation))
        text = f"{function}\ncannot be called as {operation.name}. Expected\n  {forms}\nor the same with double"
        raise SignatureError(text)
    returned = returned if len(arrays) < len(known.arrays) else ""
    return CForm(str(dtypes.pop()), tuple(filter(None, arguments)), returned)


def _with_numbers(
    operation: Operation, function: CFunction, placed: Mapping[int, Parameter]
) -> list[tuple[str, Any, str] | None]:
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
    found: list[tuple[str, Any, str] | None] = []
    named: list[str] = []
    for place, (kind, name) in enumerate(function.parameters):
        integer, real = INTEGERS.get(kind), REALS.get(kind)
        axis = next((a for a in axes if a not in named and name in (a, *SIZE_NAMES.get(a, ()))), None)
        if place in placed:
            found.append(("array", known.parameters.index(placed[place]), "pointer"))
        elif name in options and (integer or real):
            found.append(("scalar", options[name], integer or real or ""))
        elif integer and name.lower() in strides:
            found.append(("stride", strides[name.lower()], integer))
        elif integer and axis is not None:
            named.append(axis)
            found.append(("size", axis, integer))
        else:
            found.append(None)
    unnamed = [i for i, (kind, _) in enumerate(function.parameters) if found[i] is None and kind in INTEGERS]
    sizes = [i for i, entry in enumerate(found) if i in unnamed or (entry and entry[0] == "size")]
    rest = [axis for axis in DEFAULT_ORDER.get(operation.name, axes) if axis not in named]
    if known.joined and len(axes) == 2 and len(sizes) == 1:
        unnamed, rest = sizes, ["*"]
    if len(unnamed) == len(rest):
        for i, axis in zip(unnamed, rest, strict=True):
            found[i] = ("size", axis, INTEGERS[function.parameters[i][0]])
    return found


def _stride_names(name: str, axis: int, axes: int) -> list[str]:
    """What a stride of this array along an axis may be called: a_row_stride, a_rs, rs_a, row_stride_a, lda, …"""
    name = name.lower()
    words = ("col", "column", "c", "cs") if axis == axes - 1 and axes > 1 else ("row", "r", "rs")
    ended = [f"{word}{end}" for word in words for end in ("_stride", "", "stride", "s")]
    names = [each for word in ended for each in (f"{name}_{word}", f"{word}_{name}")]
    names += [each for word in words for each in (f"{name}_stride_{word}", f"stride_{name}_{word}")]
    if axis == axes - 2:
        names += [f"ld{name}", f"{name}_ld"]
    if axes == 1:
        names += [f"{name}_stride", f"inc{name}", f"stride_{name}"]
    return names


def c_parameters(operation: Operation, dtype: str = "float", *, strided: bool = False) -> list[str]:
    """The parameters of the operation's C form, such as "const float* a": arrays, with strides if asked for; then
    sizes; then the options."""
    known = plan(operation)
    found = []
    for p in known.arrays:
        found.append(f"{'const ' if p.role == 'input' else ''}{'long' if p.dtype else dtype}* {p.name}")
        if strided and p.axes == 1:
            found.append(f"long {p.name}_stride")
        elif strided and p.axes == 2:
            found += [f"long {p.name}_row_stride", f"long {p.name}_col_stride"]
    axes = list(operation.contract.workloads[0].shape)
    taken = {p.name for p in known.parameters}
    order = [a if a not in taken else SIZE_NAMES[a][1] for a in DEFAULT_ORDER.get(operation.name, axes)]
    found += ["long n"] if known.joined and not strided else [f"long {a}" for a in order]
    kinds = {"bool": "int", "int": "long", "float": "double"}
    return found + [f"{kinds[p.dtype]} {p.name}" for p in known.of("scalar")]


def c_forms(operation: Operation, dtype: str = "float") -> list[str]:
    """The C forms in words: contiguous arrays, and with strides where the arrays have rows and columns."""
    ways = (False, True) if any(p.axes for p in plan(operation).parameters) else (False,)
    forms = (", ".join(c_parameters(operation, dtype, strided=strided)) for strided in ways)
    return [f'extern "C" void {operation.name}({form})' for form in forms]

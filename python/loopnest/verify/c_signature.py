"""How a function in C is called as an operation: its definition is read, and its parameters are matched.

>>> import loopnest as ln
>>> f = defined("void matmul(const float* a, const float* b, float* c, long m, long n, long k) {}", "matmul")
>>> bound_to(ln.matmul, f).dtype
'float32'
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from ..backends.cuda_source import parameter_of, without_comments
from ..operation import Operation
from .signature import Parameter, SignatureError, hold_options, options, plan, sampled

DTYPES = {"float": "float32", "double": "float64"}

BITS = ("uint16_t", "unsigned short", "short unsigned int", "unsigned short int")
BYTES = ("int8_t", "signed char")
REDUCED_TYPES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bfloat16": ((*BITS, "__bf16"),) * 2,
    "float16": ((*BITS, "_Float16"),) * 2,
    "int8": (BYTES, ("int32_t", "int", "signed", "signed int")),
}
"""The types of inputs and of results in C, by dtype. In uint16_t lie a number's bits."""

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
        if _parameter(meant + " x")[0].rstrip("*") in {*DTYPES, *INTEGERS, *BITS, *BYTES, "__bf16", "_Float16"}:
            found[name] = meant
    return found


def _parameter(text: str) -> tuple[str, str]:
    """Type and name; a pointer is its target's type and a *."""
    p = parameter_of(re.sub(r"(\s*\[[^]]*\])+$", "[]", text))  # const float a[restrict m][k], too
    kind, name = p.type.removeprefix("std::"), p.name
    if f"{kind} {name}".strip() in {*DTYPES, *INTEGERS}:  # it has no name
        kind, name = f"{kind} {name}".strip(), ""
    return kind + "*" * p.pointer, name


def bound_to(operation: Operation, function: CFunction, reduced: str = "") -> CForm:
    """How to call a C function as the operation. Raises SignatureError where its parameters cannot be that.

    reduced  the dtype of reduced precision that it takes, if it takes one
    """
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
    if reduced:
        of_inputs, of_results = REDUCED_TYPES[reduced]
        roles = zip(pointers, arrays, strict=False)
        if all(kind in (of_results if p.role == "result" else of_inputs) for (_, kind), p in roles):
            dtypes = {reduced}
    fits = fits and dtypes in ({reduced or "float32"}, {reduced or "float64"}) and integers <= {"c_long", "c_longlong"}
    placed = {place: p for (place, _), p in zip(pointers, arrays, strict=False)}
    arguments = _with_numbers(operation, function, placed) if fits else [None]
    if None in arguments:
        forms = "\n  ".join(c_forms(operation, reduced or "float"))
        others = "" if reduced else "\nor the same with double, or in reduced precision with --dtype"
        text = f"{function}\ncannot be called as {operation.name}. Expected\n  {forms}{others}"
        raise SignatureError(text)
    form = CForm(str(dtypes.pop()), tuple(filter(None, arguments)), returned)
    hold_options(operation, form.options(operation), f"{function}\n", f"\n  {c_forms(operation)[0]}")
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
    public = {n for n, x in options(operation, sampled(operation)).items() if isinstance(x, int | float)}
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
    """The C forms in words: contiguous arrays, and with strides where the arrays have rows and columns.

    dtype  C's name of an element's type, or a dtype of reduced precision
    """
    of_inputs, of_results = (types[0] for types in REDUCED_TYPES.get(dtype, ((dtype,), (dtype,))))
    known, axes = plan(operation), list(operation.contract.workloads[0].shape)
    taken = {p.name for p in known.parameters}
    order = [a if a not in taken else SIZES[a][0] for a in DEFAULT_ORDER.get(operation.name, axes)]
    scalars = [f"{ {'bool': 'int', 'int': 'long', 'float': 'double'}[p.dtype] } {p.name}" for p in known.of("scalar")]
    forms = []
    for strided in (False, True) if any(p.axes for p in known.parameters) else (False,):
        found = []
        for p in known.arrays:
            element = of_results if p.role == "result" else of_inputs
            found.append(f"{'const ' if p.role == 'input' else ''}{'long' if p.dtype else element}* {p.name}")
            strides = {1: ["stride"], 2: ["row_stride", "col_stride"]}.get(p.axes, [])
            found += [f"long {p.name}_{stride}" for stride in strides if strided]
        sizes = ["n"] if known.joined and not strided else order
        found += [*(f"long {size}" for size in sizes), *scalars]
        forms.append(f'extern "C" void {operation.name}({", ".join(found)})')
    return forms

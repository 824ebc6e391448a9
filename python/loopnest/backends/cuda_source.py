"""What a .cu file says: its kernels, their parameters, its named integers, and how each kernel is launched.

The launch stands once, in a comment above the kernel:

    // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16) shared=0
    __global__ void matmul(const float* a, const float* b, float* c, int m, int n, int k) { … }

`grid` and `block` have one to three sizes, x first. `shared` is the number of bytes of dynamic shared memory, 0 by
default. An expression computes with integers as in C: + - * / % << >>, min, max, ceil_div(a, b), sizeof(float). Its
names are the kernel's integer parameters and the file's constants; where the kernel takes matrices (csrc's view.hpp), m
and n are the rows and columns of the last one.

A template is compiled for float and double, or for the arguments in a comment above it: `// types: <bfloat16, float>`.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

Sizes = tuple[int, int, int]

TEMPLATE_TYPES = {"float32": "float", "float64": "double", "bfloat16": "bfloat16", "float16": "float16"}
"""The template argument for a dtype's name. Those of 16 bits are csrc/cuda/tensor_cores.hpp's."""

STUBS = ("cuda_runtime.h", "cuda_runtime_api.h", "cuda.h", "device_launch_parameters.h", "device_functions.h")
"""Headers that a file may include and that are empty here: compilers of device code have their contents built in."""


class CudaSourceError(ValueError):
    """A .cu file that cannot be used as it is. The message says what was expected, and the fix."""


def cuda_cpp_simulated() -> bool:
    """Whether CUDA C++ runs on the CPU: right results, no meaningful times."""
    return os.environ.get("LOOPNEST_CUDA_CPP", "") == "simulated"


# --- kernels


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: `const float* a` is ("a", "float", pointer)."""

    name: str
    type: str
    pointer: bool

    @property
    def matrix(self) -> str | None:
        """The element type of a `Matrix<T>`; None for any other parameter."""
        found = re.fullmatch(r"Matrix\s*<\s*(.*?)\s*>", self.type)
        return None if found is None or self.pointer else found[1]

    @property
    def integer(self) -> bool:
        return not self.pointer and self.type in C_TYPES and self.type not in ("float", "double", "bool")

    def c_value(self, argument: Any, where: str) -> Any:
        """The argument as a C value. Raises CudaSourceError where it does not fit."""
        if isinstance(argument, ctypes._SimpleCData | ctypes.Structure):
            return argument
        if not self.pointer:
            if self.type not in C_TYPES:
                raise CudaSourceError(f"{where} is a {self.type}, expected a pointer or a number")
            return C_TYPES[self.type](argument)
        dtype = _DTYPES.get(self.type)
        if not isinstance(argument, np.ndarray) or (dtype is not None and argument.dtype != dtype):
            was = f"an array of {argument.dtype}" if isinstance(argument, np.ndarray) else repr(argument)
            raise CudaSourceError(f"{where} is {self.type}*, and was given {was}")
        if not argument.flags.c_contiguous:
            raise CudaSourceError(f"{where} is a pointer, and was given an array that is not in C order")
        return ctypes.c_void_p(argument.ctypes.data)


@dataclass(frozen=True)
class LaunchSizes:
    """The sizes of a launch, as expressions.

    >>> sizes = LaunchSizes.parsed("grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16) shared=4 * k")
    >>> sizes.of({"m": 33, "n": 16, "k": 100})
    ((1, 3, 1), (16, 16, 1), 400)
    """

    grid: str
    block: str
    shared: str = "0"
    constants: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def parsed(cls, text: str, constants: Mapping[str, int] = MappingProxyType({})) -> LaunchSizes:
        """From `grid=… block=… shared=…`, in any order; shared is optional. `constants` are the file's."""
        parts = re.split(r"\b(grid|block|shared)\s*=", text)
        found = {name: value.strip(" ,;") for name, value in zip(parts[1::2], parts[2::2], strict=True)}
        if not {"grid", "block"} <= set(found):
            raise CudaSourceError(f"launch: {text.strip()!r}, expected grid=(…) block=(…), and shared=… if it is used")
        return cls(**found, constants=constants)

    def of(self, values: Mapping[str, int]) -> tuple[Sizes, Sizes, int]:
        """Grid, block and bytes of dynamic shared memory for these values of the names."""
        found: list[Sizes] = []
        values = {**self.constants, **values}
        for name in ("grid", "block"):
            sizes = evaluated(getattr(self, name), values)
            if len(sizes) > 3:
                raise CudaSourceError(f"{name} has {len(sizes)} sizes, expected one to three")
            x, y, z = (*sizes, 1, 1)[:3]
            found.append((x, y, z))
        return found[0], found[1], evaluated(self.shared, values)[0]


@dataclass(frozen=True)
class KernelFunction:
    """A `__global__` function in a file.

    file      its name, for messages
    line      of its name
    template  its template parameters that are types; a template is launched as `tiled<float>`
    types     the template arguments that it is compiled for: "<float>", …
    launch    the sizes in the comment `// launch: …` above it, or None
    """

    file: str
    name: str
    parameters: tuple[Parameter, ...]
    line: int
    template: tuple[str, ...]
    types: tuple[str, ...]
    launch: LaunchSizes | None

    @property
    def expressions(self) -> list[str]:
        """Its name expressions for all types that it is compiled for: `tiled<float>`, …"""
        return [self.name + arguments for arguments in self.types]

    def expression(self, dtypes: Sequence[str | None]) -> str:
        """Its name expression for arguments of these dtypes, by name; None for a number."""
        types = {
            (parameter.matrix or parameter.type).removeprefix("const "): TEMPLATE_TYPES[dtype]
            for parameter, dtype in zip(self.parameters, dtypes, strict=True)
            if dtype is not None
        }
        return f"{self.name}<{','.join(types[name] for name in self.template)}>"

    @property
    def sizes(self) -> LaunchSizes:
        """The launch's sizes; raises CudaSourceError where the comment is missing."""
        if self.launch is None:
            raise CudaSourceError(
                f"{self.file}: how to launch {self.name} is not known; write it on a line above the kernel, as in\n"
                "    // launch: grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16)"
            )
        return self.launch

    def c_values(self, arguments: Sequence[Any]) -> list[Any]:
        """The arguments as C values of the parameters' types.

        arguments  NumPy arrays in C order for pointers, numbers for the others; ctypes values are kept

        Raises CudaSourceError for arguments that do not fit the parameters.
        """
        where = f"{self.file}: {self.name}"
        if len(arguments) != len(self.parameters):
            wanted = ", ".join(parameter.name for parameter in self.parameters)
            raise CudaSourceError(
                f"{where} was given {len(arguments)} arguments, expected {len(self.parameters)}: {wanted}"
            )
        pairs = zip(self.parameters, arguments, strict=True)
        return [parameter.c_value(argument, f"{where}'s {parameter.name}") for parameter, argument in pairs]


@dataclass(frozen=True)
class CudaFile:
    """A .cu file that was read: its text, and its kernels in their order."""

    path: Path
    text: str
    kernels: tuple[KernelFunction, ...]

    @classmethod
    def read(cls, file: Path | str) -> CudaFile:
        """Raises CudaSourceError where it cannot be read."""
        path = Path(file)
        try:
            text = path.read_text(encoding="utf-8-sig", errors="replace")
        except OSError as error:
            raise CudaSourceError(f"{path} cannot be read: {error}") from None
        return cls(path, text, kernels_of(text, path.name))

    def kernel(self, name: str) -> KernelFunction:
        """The kernel of this name or name expression; raises CudaSourceError, with the names that exist."""
        for kernel in self.kernels:
            if kernel.name == name.partition("<")[0]:
                return kernel
        known = ", ".join(kernel.name for kernel in self.kernels) or "none"
        raise CudaSourceError(f"{self.path.name} has no __global__ function {name}; it has: {known}")

    def expressions(self) -> list[str]:
        """The name expressions of all kernels that are templates: `tiled<float>`, `tiled<double>`, …"""
        return [expression for kernel in self.kernels for expression in kernel.expressions]


C_TYPES: dict[str, Any] = {
    **{kind: getattr(ctypes, f"c_{kind}") for kind in ("float", "double", "bool", "short", "int", "long", "size_t")},
    "char": ctypes.c_byte,
    "ptrdiff_t": ctypes.c_ssize_t,
    "long long": ctypes.c_longlong,
    **dict.fromkeys(("unsigned", "unsigned int"), ctypes.c_uint),
    "unsigned long": ctypes.c_ulong,
    "unsigned long long": ctypes.c_ulonglong,
    **{f"{sign}int{bits}_t": getattr(ctypes, f"c_{sign}int{bits}") for sign in ("", "u") for bits in (32, 64)},
}
_DTYPES = {"float": np.float32, "double": np.float64, "int": np.int32, "long long": np.int64, "int64_t": np.int64}


_KERNEL = re.compile(
    r"(?P<template>template\s*<[^;{}]*?>\s*)?(?:extern\s+\"C\"\s+)?(?:static\s+)?__global__\b"
    r"[^;{}()]*?(?:__launch_bounds__\s*\([^)]*\)[^;{}()]*?)?\b(?P<name>\w+)\s*\("
)


def kernels_of(text: str, file: str = "the file") -> tuple[KernelFunction, ...]:
    """The kernels of a source text, in its order."""
    plain, constants = without_comments(text), constants_of(text)
    found, after = [], 0
    for place in _KERNEL.finditer(plain):
        end = _closing(plain, place.end() - 1)
        if not plain[end + 1 :].lstrip().startswith("{"):
            continue  # a declaration
        above = text[after : place.start()]
        comments = re.findall(r"//\s*launch:([^\n]*)|/\*\s*launch:(.*?)\*/", above, re.DOTALL)
        template = tuple(re.findall(r"\b(?:class|typename)\s+(\w+)", place["template"] or ""))
        types = re.findall(r"<[^<>]*>", "".join(re.findall(r"//\s*types:([^\n]*)", above)).replace(" ", ""))
        found.append(
            KernelFunction(
                file=file,
                name=place["name"],
                parameters=tuple(parameter_of(part) for part in _split(plain[place.end() : end])),
                line=plain.count("\n", 0, place.start("name")) + 1,
                template=template,
                types=tuple(types) or (("<float>", "<double>") if template else ()),
                launch=LaunchSizes.parsed("".join(comments[-1]), constants) if comments else None,
            )
        )
        after = end
    return tuple(found)


def constants_of(text: str) -> dict[str, int]:
    """The integers that a file gives a name: `constexpr int TILE = 16;`, `#define TILE 16`."""
    plain = without_comments(text)
    pattern = r"\bconst(?:expr)?\s[\w\s]*?\b(\w+)\s*=\s*([^;]+);|^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(.+)$"
    known: dict[str, int] = {}
    for place in re.finditer(pattern, plain, re.MULTILINE):
        name, value = place[1] or place[3], place[2] or place[4]
        try:
            (known[name],) = evaluated(value, known)
        except (CudaSourceError, ValueError):
            continue
    return known


def without_comments(text: str) -> str:
    """The text with blanks in place of comments, of `#if 0` blocks and of the contents of strings. All other text keeps
    its place."""

    def blank(place: re.Match[str]) -> str:
        found = place[0]
        if found == '"C"':
            return found
        if found.startswith('"'):
            return '"' + " " * (len(found) - 2) + '"'
        return re.sub(r"[^\n]", " ", found)

    plain = re.sub(r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"", blank, text, flags=re.DOTALL)
    lines, depth = plain.split("\n"), 0
    for i, line in enumerate(lines):
        directive = re.match(r"\s*#\s*(if|endif|el)", line)
        if not depth and not re.match(r"\s*#\s*if\s+0\b", line):
            continue
        depth += {"if": 1, "endif": -1, "el": -(depth == 1), None: 0}[directive[1] if directive else None]
        lines[i] = " " * len(line)
    return "\n".join(lines)


def _closing(text: str, opening: int) -> int:
    """The index of the parenthesis that closes the one at `opening`."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise CudaSourceError(f"line {text.count(chr(10), 0, opening) + 1}: a parenthesis that is not closed")


def _split(text: str) -> list[str]:
    """The parts between commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, "<": 1, "[": 1, "{": 1, ")": -1, ">": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def parameter_of(text: str) -> Parameter:
    """A parameter's declaration, such as `const float* a`."""
    words = re.sub(r"\b(__restrict__|__restrict|restrict|__grid_constant__|volatile)\b|=.*", " ", text, flags=re.DOTALL)
    found = re.fullmatch(r"(.*?)(\w*)\s*(\[\w*\])?\s*", words, re.DOTALL)
    kind, name, array = found.groups() if found else (words, "", None)
    return Parameter(name, " ".join(re.sub(r"\bconst\b|\*", " ", kind).split()), "*" in kind or bool(array))


# --- expressions

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "min": min,
    "max": max,
    "ceil_div": lambda a, b: -(-a // b),
    "dim3": lambda *sizes: sizes,
}
_ARITHMETIC = re.compile(r"(?:[\w\s()+\-%,]|//|>>|\*(?!\*)|<<(?=\s*(?:[0-9]|[1-3][0-9]|40)\b))*", re.ASCII)
"""What an expression may hold: nothing that reaches Python's objects, and no result that would fill the memory."""

_BYTES = {"float": 4, "double": 8, "int": 4, "unsigned": 4, "half": 2, "char": 1, "float4": 16, "double2": 16}


def evaluated(expression: str, values: Mapping[str, int]) -> tuple[int, ...]:
    """The integers of an expression such as `((n + 15) / 16, 2)`, whose names have these values.

    Raises CudaSourceError for anything but + - * / % << >>, min, max, ceil_div, dim3, sizeof, integers and known names.
    """
    text = re.sub(r"\bsizeof\s*\(\s*(\w+)\s*\)", lambda place: str(_BYTES.get(place[1], place[0])), expression.strip())
    text = re.sub("/+", "//", re.sub(r"\b(\d+)[uUlL]+\b", r"\1", text))
    unknown = [name for name in re.findall(r"\b[A-Za-z_]\w*", text) if name not in {*values, *_FUNCTIONS}]
    if unknown:
        raise CudaSourceError(f"{expression!r}: {unknown[0]} is not known; known: {', '.join(values) or 'nothing'}")
    if not re.fullmatch(_ARITHMETIC, text):
        raise CudaSourceError(f"{expression!r}: expected integers, names, + - * / %, << up to 40, min, max, ceil_div")
    try:
        found = eval(text, {"__builtins__": {}, **_FUNCTIONS}, dict(values))
    except (SyntaxError, TypeError, ArithmeticError, ValueError, MemoryError, RecursionError) as error:
        raise CudaSourceError(f"{expression!r} cannot be evaluated: {error}") from None
    sizes = tuple(map(int, found)) if isinstance(found, tuple) else (int(found),)
    if not sizes or max(map(abs, sizes)) >> 62:
        raise CudaSourceError(f"{expression!r}: expected one size or more, below 2^62")
    return sizes

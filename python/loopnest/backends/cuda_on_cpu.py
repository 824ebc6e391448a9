"""CUDA C++ on a CPU: a .cu file becomes a shared library that runs its kernels, right and slowly.

The file is compiled as it is, with csrc/cuda/on_cpu.hpp before it, which says what each word of CUDA means, and linked
with csrc/cuda/on_cpu.cpp, which runs the threads. Two things are written in another way first, on the same line:
`extern __shared__ T name[];`, which C++ has no word for, and a launch, `kernel<<<grid, block>>>(…)`.

What is built is kept in the user's cache folder, under a hash of everything that went into it.
"""

from __future__ import annotations

import ast
import atexit
import contextlib
import ctypes
import hashlib
import math
import operator
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import Array
from .cpp import csrc
from .user_cache import cache_directory

Sizes = tuple[int, int, int]


class CudaSourceError(ValueError):
    """A .cu file that cannot be used as it is; the message says what was expected, and the fix."""


class CudaBuildError(RuntimeError):
    """A .cu file that does not compile. The message has what the compiler said, shortened; `log` all of it."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


class CudaLaunchError(RuntimeError):
    """A launch that could not end: threads that wait for ever, sizes that no GPU takes, no kernel of this name."""


# --- what a file holds


@dataclass(frozen=True)
class Parameter:
    """One parameter of a kernel: `const float* a` is ("a", "float", pointer, const)."""

    name: str
    type: str
    pointer: bool
    const: bool


@dataclass(frozen=True)
class LaunchSizes:
    """A kernel's launch as its comment gives it: expressions in the kernel's integer parameters.

    >>> sizes = LaunchSizes.parsed("grid=((n + 15) / 16, (m + 15) / 16) block=(16, 16) shared=4 * k")
    >>> sizes.of({"m": 33, "n": 16, "k": 100})
    ((1, 3, 1), (16, 16, 1), 400)
    """

    grid: str
    block: str
    shared: str = "0"

    @classmethod
    def parsed(cls, text: str) -> LaunchSizes:
        """Of `grid=… block=… shared=…`, in any order; shared may be left out."""
        places = [*re.finditer(r"\b(grid|block|shared)\s*=", text)]
        ends = [place.start() for place in places[1:]] + [len(text)]
        found = {place[1]: text[place.end() : end].strip(" ,;") for place, end in zip(places, ends, strict=True)}
        if not {"grid", "block"} <= set(found):
            raise CudaSourceError(
                f"launch: {text.strip()!r}, expected grid=(…) block=(…), and shared=… where it is used"
            )
        return cls(**found)

    def of(self, values: Mapping[str, int]) -> tuple[Sizes, Sizes, int]:
        """Grid, block and bytes of dynamic shared memory for these values of the parameters."""
        grid, block = (_three(name, evaluated(getattr(self, name), values)) for name in ("grid", "block"))
        (shared,) = evaluated(self.shared, values)
        return grid, block, shared


@dataclass(frozen=True)
class KernelFunction:
    """A `__global__` function in a file.

    line      where its name stands
    template  whether it is a template, of which one has to say which: `tiled<float>`
    launch    the sizes that the comment `// launch: …` before it gives, or None
    """

    name: str
    parameters: tuple[Parameter, ...]
    line: int
    template: bool
    launch: LaunchSizes | None


def kernels_of(text: str) -> tuple[KernelFunction, ...]:
    """The kernels of a source text, in its order."""
    plain = without_comments(text)
    found = []
    after = 0
    pattern = re.compile(r"(?P<template>template\s*<[^;{}]*?>\s*)?(?:extern\s+\"C\"\s+)?(?:static\s+)?__global__\b")
    up_to_name = re.compile(r"[^;{}()]*?(?:__launch_bounds__\s*\([^)]*\)[^;{}()]*?)?\b(\w+)\s*\(")
    for place in pattern.finditer(plain):
        head = up_to_name.match(plain, place.end())
        if head is None:
            continue
        end = _closing(plain, head.end() - 1)
        if not plain[end + 1 :].lstrip().startswith("{"):
            continue  # a declaration
        found.append(
            KernelFunction(
                name=head[1],
                parameters=tuple(_parameter(part) for part in _split(plain[head.end() : end])),
                line=plain.count("\n", 0, head.start(1)) + 1,
                template=place["template"] is not None,
                launch=_launch_in(text[after : place.start()]),
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
    """The text with blanks in place of comments, and of what strings hold: every place stays where it is."""
    pattern = r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\""

    def blank(place: re.Match[str]) -> str:
        found = place[0]
        if found.startswith('"'):
            return '"' + found[1:-1] + '"' if found == '"C"' else '"' + " " * (len(found) - 2) + '"'
        return re.sub(r"[^\n]", " ", found)

    return re.sub(pattern, blank, text, flags=re.DOTALL)


def _launch_in(text: str) -> LaunchSizes | None:
    """Of the last comment `launch: …` in a text."""
    comments = re.findall(r"//\s*launch:([^\n]*)|/\*\s*launch:(.*?)\*/", text, re.DOTALL)
    return LaunchSizes.parsed("".join(comments[-1])) if comments else None


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens here closes."""
    depth = 0
    for i in range(opening, len(text)):
        depth += {"(": 1, ")": -1}.get(text[i], 0)
        if depth == 0:
            return i
    raise CudaSourceError(f"line {text.count(chr(10), 0, opening) + 1}: a parenthesis that is not closed")


def _split(text: str) -> list[str]:
    """At the commas that stand in no brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += {"(": 1, "<": 1, "[": 1, "{": 1, ")": -1, ">": -1, "]": -1, "}": -1}.get(letter, 0)
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _parameter(text: str) -> Parameter:
    words = re.sub(r"\b(__restrict__|__restrict|restrict|__grid_constant__|volatile)\b", " ", text)
    words = words.partition("=")[0]
    array = re.search(r"\[\w*\]\s*$", words)
    words = words[: array.start()] if array else words
    name = re.search(r"(\w+)\s*$", words)
    kind = words[: name.start()] if name else words
    const = bool(re.search(r"\bconst\b", kind.partition("*")[0]))
    pointer = "*" in kind or array is not None
    return Parameter(name[1] if name else "", " ".join(re.sub(r"\bconst\b|\*", " ", kind).split()), pointer, const)


# --- sizes

_OPERATORS: dict[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda a, b: int(a / b) if a * b < 0 else a // b,  # as C divides integers
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
_FUNCTIONS: dict[str, Callable[..., int]] = {
    "min": min,
    "max": max,
    "ceil_div": lambda a, b: -(-a // b),
}
_BYTES = {"float": 4, "double": 8, "int": 4, "unsigned": 4, "half": 2, "char": 1, "float4": 16, "double2": 16}


def evaluated(expression: str, values: Mapping[str, int]) -> tuple[int, ...]:
    """The integers of an expression such as `((n + 15) / 16, 2)`, in which names stand for values.

    It knows + - * / % << >>, min, max, ceil_div and sizeof, and nothing else.
    """
    text = re.sub(r"\bsizeof\s*\(\s*(\w+)\s*\)", lambda place: str(_BYTES.get(place[1], place[0])), expression)
    text = re.sub(r"\b(\d+)[uUlL]+\b", r"\1", text)

    def value(node: ast.AST) -> Any:
        if isinstance(node, ast.Expression):
            return value(node.body)
        if isinstance(node, ast.Tuple):
            return tuple(value(part) for part in node.elts)
        if isinstance(node, ast.Constant) and type(node.value) is int:
            return node.value
        if isinstance(node, ast.Name) and node.id in values:
            return int(values[node.id])
        if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
            left, right = value(node.left), value(node.right)
            if isinstance(node.op, ast.LShift) and right > 40:
                raise CudaSourceError(f"{expression!r}: {right} is too far to shift")
            return _OPERATORS[type(node.op)](left, right)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            return -value(node.operand)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "dim3":
            return tuple(map(value, node.args))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS:
            return _FUNCTIONS[node.func.id](*map(value, node.args))
        if isinstance(node, ast.Name):
            raise CudaSourceError(f"{expression!r}: {node.id} is not known; known: {', '.join(values) or 'nothing'}")
        raise CudaSourceError(f"{expression!r}: expected integers, names, + - * / %, min, max, ceil_div")

    try:
        found = value(ast.parse(text.strip(), mode="eval"))
    except (SyntaxError, TypeError, ZeroDivisionError) as error:
        raise CudaSourceError(f"{expression!r} cannot be evaluated: {error}") from None
    return found if isinstance(found, tuple) else (found,)


def _three(name: str, sizes: tuple[int, ...]) -> Sizes:
    if not 1 <= len(sizes) <= 3:
        raise CudaSourceError(f"{name} has {len(sizes)} sizes, expected one to three")
    x, y, z = (*sizes, 1, 1)[:3]
    return x, y, z


# --- building


def translated(text: str) -> str:
    """A .cu file's text as C++, line for line."""
    plain = without_comments(text)
    changed = list(text)

    def replace(start: int, end: int, new: str) -> None:
        lines = "\n" * text.count("\n", start, end)
        changed[start:end] = [new + lines, *[""] * (end - start - 1)]

    for place in re.finditer(r"\bextern\s+__shared__\s+([^;\[\]]*?)(\w+)\s*\[\s*\]\s*;", plain):
        kind = re.sub(r"__align__\s*\([^)]*\)|alignas\s*\([^)]*\)", "", place[1]).strip()
        pointer = f"static_cast<{kind}*>(::loopnest::on_cpu::dynamic_shared())"
        replace(place.start(), place.end(), f"[[maybe_unused]] {kind}* const {place[2]} = {pointer};")
    for place in re.finditer(r"(\b[\w:]+(?:<[^<>;]*>)?)\s*<<<(.*?)>>>\s*\(", plain, re.DOTALL):
        replace(place.start(), place.end(), "::loopnest::on_cpu::no_launch_from_here(")
    return "".join(changed)


STUBS = (
    "cuda_runtime.h",
    "cuda_runtime_api.h",
    "cuda.h",
    "device_launch_parameters.h",
    "device_functions.h",
)
"""Headers whose words csrc/cuda/on_cpu.hpp has, so that including them changes nothing."""

WARNINGS = ("-Wall", "-Wno-unused", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-Wno-comment")


def build(
    text: str,
    name: str,
    kernels: Sequence[str],
    *,
    sanitize: str = "",
    opt: str = "-O1",
    folders: Sequence[Path] = (),
    defines: Sequence[str] = (),
    program: bool = False,
) -> Path:
    """Compile a .cu file's text to a shared library, or to a program that takes launches from its standard input.

    name      of the file, for the compiler's messages and the lines of reports
    kernels   name expressions of the `__global__` functions to be called: `tiled<float>`
    sanitize  "address" or "thread": with AddressSanitizer, or ThreadSanitizer
    folders   in which its own headers lie

    Raises CudaBuildError with the compiler's message, shortened.
    """
    flags = ["-std=c++20", opt, "-g", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffp-contract=fast"]
    if sanitize:
        checks = {"address": "address,bounds,alignment", "thread": "thread"}[sanitize]
        flags += [f"-fsanitize={checks}", "-fno-omit-frame-pointer"]
        flags += ["-fsanitize-recover=address"] if sanitize == "address" else []
    headers = csrc() / "cuda"
    table = ", ".join(f'{{"{k}", &loopnest::on_cpu::Caller<&{k}>::call}}' for k in kernels)
    unit = (
        f'#include "on_cpu.hpp"\n#line 1 "{name}"\n{translated(text)}\n#line 1 "the kernels that are called"\n'
        f'extern "C" const loopnest::on_cpu::Kernel loopnest_kernels[] = {{{table}, {{nullptr, nullptr}}}};\n'
    )
    local = [*folders, headers]
    ingredients = [unit, *flags, *defines, str(program), _compiler_version(), *map(_contents, local)]
    built = _kept("".join(ingredients), Path(name).stem, ".out" if program else ".so")
    if built.exists():
        return built
    runtime = _runtime(sanitize, program)
    with tempfile.TemporaryDirectory(prefix="loopnest-") as folder:
        source = Path(folder, "unit.cpp")
        source.write_text(unit, encoding="utf-8")
        for stub in STUBS:
            Path(folder, stub).write_text("#pragma once\n", encoding="utf-8")
        includes = [f"-I{path}" for path in (*local, folder)]
        # A main() of the file's own is compiled, and is none.
        options = [*flags, *WARNINGS, "-Dmain=main_of_the_file", *(f"-D{define}" for define in defines), *includes]
        result = Path(folder, "built")
        kind = ["-Wl,-E", "-lpthread"] if program else ["-shared", "-lpthread"]
        _compile([*options, str(source), str(runtime), "-o", str(result), *kind], name)
        _keep(result, built)
    return built


def _runtime(sanitize: str, program: bool) -> Path:
    """The object of on_cpu.cpp. It is not instrumented itself: what it does is no CUDA thread's doing."""
    source, header = csrc() / "cuda" / "on_cpu.cpp", csrc() / "cuda" / "on_cpu.hpp"
    flags = ["-std=c++20", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-tree-loop-distribute-patterns"]
    flags += {"": [], "address": ["-DLOOPNEST_ASAN", "-fsanitize=address"], "thread": ["-DLOOPNEST_TSAN"]}[sanitize]
    flags += ["-DLOOPNEST_PROGRAM"] if program else []
    texts = [path.read_text(encoding="utf-8") for path in (source, header)]
    built = _kept("".join([*texts, *flags, _compiler_version()]), "on_cpu", ".o")
    if not built.exists():
        with tempfile.TemporaryDirectory(prefix="loopnest-") as folder:
            result = Path(folder, "on_cpu.o")
            _compile([*flags, "-c", str(source), "-o", str(result)], source.name)
            _keep(result, built)
    return built


def cuda_cpp_simulated() -> bool:
    """Whether CUDA C++ runs on the CPU: right results, no meaningful times."""
    return os.environ.get("LOOPNEST_CUDA_CPP", "") == "simulated"


def compiler() -> str:
    """The system's C++ compiler: what CXX names, or g++, clang++ or c++. Raises CudaBuildError where there is none, or
    where the simulation does not run: it finds shared memory as Linux lays it out."""
    if sys.platform != "linux":
        raise CudaBuildError(f"CUDA C++ is simulated on Linux, and this is {sys.platform}", "")
    for name in (os.environ.get("CXX"), "g++", "clang++", "c++"):
        if name and shutil.which(name):
            return name
    raise CudaBuildError("no C++ compiler was found: install g++ or clang++, or name one in CXX", "")


@cache
def _version_of(name: str) -> str:
    return subprocess.run([name, "--version"], capture_output=True, text=True, check=False).stdout


def _compiler_version() -> str:
    return _version_of(compiler())


def _contents(folder: Path) -> str:
    """The texts of the headers in a folder."""
    found = sorted(path for pattern in ("*.h", "*.hpp", "*.cuh", "*.cu") for path in folder.glob(pattern))
    return "".join(f"{path.name}\0{path.read_text(encoding='utf-8', errors='replace')}\0" for path in found[:200])


KEPT = 30 * 24 * 3600
"""Seconds for which what was built is kept at least."""


def _kept(ingredients: str, stem: str, suffix: str) -> Path:
    """Where what is made of these is kept."""
    hashed = hashlib.sha256(ingredients.encode()).hexdigest()[:24]
    folder = cache_directory() / "cuda"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        folder = _for_this_process()
    return folder / f"{re.sub(r'[^A-Za-z0-9_]', '_', stem)}-{hashed}{suffix}"


@cache
def _for_this_process() -> Path:
    """A folder that goes with the process, where the user's cache cannot be written."""
    folder = tempfile.mkdtemp(prefix="loopnest-cuda-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def _keep(result: Path, built: Path) -> None:
    """Put a result into its place in one step, since others may build the same."""
    for old in built.parent.iterdir():  # what a file that has changed since was built to
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - KEPT:
                old.unlink()
    handle, name = tempfile.mkstemp(dir=built.parent)
    os.close(handle)
    shutil.copyfile(result, name)
    Path(name).chmod(0o755)
    Path(name).replace(built)


def _compile(arguments: Sequence[str], name: str) -> None:
    run = subprocess.run([compiler(), *arguments], capture_output=True, text=True, errors="replace", check=False)
    if run.returncode:
        raise CudaBuildError(f"{name} does not compile:\n{shortened(run.stderr, name)}", run.stderr)


def shortened(log: str, name: str, most: int = 3) -> str:
    """The first errors of a compiler's messages, each with its line of the source."""
    lines = log.splitlines()
    starts = [
        i for i, line in enumerate(lines) if re.search(r"\b(fatal error|error):|: error |undefined reference", line)
    ]
    told = []
    for start in starts[:most]:
        told.append(re.sub(r"^.*?([^/\s:]+:\d+)", r"\1", lines[start], count=1))
        told += [line for line in lines[start + 1 : start + 3] if re.match(r"\s*\d*\s*\|", line)]
    if len(starts) > most:
        told.append(f"and {len(starts) - most} more errors")
    return "\n".join(told or lines[:6])


# --- running


class Library:
    """A built .cu file, whose kernels can be launched.

    Arguments are NumPy arrays, of which the kernel gets the address, ctypes values and structures as they are, Python's
    integers as int and floats as float.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._library = ctypes.CDLL(str(path))
        self._library.loopnest_launch.restype = ctypes.c_int
        self._library.loopnest_kernel.restype = ctypes.c_char_p

    def kernels(self) -> tuple[str, ...]:
        """The names by which kernels can be launched."""
        names: list[str] = []
        while (name := self._library.loopnest_kernel(len(names))) is not None:
            names.append(name.decode())
        return tuple(names)

    def launch(
        self, kernel: str, grid: Sizes, block: Sizes, arguments: Sequence[Any], shared: int = 0, strict: bool = False
    ) -> None:
        """Run a kernel over a grid of blocks, and wait for it.

        shared  bytes of dynamic shared memory
        strict  refuse a barrier before which threads of the block have returned

        Raises CudaLaunchError where it cannot end, with the reason and the line.
        """
        if math.prod(grid) == 0:
            raise CudaLaunchError(f"{kernel}: a grid of {grid} blocks; no GPU takes a launch without blocks")
        values = [as_c(argument) for argument in arguments]
        addresses = (ctypes.c_void_p * max(1, len(values)))(*[ctypes.addressof(value) for value in values])
        why = ctypes.create_string_buffer(600)
        sizes = (ctypes.c_uint * 6)(*grid, *block)
        failed = self._library.loopnest_launch(
            kernel.encode(), sizes, ctypes.c_size_t(shared), addresses, int(strict), why, ctypes.c_size_t(600)
        )
        if failed:
            raise CudaLaunchError(f"{kernel}: {why.value.decode()}")


def as_c(argument: Any) -> Any:
    """An argument as the value that a kernel gets."""
    if isinstance(argument, np.ndarray):
        return ctypes.c_void_p(argument.ctypes.data)
    if isinstance(argument, bool | np.bool_):
        return ctypes.c_bool(bool(argument))
    if isinstance(argument, int | np.integer):
        return ctypes.c_int(int(argument))
    if isinstance(argument, float):
        return ctypes.c_float(argument)
    return argument


def device_array(shape: tuple[int, ...], dtype: Any) -> Array:
    """Memory as a device gives it: it begins at a multiple of 256 bytes, and what is in it, nobody knows (0xFF)."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.full(size + 256, 0xFF, np.uint8)
    start = -memory.ctypes.data % 256
    array: Array = memory[start : start + size].view(dtype).reshape(shape)
    return array

"""CUDA C++ on a CPU: a .cu file becomes a shared library that runs its kernels, right and slowly.

The file is compiled as it is, after on_cpu.hpp, which defines CUDA's words for a C++ compiler, and linked with
on_cpu.cpp, which runs the threads. Only two constructs are rewritten first, each on its own line: `extern __shared__
T name[];`, which C++ cannot express, and a launch, `kernel<<<grid, block>>>(…)`.

Libraries are kept in the user's cache folder, named by a hash of everything that went into them.
"""

import contextlib
import ctypes
import functools
import math
import re
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .compiler import (
    Build,
    NoCompilerError,
    NoExecutionError,
    build_once,
    cache_directory,
    find,
    temporary_folder,
    why_not_loaded_from,
)
from .cpp import csrc
from .cuda_source import STUBS, CudaFile, CudaSourceError, LaunchSizes, Sizes, without_comments

KEPT = 30 * 24 * 3600
"""Seconds for which a library is kept at least."""

WARNINGS = ("-Wall", "-Wno-unused", "-Wno-unknown-pragmas", "-Wno-sign-compare", "-Wno-comment")


class CudaLaunchError(RuntimeError):
    """A launch that cannot end or begin: threads that wait for ever, sizes that no GPU accepts, an unknown kernel."""


def why_not_here() -> str | None:
    """Why CUDA C++ cannot run on this CPU, with the fix, or None where it can."""
    if sys.platform != "linux":  # shared memory is found as Linux lays it out
        return f"CUDA C++ is simulated on Linux, and this is {sys.platform}"
    try:
        find("c++")
        _folder()
    except (NoCompilerError, NoExecutionError) as error:
        return str(error)
    return None


@dataclass(frozen=True)
class Simulated:
    """A .cu file built for the CPU as a shared library."""

    source: CudaFile
    library: Path

    def launch(self, name: str, *arguments: Any, sizes: LaunchSizes | None = None) -> None:
        """Run a kernel, and wait for it.

        name       of the kernel; for a template a name expression, `tiled<float>`
        arguments  in the kernel's order: arrays in C order for pointers, numbers for the others
        sizes      instead of those in the comment above the kernel

        Raises CudaSourceError for arguments that do not fit the parameters, or where no sizes are known;
        CudaLaunchError where threads wait for ever.

        >>> import numpy as np
        >>> from loopnest.backends.cuda_on_cpu import build_simulated
        >>> file = Path(__import__("tempfile").mkdtemp()) / "twice.cu"
        >>> _ = file.write_text('''
        ... // launch: grid=(n + 31) / 32 block=32
        ... __global__ void twice(const float* x, float* y, int n) {
        ...     int i = blockIdx.x * blockDim.x + threadIdx.x;
        ...     if (i < n) y[i] = 2 * x[i];
        ... }
        ... ''')
        >>> y = np.empty(3, np.float32)
        >>> build_simulated(file).launch("twice", np.array([1, 2, 3], np.float32), y, 3)
        >>> y
        array([2., 4., 6.], dtype=float32)
        """
        kernel = self.source.kernel(name)
        values = kernel.c_values(arguments)
        integers = {p.name: int(x) for p, x in zip(kernel.parameters, arguments, strict=True) if p.integer}
        grid, block, shared = (sizes or kernel.sizes).of(integers)
        self.run(name, grid, block, values, shared)

    def run(self, name: str, grid: Sizes, block: Sizes, values: Sequence[Any], shared: int = 0) -> None:
        """Run a kernel for these sizes with C values. Raises CudaLaunchError, with the reason and the line."""
        if math.prod(grid) == 0:
            raise CudaLaunchError(f"{name}: a grid of {grid} blocks; no GPU accepts a launch without blocks")
        addresses = (ctypes.c_void_p * max(1, len(values)))(*[ctypes.addressof(value) for value in values])
        why = ctypes.create_string_buffer(600)
        sizes = (ctypes.c_uint * 6)(*grid, *block)
        failed = _loaded(self.library).loopnest_launch(
            name.encode(), sizes, ctypes.c_size_t(shared), addresses, 0, why, ctypes.c_size_t(600)
        )
        if failed:
            raise CudaLaunchError(f"{name}: {why.value.decode()}")


@functools.cache
def _loaded(library: Path) -> ctypes.CDLL:
    loaded = ctypes.CDLL(str(library))
    loaded.loopnest_launch.restype = ctypes.c_int
    return loaded


def build_simulated(cu_file: Path | str, *, opt: str = "-O1", names: Sequence[str] | None = None) -> Simulated:
    """Compile a .cu file for the CPU, or find it in the user's cache folder.

    opt    the compiler's level of optimization
    names  the kernels to be launched, templates with their arguments: `tiled<float>`. All kernels that are no templates
           where it is None.

    Raises CudaSourceError for a file that is missing or has no kernels, BuildError for one that does not compile.
    """
    source = CudaFile.read(cu_file)
    wanted = [kernel.name for kernel in source.kernels if not kernel.template] if names is None else list(names)
    if not wanted:
        template = "".join(kernel.name for kernel in source.kernels[:1])
        hint = f" that is no template; of a template say which: names=['{template}<float>']" if template else ""
        raise CudaSourceError(f"{source.path.name} has no __global__ function{hint}")
    return Simulated(source, build(source, wanted, opt=opt))


def build(source: CudaFile, kernels: Sequence[str], *, opt: str = "-O1", program: bool = False) -> Path:
    """Compile a .cu file to a shared library, or to a program that reads launches from its standard input, with
    ThreadSanitizer and checks of indices.

    kernels   name expressions of the `__global__` functions to be called: `tiled<float>`

    Raises BuildError with the compiler's first errors.
    """
    flags = ["-std=c++20", opt, "-g", "-fPIC", "-fvisibility=hidden", "-fno-strict-aliasing", "-ffp-contract=fast"]
    flags += ["-fsanitize=thread,bounds", "-fno-omit-frame-pointer"] if program else []
    table = ", ".join(f'{{"{k}", &loopnest::on_cpu::Caller<&{k}>::call}}' for k in kernels)
    unit = (
        f'#include "cuda_on_cpu/on_cpu.hpp"\n#line 1 "{source.path}"\n{translated(source.text)}\n'
        '#line 1 "the kernels that are called"\n'
        f'extern "C" const loopnest::on_cpu::Kernel loopnest_kernels[] = {{{table}, {{nullptr, nullptr}}}};\n'
    )
    own = source.path.absolute().parent
    headers = [own, csrc() / "cuda_on_cpu", csrc() / "cuda", *sorted(csrc().glob("*/cuda"))]
    with tempfile.TemporaryDirectory(prefix="loopnest-") as folder:
        translation = Path(folder, "unit.cpp")
        translation.write_text(unit, encoding="utf-8")
        for stub in STUBS:
            Path(folder, stub).write_text("#pragma once\n", encoding="utf-8")
        includes = [f"-I{path}" for path in (own, csrc(), folder)]
        # The file's own main(), if it has one, is compiled under another name and never called.
        options = [*flags, *WARNINGS, "-Dmain=main_of_the_file", "-Wl,-E" if program else "-shared"]
        runtime = _runtime(program)
        arguments = [*options, *includes, str(translation), str(runtime), "-lpthread"]
        ingredients = [unit, *options, runtime.name, *map(_headers, headers)]
        return _built(arguments, ingredients, str(source.path), ".out" if program else ".so")


def _runtime(program: bool) -> Path:
    """The object file of on_cpu.cpp. It is not instrumented: its own accesses are no CUDA thread's."""
    folder = csrc() / "cuda_on_cpu"
    flags = ["-std=c++20", "-O2", "-g1", "-fPIC", "-fvisibility=hidden", "-fno-tree-loop-distribute-patterns"]
    flags += ["-DLOOPNEST_TSAN=1", "-DLOOPNEST_PROGRAM"] if program else ["-DLOOPNEST_TSAN=0"]
    return _built([*flags, "-c", str(folder / "on_cpu.cpp")], [*flags, _headers(folder)], "on_cpu.cpp", ".o")


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


def _headers(folder: Path) -> str:
    """The texts of a folder's headers."""
    found = sorted(path for pattern in ("*.h", "*.?pp", "*.cuh", "*.cu") for path in folder.glob(pattern))
    return "".join(f"{path.name}\0{path.read_text(encoding='utf-8', errors='replace')}\0" for path in found[:200])


def _built(arguments: Sequence[str], ingredients: Sequence[str], name: str, suffix: str) -> Path:
    """The compiler's output for these arguments, kept in the user's cache."""
    folder = _folder()
    for old in folder.iterdir():  # libraries of files that have changed since
        with contextlib.suppress(OSError):
            if old.stat().st_mtime < time.time() - KEPT:
                old.unlink()
    build = Build("cuda", "loopnest's simulator of CUDA on the CPU")
    return build_once(find("c++"), arguments, ingredients, Path(name), folder, suffix, build).file


def _folder() -> Path:
    """Where libraries are kept: in the user's cache, or in a temporary folder where they cannot be loaded from there.

    Raises NoExecutionError where they can be loaded from neither.
    """
    with contextlib.suppress(OSError):
        folder = cache_directory() / "cuda"
        folder.mkdir(parents=True, exist_ok=True)
        if why_not_loaded_from(folder) is None:
            return folder
    if reason := why_not_loaded_from(temporary_folder()):
        raise NoExecutionError(reason, Build("cuda"))
    return temporary_folder()

"""Data races of the kernels in a .cu file, with the line after which a barrier is missing. No GPU is needed.

The file runs on the CPU, each CUDA thread as a fiber, compiled with ThreadSanitizer. ThreadSanitizer is given the
order that a GPU guarantees: `__syncthreads()` orders a block's threads, `__syncwarp()` a warp's, and nothing orders two
blocks. So a pair that it reports is a race on every GPU, even where timing hides it. Only code that the launch executes
is seen: another size may take another branch.

>>> from loopnest.backends.cpp import csrc
>>> from loopnest.verify.racecheck import racecheck
>>> racecheck(csrc() / "matmul" / "cuda" / "tiled.cu").findings
()
"""

from __future__ import annotations

import ctypes
import math
import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..backends.cuda_on_cpu import build
from ..backends.cuda_source import C_TYPES, CudaFile, CudaSourceError, KernelFunction, LaunchSizes, evaluated
from .race_report import Finding, Report, Run

SIZES = {"m": 19, "n": 21, "k": 37}
"""Integer parameters where no values are given: no multiples of a tile's size. `n` and `m` grow until the grid has two
blocks in each direction that depends on them, or the launch has MOST_THREADS."""

MOST_THREADS = 600  # Threads of a launch whose sizes are chosen here: ThreadSanitizer takes 0.7 ms and 0.8 MB for each


@dataclass(frozen=True)
class Racecheck:
    """The findings, and how the kernels were launched. They ran simulated, on the CPU."""

    file: str
    launches: tuple[str, ...]
    findings: tuple[Finding, ...]
    simulated: bool = True


def racecheck(
    file: Path | str,
    *,
    kernel: str | None = None,
    operation: str | None = None,
    sizes: Mapping[str, int] | None = None,
    time_limit: float = 60,
) -> Racecheck:
    """Run the kernels of a .cu file, and report accesses that nothing orders, and indices outside of an array's type.

    kernel      only this one; all where it is None. Templates run for float.
    operation   "matmul": the three pointers have m k, k n and m n elements. By default the kernel's name decides; for
                other kernels each pointer has as many elements as the product of the integers, or as a comment
                `// arrays: a=m*k b=k*n` says.
    sizes       integer parameters by name; SIZES has the others
    time_limit  seconds for a kernel

    Raises CudaSourceError for kernels that cannot be launched as they are, BuildError for a file that does not compile.
    """
    source = CudaFile.read(file)
    kernels = source.kernels if kernel is None and source.kernels else (source.kernel(kernel or ""),)
    runs = [_run_of(source.text, k, operation, sizes or {}) for k in kernels]
    program = build(source, [run.name for run in runs], program=True)
    findings: list[Finding] = []
    for run in runs:
        log, status = _logged(program, run.script, time_limit)
        if "LOOPNEST hang" in log and " waits " not in log:  # run the other threads first, to see where they wait
            again, _ = _logged(program, "downwards\n" + run.script, min(time_limit, 5))
            log = again if " waits " in again else log
        findings += Report(source.path, source.text, run, log, program).findings(status, time_limit)
    return Racecheck(str(source.path), tuple(map(str, runs)), tuple(findings))


# --- how a kernel is run


def _run_of(text: str, kernel: KernelFunction, operation: str | None, given: Mapping[str, int]) -> Run:
    """A launch of the kernel, with arrays of random numbers."""
    launch = kernel.sizes
    matmul = operation == "matmul" or (operation is None and "matmul" in kernel.name)
    sizes = _chosen(kernel, launch, matmul, given)
    grid, block, shared = launch.of(sizes)
    pointers = [p.name for p in kernel.parameters if p.pointer]
    elements = dict(zip(pointers, ("m*k", "k*n", "m*n"), strict=True)) if matmul and len(pointers) == 3 else {}
    for comment in re.findall(r"//\s*arrays:([^\n]*)", "\n".join(text.splitlines()[: kernel.line])):
        elements |= dict(re.findall(r"(\w+)\s*=\s*([^\s,]+)", comment))
    axes = {"a": ("m", "k"), "b": ("k", "n")} if matmul else {}
    arrays: list[tuple[str, str]] = []  # name, and "type elements" for the program
    values: list[str] = []
    name = (kernel.expressions or [kernel.name])[0]
    types = dict(zip(kernel.template, re.findall(r"\w+", name.removeprefix(kernel.name)), strict=False))
    for p in kernel.parameters:
        kind = (p.matrix or p.type).replace("const ", "")
        kind = types.get(kind, kind)
        size = ctypes.sizeof(C_TYPES[kind]) if kind in C_TYPES else 4
        if p.matrix or p.pointer:
            count = min(math.prod(max(1, size) for size in sizes.values()), 1 << 22)
            if p.matrix:
                rows, cols = (sizes[axis] for axis in axes.get(p.name, ("m", "n")))
                values.append(f"m {len(arrays)} {rows} {cols} {cols} 1")
                count = rows * cols
            else:
                values.append(f"p {len(arrays)}")
                count = evaluated(elements[p.name], {**launch.constants, **sizes})[0] if p.name in elements else count
            element = kind if kind in ("float", "double") else "long" if size == 8 else "int"
            arrays.append((p.name, f"{element} {count}"))
        elif kind in C_TYPES:
            value = {"bool": 1, "float": 0.5, "double": 0.5}.get(kind) or sizes[p.name]
            values.append(f"v {int.from_bytes(bytes(C_TYPES[kind](value)), 'little')}")
        else:
            where = f"{kernel.file}: {kernel.name}'s {p.name}"
            raise CudaSourceError(f"{where} is a {p.type}, expected pointers, numbers, or a Matrix of view.hpp")
    numbers = " ".join(map(str, (*grid, *block, shared, len(values))))
    script = "\n".join([*(f"array {array}" for _, array in arrays), f"launch {name} {numbers}", *values, ""])
    return Run(kernel.name, name, grid, block, sizes, tuple(array for array, _ in arrays), script)


def _chosen(kernel: KernelFunction, launch: LaunchSizes, matmul: bool, given: Mapping[str, int]) -> dict[str, int]:
    """The integers by name: given ones, else SIZES, with n and m large enough for two blocks."""
    needed = SIZES if matmul or any(p.matrix for p in kernel.parameters) else ()
    names = dict.fromkeys([*(p.name for p in kernel.parameters if p.integer), *needed, *given])
    sizes = {name: given.get(name, SIZES.get(name, 21)) for name in names}

    def grid_of(name: str, more: int) -> tuple[int, ...]:
        return launch.of({**sizes, name: sizes[name] + more})[0]

    threads = math.prod(launch.of(sizes)[1])
    for name in ("n", "m"):
        while name in sizes and name not in given and sizes[name] < 1200:
            grid, far = grid_of(name, 0), grid_of(name, 10_000)
            few = any(now < 2 and now != later for now, later in zip(grid, far, strict=True))
            if not few or math.prod(grid_of(name, 18)) * threads > MOST_THREADS:
                break
            sizes[name] += 18
    return sizes


def _fixed_addresses() -> None:
    """Switch off the randomizing of addresses in this process: newer Linux kernels randomize over so wide a range that
    ThreadSanitizer may find its own memory taken."""
    libc, no_randomize = ctypes.CDLL(None), 0x0040000
    if hasattr(libc, "personality"):
        libc.personality(libc.personality(0xFFFFFFFF) | no_randomize)


def _logged(program: Path, script: str, time_limit: float) -> tuple[str, int]:
    """A program's standard error and its exit status."""
    of_tsan = "history_size=2", "suppress_equal_addresses=0", "report_signal_unsafe=0", "color=never"
    no_sleep = "atexit_sleep_ms=0"  # By default, it waits for a second for the threads of other programs.
    options = {"TSAN_OPTIONS": ":".join((*of_tsan, no_sleep)), "UBSAN_OPTIONS": "color=never"}
    ran = subprocess.run(
        [str(program)],
        input=f"limit {max(1, int(time_limit))}\n{script}",
        capture_output=True,
        text=True,
        errors="replace",
        env={name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | options,
        preexec_fn=_fixed_addresses,
        check=False,
    )
    if "FATAL: ThreadSanitizer: unexpected memory mapping" in ran.stderr:
        raise CudaSourceError("ThreadSanitizer cannot run here; as an administrator: sysctl vm.mmap_rnd_bits=28")
    return ran.stderr, ran.returncode

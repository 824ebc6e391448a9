"""numba.cuda's rungs, without a GPU: PTX, SASS, registers, and how many warps a GPU holds of each kernel.

cc        the compute capability, "9.0"; that of the GPU where it is not given
gpu       the GPU whose occupancy is told, "H100"; another one of the compute capability where only that is given
workload  whose shapes decide grids; the operation's largest where it is not given
"""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from . import Request, source_listing, workload_of
from .cubin import assemble, disassemble, why_no_assembler, why_no_disassembler
from .gpu_code import families, hot_loop, read_ptx, read_sass
from .launches import Launch, launches_of, numba_cuda_missing, signature_of
from .occupancy import LIMITS, Gpu, gpu_named, gpu_of, occupancy
from .records import InspectError, Listing

SHOWS = ("hot", "source", "ptx", "sass")
MEASURES = False  # this machine's limits, which are its processor's, say nothing of a GPU, nor of a simulated one

USUAL_GPU = "H100"


def show(request: Request) -> list[Listing]:
    if request.aspect == "source":
        return [source_listing(request.implementation)]
    missing = numba_cuda_missing()
    if missing:
        raise InspectError(missing)
    target = Target.of(request)
    k = request.implementation
    workload = workload_of(k, request.options.get("workload"))
    launches = launches_of(k, workload, request.dtype)
    listings = []
    for launch, times in _distinct(launches):
        name, ptx = compiled(launch.kernel, signature_of(launch), target.cc)
        about = Launched(launch.kernel.py_func.__name__, launch.block, launch.grid, launch.shared, times, workload.name)
        listings += listings_of(request.aspect, ptx, name, about, target, request.dtype)
    if not listings:
        raise InspectError(f"{k.id} launches no kernel on {workload.name}")
    return listings


@dataclass(frozen=True)
class Target:
    """What is compiled for, and the GPU whose occupancy is told.

    told  the note where code is not for the GPU's own compute capability
    """

    cc: tuple[int, int]
    gpu: Gpu
    told: str = ""

    @classmethod
    def of(cls, request: Request) -> Target:
        """By the options `cc` and `gpu`. Raises InspectError."""
        cc, name = request.options.get("cc"), request.options.get("gpu")
        known = supported()
        try:
            asked = capability(cc) if cc else None
            if asked is not None and asked not in known:
                listed = ", ".join(map(_dotted, known))
                raise InspectError(f"cc is {_dotted(asked)}, expected one that the installed compiler knows: {listed}")
            usual = gpu_named(USUAL_GPU)
            gpu = gpu_named(name) if name else usual if asked in (None, usual.cc) else gpu_of(asked)
        except ValueError as error:
            raise InspectError(str(error)) from None
        if asked is not None and asked != gpu.cc:
            told = f"The code is for {_dotted(asked)}, and {gpu.name} has {gpu.capability}: the figures may differ."
            return cls(asked, gpu, told)
        if gpu.cc in known:
            return cls(gpu.cc, gpu)
        nearest = min(known, key=lambda other: abs(10 * other[0] + other[1] - 10 * gpu.cc[0] - gpu.cc[1]))
        return cls(
            nearest,
            gpu,
            f"The installed compiler writes no code for {gpu.name} ({gpu.capability}): registers are those of code for "
            f"{_dotted(nearest)}.",
        )


def capability(cc: Any) -> tuple[int, int]:
    """(9, 0) of "9.0", "90" or "sm_90". Raises ValueError.

    >>> capability("sm_120"), capability("8.6")
    ((12, 0), (8, 6))
    """
    if isinstance(cc, tuple):
        return int(cc[0]), int(cc[1])
    digits = str(cc).lower().removeprefix("sm_").removeprefix("compute_").replace(".", "")
    if not digits.isdecimal() or len(digits) not in (2, 3):
        raise ValueError(f"cc is {cc!r}, expected a compute capability such as 9.0")
    return int(digits[:-1]), int(digits[-1])


def _dotted(cc: tuple[int, int]) -> str:
    return f"{cc[0]}.{cc[1]}"


@functools.cache
def supported() -> tuple[tuple[int, int], ...]:
    """The compute capabilities that the installed compiler writes code for and whose limits are known."""
    from cuda.bindings import nvrtc

    error, arches = nvrtc.nvrtcGetSupportedArchs()
    if int(error):
        return tuple(LIMITS)
    return tuple(cc for cc in LIMITS if 10 * cc[0] + cc[1] in arches)


def _distinct(launches: Sequence[Launch]) -> list[tuple[Launch, int]]:
    """Each kernel once for a signature and a block, with how often it is launched; of several grids the largest."""
    found: dict[Any, list[Launch]] = {}
    for launch in launches:
        found.setdefault((launch.kernel, signature_of(launch), launch.block, launch.shared), []).append(launch)
    return [(max(same, key=lambda launch: launch.blocks), len(same)) for same in found.values()]


@functools.lru_cache(maxsize=64)
def compiled(kernel: Any, signature: tuple[Any, ...], cc: tuple[int, int]) -> tuple[str, str]:
    """A kernel's mangled name and its PTX."""
    from numba import cuda

    ptx, _ = cuda.compile_ptx(kernel.py_func, signature, device=False, cc=cc, lineinfo=True)
    found = re.search(r"\.entry\s+([\w$]+)", ptx)
    if found is None:
        raise InspectError(f"{kernel.py_func.__name__}: the compiler gave PTX without a kernel")
    return found[1], ptx


# --- for kernels however they were written: cuda_cpp's too


@dataclass(frozen=True)
class Launched:
    """How a kernel is launched.

    name      as it was written
    shared    bytes of dynamic shared memory
    times     how often in a call
    workload  on which
    """

    name: str
    block: tuple[int, ...]
    grid: tuple[int, ...]
    shared: int
    times: int
    workload: str

    @property
    def threads(self) -> int:
        return self.block[0] * self.block[1] * self.block[2]

    @property
    def blocks(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]


def listings_of(aspect: str, ptx: str, symbol: str, launched: Launched, target: Target, dtype: str) -> list[Listing]:
    """A kernel's listing for an aspect: "ptx", "sass", or "hot", which is the hot loop in SASS, or in PTX without
    nvdisasm."""
    facts, notes = facts_of(ptx, symbol, launched, target)
    if aspect == "sass" and (why_no_assembler() or why_no_disassembler()):
        raise InspectError(why_no_assembler() or why_no_disassembler() or "")
    as_sass = aspect == "sass" or (aspect == "hot" and not why_no_assembler() and not why_no_disassembler())
    if aspect == "hot" and not as_sass:
        notes = (
            *notes,
            f"This is PTX, which has no machine instructions: {why_no_assembler() or why_no_disassembler()}.",
        )
    if as_sass:
        code = read_sass(disassemble(assemble(ptx, target.cc).cubin), symbol)
        loop = hot_loop(code, target.cc)
    else:
        code = read_ptx(ptx, symbol)
        loop = hot_loop(code)
    if loop is not None:
        facts["instructions"] = families(loop.instructions)
        jumps = sum(one.mnemonic.startswith(("BRA", "bra")) for one in loop.instructions[:-1])
        if jumps:
            branches = f"{jumps} branches" if jumps > 1 else "a branch"
            notes = (f"The loop has {branches} in it: what they pass over is counted as if it were run.", *notes)
    elif aspect == "hot":
        notes = (*notes, "No loop was found in it: each thread does its work once, or the compiler unrolled the loop.")
    lines = code.lit(loop)
    if aspect == "hot" and loop is not None:
        lines = tuple(line for line in lines if line.hot)
    lines = tuple(replace(line, text=line.text.replace(symbol, launched.name)) for line in lines)
    title = f"{launched.name}, {dtype}, {'SASS' if as_sass else 'PTX'} for compute capability {_dotted(target.cc)}"
    return [Listing(title, "sass" if as_sass else "ptx", lines, loop, notes, facts)]


def facts_of(ptx: str, symbol: str, launched: Launched, target: Target) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Registers, memory and occupancy, and what is to be said of them."""
    facts: dict[str, Any] = {
        "block": " × ".join(str(n) for n in _trimmed(launched.block)) + " threads",
        "grid": " × ".join(str(n) for n in _trimmed(launched.grid)) + f" blocks on {launched.workload}",
    }
    if launched.times > 1:
        facts["launches"] = f"{launched.times} in a call"
    notes = [target.told] if target.told else []
    missing = why_no_assembler()
    if missing:
        return facts, (*notes, f"Registers and occupancy are not known: {missing}")
    assembled = assemble(ptx, target.cc)
    kernel = assembled.kernel(symbol)
    shared = kernel.shared + launched.shared
    spilled = kernel.spill_stores + kernel.spill_loads
    facts |= {
        "resources": ", ".join(
            (
                f"{kernel.registers} registers a thread",
                f"{shared:,} bytes of shared memory a block" if shared else "no shared memory",
                f"{kernel.barriers} barrier{'s' if kernel.barriers > 1 else ''}" if kernel.barriers else "no barrier",
                f"{spilled} bytes spilled and read back" if spilled else "nothing spilled",
                *([f"{kernel.stack} bytes of local memory a thread"] if kernel.stack else []),
            )
        ),
        "assembler": assembled.tool,
        "kernel": dataclasses.asdict(kernel) | {"shared": shared},
    }
    held = occupancy(
        target.gpu,
        threads=launched.threads,
        registers=kernel.registers,
        shared=shared,
        barriers=kernel.barriers,
    )
    facts["occupancy"] = held.to_json()
    notes += [held.sentence, held.advice]
    if kernel.spill_stores or kernel.spill_loads:
        notes.append(
            f"There are too few registers: a thread writes {kernel.spill_stores} bytes to local memory and reads "
            f"{kernel.spill_loads} back."
        )
    if held.blocks and target.gpu.multiprocessors:
        places = held.blocks * target.gpu.multiprocessors
        waves = launched.blocks / places
        notes.append(
            f"The grid's {launched.blocks:,} blocks fill the {target.gpu.multiprocessors} multiprocessors "
            f"{waves:.2f} times."
            + (" Some of them have nothing to do." if launched.blocks < target.gpu.multiprocessors else "")
        )
    return facts, tuple(note for note in notes if note)


def _trimmed(sizes: tuple[int, ...]) -> tuple[int, ...]:
    while len(sizes) > 1 and sizes[-1] == 1:
        sizes = sizes[:-1]
    return sizes

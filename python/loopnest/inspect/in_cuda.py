"""numba.cuda's rungs, without a GPU: SASS, PTX, registers, and how many warps a GPU holds of each kernel.

    gpu       the GPU of the code and of the occupancy, "H100", or a compute capability, "9.0"; by default H100
    workload  whose shapes decide grids; the operation's largest by default

The rung's host function is run with host memory in place of the device's, and with launches that are noted: so grids,
blocks and argument types are a real call's.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import importlib.util
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..backends import cuda_simulated
from ..operation import Implementation, Workload
from . import Request, run_once, workload_of
from .cubin import assemble, disassemble, why_no_assembler, why_no_disassembler
from .gpu_code import families, read_ptx, read_sass
from .occupancy import Gpu, gpu_named, occupancy
from .records import InspectError, Listing
from .source import source_listing

SHOWS = ("hot", "source", "sass", "ptx")
MEASURES = False  # the limits of this machine's processor say nothing about a GPU, nor about a simulated one

DEFAULT_GPU = "H100"

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Launch:
    """One launch.

    kernel     numba.cuda's dispatcher and the types of its arguments; for CUDA C++ the .cu file and the name expression
    name       the kernel's, as it was written
    grid       blocks along x, y and z; block: the same for threads
    shared     bytes of dynamic shared memory
    """

    kernel: tuple[Any, Any]
    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int = 0

    @property
    def threads(self) -> int:
        return int(np.prod(self.block))

    @property
    def blocks(self) -> int:
        return int(np.prod(self.grid))


def show(request: Request) -> list[Listing]:
    return shown(request, why_not_here(), launches_of, compiled)


def shown(
    request: Request,
    missing: str | None,
    launches_of: Callable[[Implementation, Workload, str], list[Launch]],
    compiled: Callable[[Launch, tuple[int, int]], tuple[str, str]],
) -> list[Listing]:
    """The listings of numba.cuda's and of CUDA C++'s rungs, which differ in how launches are noted and compiled."""
    k = request.implementation
    if request.aspect == "source":
        return [source_listing(k)]
    if missing:
        raise InspectError(missing)
    gpu, workload = gpu_of(request), workload_of(k, request.options.get("workload"))
    largest: dict[Any, Launch] = {}  # each kernel once for its types and block, with its largest grid
    times: Counter[Any] = Counter()
    for launch in launches_of(k, workload, request.dtype):
        key = (launch.kernel, launch.block, launch.shared)
        largest[key] = max(largest.get(key, launch), launch, key=lambda one: one.blocks)
        times[key] += 1
    if not largest:
        raise InspectError(f"{k.id} launches no kernel on {workload.name}")
    listings = []
    for key, launch in largest.items():
        symbol, ptx = compiled(launch, gpu.cc)
        facts, notes = facts_of(ptx, symbol, launch, gpu)
        facts["grid"] += f" on {workload.name}" + (f", launched {times[key]} times in a call" if times[key] > 1 else "")
        listings.append(_listing(request, ptx, symbol, launch, gpu, facts, notes))
    return listings


def _listing(
    request: Request, ptx: str, symbol: str, launch: Launch, gpu: Gpu, facts: dict[str, Any], notes: list[str]
) -> Listing:
    """A kernel's SASS or PTX; for "hot" the loop alone, in SASS, or in PTX without nvdisasm."""
    aspect, missing = request.aspect, why_no_disassembler()
    if aspect == "sass" and missing:
        raise InspectError(missing)
    language = "ptx" if aspect == "ptx" or missing else "sass"
    if aspect == "hot" and missing:
        notes.append(f"This is PTX, which has no machine instructions: {missing}.")
    code = read_ptx(ptx, symbol) if language == "ptx" else read_sass(disassemble(assemble(ptx, gpu.cc).cubin), symbol)
    loop = code.loop
    if loop is not None:
        facts["instructions"] = families(loop.instructions)
    elif aspect == "hot":
        notes.append("No loop was found in it: each thread does its work once, or the compiler unrolled the loop.")
    lines = code.marked(loop)
    if aspect == "hot" and loop is not None:
        lines = tuple(line for line in lines if line.hot)
    lines = tuple(replace(line, text=line.text.replace(symbol, launch.name)) for line in lines)
    title = f"{launch.name}, {request.dtype}, {language.upper()} for compute capability {gpu.capability}"
    return Listing(title, "ptx" if language == "ptx" else "sass", lines, loop, tuple(notes), facts)


def facts_of(ptx: str, symbol: str, launch: Launch, gpu: Gpu) -> tuple[dict[str, Any], list[str]]:
    """Registers, memory and occupancy, and notes on them."""
    facts: dict[str, Any] = {
        "block": f"{_sizes(launch.block)} threads",
        "grid": f"{_sizes(launch.grid)} blocks",
    }
    if missing := why_no_assembler():
        return facts, [f"Registers and occupancy are not known: {missing}"]
    assembled = assemble(ptx, gpu.cc)
    kernel = assembled.kernels[symbol]
    shared = kernel.shared + launch.shared
    spilled = kernel.spill_stores + kernel.spill_loads
    resources = (
        f"{kernel.registers} registers a thread",
        f"{shared:,} bytes of shared memory a block" if shared else "no shared memory",
        f"{kernel.barriers} barrier{'s' if kernel.barriers > 1 else ''}" if kernel.barriers else "no barrier",
        f"{spilled} bytes spilled and read back" if spilled else "nothing spilled",
    )
    held = occupancy(gpu, threads=launch.threads, registers=kernel.registers, shared=shared, barriers=kernel.barriers)
    facts |= {
        "resources": ", ".join(resources),
        "assembler": assembled.tool,
        "kernel": dataclasses.asdict(kernel) | {"shared": shared},
        "occupancy": dataclasses.asdict(held),
    }
    notes = [held.sentence]
    if held.blocks and gpu.multiprocessors:
        waves = launch.blocks / (held.blocks * gpu.multiprocessors)
        notes.append(
            f"The grid's {launch.blocks:,} blocks fill its {gpu.multiprocessors} multiprocessors {waves:.2f} times."
        )
    return facts, notes


def _sizes(sizes: tuple[int, ...]) -> str:
    """Without the ones at the end.

    >>> _sizes((16, 16, 1))
    '16 × 16'
    """
    kept = max((n for n, size in enumerate(sizes) if size != 1), default=0)
    return " × ".join(map(str, sizes[: kept + 1]))


def gpu_of(request: Request) -> Gpu:
    """The GPU of the option `gpu`. Raises InspectError if the installed compiler writes no code for it."""
    from cuda.bindings import nvrtc

    try:
        gpu = gpu_named(request.options.get("gpu") or DEFAULT_GPU)
    except ValueError as error:
        raise InspectError(str(error)) from None
    status, arches = nvrtc.nvrtcGetSupportedArchs()
    if not int(status) and 10 * gpu.cc[0] + gpu.cc[1] not in arches:
        known = ", ".join(f"{arch // 10}.{arch % 10}" for arch in arches)
        raise InspectError(f"gpu is {gpu.name} ({gpu.capability}), expected one that the compiler knows: {known}")
    return gpu


# --- numba.cuda: launches and PTX


def why_not_here() -> str | None:
    """Why numba.cuda's kernels cannot be compiled here, and the fix; None if they can."""
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install 'loopnest[cuda]'"
    if cuda_simulated():
        return "NUMBA_ENABLE_CUDASIM is set, and the simulator compiles nothing: unset it"
    return None


@functools.lru_cache(maxsize=64)
def compiled(launch: Launch, cc: tuple[int, int]) -> tuple[str, str]:
    """A kernel's mangled name and its PTX."""
    from numba import cuda

    dispatcher, signature = launch.kernel
    ptx, _ = cuda.compile_ptx(dispatcher.py_func, signature, device=False, cc=cc, lineinfo=True)
    found = re.search(r"\.entry\s+([\w$]+)", ptx)
    if found is None:
        raise InspectError(f"{launch.name}: the compiler gave PTX without a kernel")
    return found[1], ptx


def launches_of(k: Implementation, workload: Workload, dtype: str) -> list[Launch]:
    """The launches of one call of a numba.cuda rung on a workload, in their order."""
    with _noting() as launches:
        run_once(k, workload, dtype)
    return launches


class HostArray(np.ndarray):
    """Host memory in place of a device's."""

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        return self if ary is None else ary

    def copy_to_device(self, ary: Any, stream: Any = 0) -> None:
        pass


@contextlib.contextmanager
def _noting() -> Iterator[list[Launch]]:
    """While it lasts, launches are noted and arrays stay on the host."""
    from numba import cuda
    from numba.cuda.dispatcher import CUDADispatcher

    launches: list[Launch] = []

    def configured(kernel: Any, how: Any) -> Any:
        grid, block, *rest = how  # then a stream, and bytes of shared memory
        shared = int(rest[1]) if len(rest) > 1 else 0

        def launch(*args: Any) -> None:
            types = tuple(_type_of(arg) for arg in args)
            name = kernel.py_func.__name__
            launches.append(Launch((kernel, types), name, three(grid), three(block), shared))

        return launch

    stand_ins = (
        (CUDADispatcher, "__getitem__", configured),
        (cuda, "to_device", lambda array, *_, **__: np.asarray(array).view(HostArray)),
        (cuda, "device_array", lambda shape, dtype=np.float64, *_, **__: np.empty(shape, dtype).view(HostArray)),
    )
    with _one_at_a_time, contextlib.ExitStack() as stack:
        for owner, name, stand_in in stand_ins:
            stack.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, stand_in)
        yield launches


def three(sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Sizes along x, y and z.

    >>> three(8), three((2, 4))
    ((8, 1, 1), (2, 4, 1))
    """
    given = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
    return (*map(int, given), 1, 1)[:3]


def _type_of(arg: Any) -> Any:
    """Numba's type of an argument: arrays in C or Fortran order, or of any strides."""
    from numba import from_dtype, typeof, types

    if not isinstance(arg, np.ndarray):
        return typeof(arg)
    layout = "C" if arg.flags.c_contiguous else "F" if arg.flags.f_contiguous else "A"
    return types.Array(from_dtype(arg.dtype), arg.ndim, layout)

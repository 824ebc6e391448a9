"""numba.cuda's rungs, without a GPU: SASS, PTX, registers, and how many warps a GPU holds of each kernel.

    gpu       the compute capability of the code and of the occupancy; by default "9.0", H100's
    workload  whose shapes decide grids; the operation's largest by default

The rung's host function is run with host memory in place of the device's, and with launches that are noted: so grids,
blocks and argument types are a real call's.
"""

from __future__ import annotations

import functools
import importlib.util
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from unittest import mock

import numpy as np

from ..backends import cuda_simulated
from ..backends.cuda_cpp import known_archs
from ..operation import Implementation, Workload
from . import Request, run_once, workload_of
from .cubin import assemble, disassemble, why_no_assembler, why_no_disassembler
from .gpu_code import read_ptx, read_sass
from .occupancy import LIMITS, occupancy
from .records import InspectError, Listing

SHOWS = ("hot", "sass", "ptx")

DEFAULT_GPU = "9.0"


@dataclass(frozen=True)
class Launch:
    """One launch.

    kernel  numba.cuda's dispatcher and the types of its arguments; for CUDA C++ the .cu file and the name expression
    name    the kernel's, as it was written
    grid    blocks along x, y and z; block: the same for threads
    shared  bytes of dynamic shared memory
    """

    kernel: tuple[Any, Any]
    name: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    shared: int = 0


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
    cc = capability(request.aspect, missing, request.options.get("gpu"))
    workload = workload_of(k, request.options.get("workload"))
    largest: dict[Any, Launch] = {}  # each kernel once for its types and block, with its largest grid
    for launch in launches_of(k, workload, request.dtype):
        key = (launch.kernel, launch.block, launch.shared)
        largest[key] = max(largest.get(key, launch), launch, key=lambda one: math.prod(one.grid))
    if not largest:
        raise InspectError(f"{k.id} launches no kernel on {workload.name}")
    how = request.aspect, request.dtype, workload.name
    return [listing(*how, launch, *compiled(launch, cc), cc) for launch in largest.values()]


def capability(aspect: str, missing: str | None, gpu: str | None) -> tuple[int, int]:
    """The compute capability that is asked for. Raises InspectError for another, and where a program is missing."""
    missing = missing or why_no_assembler() or (why_no_disassembler() if aspect == "sass" else None)
    if missing:
        raise InspectError(missing)
    gpu = str(gpu or DEFAULT_GPU)
    known = {f"{cc[0]}.{cc[1]}": cc for cc in LIMITS if f"sm_{cc[0]}{cc[1]}" in known_archs()}
    if gpu not in known:
        raise InspectError(f"gpu is {gpu!r}, expected a compute capability that the compiler knows: {', '.join(known)}")
    return known[gpu]


def listing(
    aspect: str, dtype: str, workload: str, launch: Launch, symbol: str, ptx: str, cc: tuple[int, int]
) -> Listing:
    """A kernel's SASS or PTX; for "hot" the loop alone, in SASS, or in PTX without nvdisasm."""
    (cubin, kernels), hot, missing, notes = assemble(ptx, cc), aspect == "hot", why_no_disassembler(), []
    if hot and missing:
        notes.append(f"This is PTX, which has no machine instructions: {missing}.")
    language = "ptx" if aspect == "ptx" or missing else "sass"
    code = read_ptx(ptx, symbol) if language == "ptx" else read_sass(disassemble(cubin), symbol)
    loop = [line for line in code.lines if line.hot]
    if hot and not loop:
        notes.append("No loop was found in it: each thread does its work once, or the compiler unrolled the loop.")
    kernel = kernels[symbol]
    kernel = replace(kernel, shared=kernel.shared + launch.shared)
    held = occupancy(cc, threads=math.prod(launch.block), registers=kernel.registers, shared=kernel.shared)
    facts = {
        "block": f"{sizes(launch.block)} threads",
        "grid": f"{sizes(launch.grid)} blocks on {workload}",
        "resources": f"{kernel.registers} registers a thread, {kernel.shared:,} bytes of shared memory a block, "
        f"{kernel.spilled} bytes spilled and read back",
        "kernel": kernel,
        "occupancy": held,
        "instructions": code.counts(),
    }
    lines = (replace(line, text=line.text.replace(symbol, launch.name)) for line in (hot and loop) or code.lines)
    title = f"{launch.name}, {dtype}, {language.upper()} for compute capability {cc[0]}.{cc[1]}"
    return Listing(title, language, tuple(lines), notes=(*notes, held.sentence), facts=facts)


def sizes(of: tuple[int, ...]) -> str:
    """Without the ones at the end.

    >>> sizes((16, 128, 1))
    '16 × 128'
    """
    return re.sub(r"( × 1)+$", "", " × ".join(map(str, of)))


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
    return re.findall(r"\.entry\s+([\w$]+)", ptx)[0], ptx


class HostArray(np.ndarray):
    """Host memory in place of a device's."""

    def copy_to_host(self, ary: Any = None, stream: Any = 0) -> Any:
        return self if ary is None else ary


def launches_of(k: Implementation, workload: Workload, dtype: str) -> list[Launch]:
    """The launches of one call of a numba.cuda rung on a workload, in their order. Arrays stay on the host."""
    from numba import cuda, typeof
    from numba.cuda.dispatcher import CUDADispatcher

    launches: list[Launch] = []

    def configured(kernel: Any, how: Any) -> Any:
        grid, block, *rest = how  # then a stream, and bytes of shared memory
        shared = int(rest[1]) if len(rest) > 1 else 0

        def launch(*args: Any) -> None:
            types = tuple(typeof(np.asarray(arg) if isinstance(arg, np.ndarray) else arg) for arg in args)
            launches.append(Launch((kernel, types), kernel.py_func.__name__, three(grid), three(block), shared))

        return launch

    def to_host(array: Any, *_: Any, **__: Any) -> HostArray:
        return np.asarray(array).view(HostArray)

    def on_host(shape: Any, dtype: Any = np.float64, **_: Any) -> HostArray:
        return np.empty(shape, dtype).view(HostArray)

    with (
        mock.patch.object(CUDADispatcher, "__getitem__", configured),
        mock.patch.object(cuda, "to_device", to_host),
        mock.patch.object(cuda, "device_array", on_host),
    ):
        run_once(k, workload, dtype)
    return launches


def three(sizes: int | Sequence[int]) -> tuple[int, ...]:
    """Sizes along x, y and z.

    >>> three(8), three((2, 4))
    ((8, 1, 1), (2, 4, 1))
    """
    given = tuple(sizes) if isinstance(sizes, Sequence) else (sizes,)
    return (*map(int, given), 1, 1)[:3]

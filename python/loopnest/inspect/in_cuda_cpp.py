"""CUDA C++ rungs, without a GPU: PTX, SASS, registers and occupancy of the kernels that a rung launches.

The options are those of in_cuda.py. NVRTC compiles the .cu files for the compute capability that is asked for; SASS is
what nvJitLink makes of that PTX, as the driver would.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..backends import cuda_device
from ..backends.compiler import BuildError
from ..backends.cuda_cpp import compile_file, why_no_nvrtc
from ..operation import Implementation, Workload
from . import Request, source_listing, workload_of
from .in_cuda import Launched, Target, listings_of
from .records import InspectError, Listing

SHOWS = ("hot", "source", "ptx", "sass")
MEASURES = False  # see in_cuda.py

_one_at_a_time = threading.Lock()


@dataclass(frozen=True)
class Launch:
    """One launch.

    file    the .cu file; kernel: its name expression, such as `matmul_tiled<float>`
    grid    blocks along x, y and z; block: threads likewise
    """

    file: Path
    kernel: str
    grid: tuple[int, ...]
    block: tuple[int, ...]


def show(request: Request) -> list[Listing]:
    k = request.implementation
    if request.aspect == "source":
        return [source_listing(k)]
    missing = why_no_nvrtc()
    if missing:
        raise InspectError(missing)
    target = Target.of(request)
    workload = workload_of(k, request.options.get("workload"))
    launches = launches_of(k, workload, request.dtype)
    listings = []
    for launch in dict.fromkeys(launches):
        times = launches.count(launch)
        ptx, symbol = compiled(launch.file, launch.kernel, target.cc)
        about = Launched(launch.kernel, launch.block, launch.grid, 0, times, workload.name)
        listings += listings_of(request.aspect, ptx, symbol, about, target, request.dtype)
    if not listings:
        raise InspectError(f"{k.id} launches no kernel on {workload.name}")
    return listings


def compiled(file: Path, kernel: str, cc: tuple[int, int]) -> tuple[str, str]:
    """The PTX of a .cu file, and what a kernel's name expression became in it. Raises InspectError."""
    try:
        made = compile_file(file, arch=f"sm_{cc[0]}{cc[1]}")
    except (BuildError, ValueError) as error:
        raise InspectError(str(error)) from None
    if kernel not in made.lowered:
        raise InspectError(f"{file.name} has no kernel {kernel!r}, but {', '.join(made.lowered)}")
    return made.ptx, made.lowered[kernel]


def launches_of(k: Implementation, workload: Workload, dtype: str) -> list[Launch]:
    """The launches of one call of a CUDA C++ rung on a workload, in their order: its host function is run on a device
    that is none."""
    operation = k.operation
    arguments = operation.contract.sample(workload, np.dtype(dtype), np.random.default_rng(0))
    with _pretending() as launches, np.errstate(all="ignore"):
        operation.contract.run(k.kernel, *arguments.inputs, **arguments.options)
    return launches


class _NoDevice:
    """Memory that nobody writes, and launches that are noted."""

    def __init__(self) -> None:
        self.launches: list[Launch] = []

    def allocate(self, nbytes: int) -> tuple[Any, int]:
        memory = np.empty(nbytes, np.uint8)
        return memory, memory.ctypes.data

    def write(self, pointer: int, array: Any) -> None:
        pass

    def read(self, pointer: int, array: Any) -> None:
        pass

    def launch(self, file: Path, kernel: str, grid: Sequence[int], block: Sequence[int], values: Sequence[Any]) -> None:
        self.launches.append(Launch(file, kernel, _triple(grid), _triple(block)))


def _triple(sizes: Sequence[int]) -> tuple[int, ...]:
    return (*(int(n) for n in sizes), 1, 1)[:3]


@contextlib.contextmanager
def _pretending() -> Iterator[list[Launch]]:
    """While it lasts, CUDA C++ kernels are launched on no device."""
    pretended = _NoDevice()
    with _one_at_a_time, contextlib.ExitStack() as stack:
        stack.callback(setattr, cuda_device, "device", cuda_device.device)
        cuda_device.device = lambda: pretended
        yield pretended.launches

"""CUDA C++ rungs, without a GPU: SASS, PTX, registers and occupancy of the kernels that a rung launches.

The options are in_cuda.py's. NVRTC compiles the .cu files for the requested compute capability; nvJitLink makes SASS of
that PTX, as the driver would.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from ..backends import cuda_device
from ..backends.compiler import BuildError
from ..backends.cuda_cpp import compile_cu, compile_file, why_no_nvrtc
from ..operation import Implementation, Workload
from . import Request, run_once
from .in_cuda import Launch, capability, listing, shown, three
from .records import InspectError, Listing

SHOWS = ("hot", "sass", "ptx")

_compiled = functools.cache(compile_file)


def show(request: Request) -> list[Listing]:
    return shown(request, why_no_nvrtc(), launches_of, compiled)


def compiled(launch: Launch, cc: tuple[int, int]) -> tuple[str, str]:
    """A kernel's mangled name and the PTX of its .cu file. Raises InspectError."""
    file, expression = launch.kernel
    try:
        made = _compiled(file, arch=f"sm_{cc[0]}{cc[1]}")
    except (BuildError, ValueError) as error:
        raise InspectError(str(error)) from None
    if expression not in made.lowered:
        raise InspectError(f"{file.name} has no kernel {expression!r}, but {', '.join(made.lowered)}")
    return made.lowered[expression], made.ptx


def launches_of(k: Implementation, workload: Workload, dtype: str) -> list[Launch]:
    """The launches of one call of a CUDA C++ rung on a workload, in their order. Nothing is copied or run."""
    launches: list[Launch] = []
    device = mock.Mock()

    def allocate(nbytes: int) -> tuple[Any, int]:
        memory = np.empty(nbytes, np.uint8)
        return memory, memory.ctypes.data

    def launch(
        file: Path, kernel: str, grid: Sequence[int], block: Sequence[int], values: Sequence[Any], shared: int
    ) -> None:
        launches.append(Launch((file, kernel), kernel, three(grid), three(block), shared))

    device.allocate, device.launch = allocate, launch
    with mock.patch.object(cuda_device, "device", return_value=device):
        run_once(k, workload, dtype)
    return launches


def file_listings(
    launch: Launch, dtype: str, workload: str, aspects: Sequence[str], gpu: str | None = None
) -> list[Listing]:
    """The listings of a kernel in a .cu file of a user's. Raises InspectError for what cannot be shown."""
    file, name = launch.kernel
    listings = []
    for aspect in aspects:
        if aspect not in SHOWS:
            raise InspectError(f"{file.name} has no {aspect} to show, but {', '.join(SHOWS)}")
        cc = capability(aspect, why_no_nvrtc(), gpu)
        try:
            made = compile_cu(file.read_text(encoding="utf-8"), str(file), arch=f"sm_{cc[0]}{cc[1]}", names=[name])
        except (BuildError, ValueError) as error:
            raise InspectError(str(error)) from None
        listings.append(listing(aspect, dtype, workload, launch, made.lowered[name], made.ptx, cc))
    return listings

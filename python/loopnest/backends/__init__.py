"""The backends: the ways of writing a kernel, in reading order, and what each needs to run here."""

from __future__ import annotations

import functools
import importlib.util
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True)
class Backend:
    """A way of writing kernels.

    why_unavailable returns why none of its rungs can run here, with the fix, or None where they can.
    speed           the larger, the earlier a call without `impl` asks this backend for a rung.
    """

    name: str
    summary: str
    why_unavailable: Callable[[], str | None]
    speed: int


def _nothing_missing() -> str | None:
    return None


@functools.cache
def _torch_missing() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install 'loopnest[torch]'"
    return None


def cuda_simulated() -> bool:
    """Whether numba.cuda runs in its simulator: right results, no meaningful times."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@functools.cache
def _cuda_missing() -> str | None:
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install 'loopnest[cuda]'"
    if cuda_simulated():
        return None
    from numba import cuda

    if not cuda.is_available():
        return (
            "no CUDA device was found; NUMBA_ENABLE_CUDASIM=1, set before Python starts, runs it in Numba's "
            "simulator (slow: correctness only)"
        )
    return None


def cuda_cpp_simulated() -> bool:
    """Whether CUDA C++ runs on the CPU: right results, no meaningful times."""
    return os.environ.get("LOOPNEST_CUDA_CPP", "") == "simulated"


def _cuda_cpp_missing() -> str | None:
    asked = os.environ.get("LOOPNEST_CUDA_CPP", "")
    if asked not in ("", "simulated"):
        return f"LOOPNEST_CUDA_CPP is {asked!r}, expected 'simulated', or nothing for a GPU"
    return _no_compiler() if asked else _no_nvrtc_or_device()


@functools.cache
def _no_compiler() -> str | None:
    from .cuda_on_cpu import CudaBuildError, compiler

    try:
        compiler()
    except CudaBuildError as error:
        return str(error)
    return None


@functools.cache
def _no_nvrtc_or_device() -> str | None:
    from .cuda_cpp import why_no_nvrtc
    from .cuda_device import why_no_device

    missing = why_no_nvrtc()
    if missing is None and why_no_device() is not None:
        missing = "no CUDA device was found; LOOPNEST_CUDA_CPP=simulated runs it on the CPU (slow: correctness only)"
    return missing


def simulated(backend: str) -> bool:
    """Whether this backend's rungs run in a simulator here: right results, and times that mean nothing."""
    return (backend == "cuda" and cuda_simulated()) or (backend == "cuda_cpp" and cuda_cpp_simulated())


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("python", "pure Python on lists", _nothing_missing, speed=0),
        Backend("numpy", "NumPy, whole arrays at a time", _nothing_missing, speed=2),
        Backend("numba", "Python loops compiled by Numba", _nothing_missing, speed=3),
        Backend("cuda", "Python kernels for NVIDIA GPUs by numba.cuda", _cuda_missing, speed=-1),
        Backend("cuda_cpp", "CUDA C++ for NVIDIA GPUs, compiled by NVRTC at run time", _cuda_cpp_missing, speed=-1),
        Backend("cpp", "C++ by pybind11, one compile per ISA level", _nothing_missing, speed=4),
        Backend("torch", "PyTorch on the CPU", _torch_missing, speed=1),
    )
}


SIMULATED = "simulated on the CPU: right results, and times that mean nothing, so none is measured"
"""What is told of rungs that run in a simulator."""


def fastest_first() -> Iterator[str]:
    """The backends that a call without `impl` tries in turn.

    cuda and cuda_cpp are not among them: they would move the arrays to the device and back.
    """
    usable = [backend for backend in BACKENDS.values() if backend.speed >= 0]
    return (backend.name for backend in sorted(usable, key=lambda backend: -backend.speed))

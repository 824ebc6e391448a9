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


BACKENDS: dict[str, Backend] = {
    backend.name: backend
    for backend in (
        Backend("python", "pure Python on lists", _nothing_missing, speed=0),
        Backend("numpy", "NumPy, whole arrays at a time", _nothing_missing, speed=2),
        Backend("numba", "Python loops compiled by Numba", _nothing_missing, speed=3),
        Backend("cuda", "Python kernels for NVIDIA GPUs by numba.cuda", _cuda_missing, speed=-1),
        Backend("cpp", "C++ by pybind11, one compile per ISA level", _nothing_missing, speed=4),
        Backend("torch", "PyTorch on the CPU", _torch_missing, speed=1),
    )
}


def fastest_first() -> Iterator[str]:
    """The backends that a call without `impl` tries in turn.

    cuda is not among them: it would move the arrays to the device and back.
    """
    usable = [backend for backend in BACKENDS.values() if backend.speed >= 0]
    return (backend.name for backend in sorted(usable, key=lambda backend: -backend.speed))

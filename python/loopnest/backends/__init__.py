"""How does a source become a rung? The ways of writing a kernel, in reading order, and what each needs to run here.

A function, a C++ header or a .cu file comes in; a rung goes out, which can be called and which explains itself.
"""

import functools
import importlib
import importlib.util
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import numpy as np

from .. import _core
from .cpp import KernelLine, kernel_lines
from .cuda_source import cuda_cpp_simulated
from .rung import Backend, Implementation, Kernel, UnavailableError, cannot_be_imported
from .torch import on_tensors

__all__ = ["Backend", "Implementation", "UnavailableError"]


@functools.cache
def _torch_missing() -> str | None:
    if importlib.util.find_spec("torch") is None:
        return "torch is not installed: pip install 'loopnest[torch]'"
    try:
        importlib.import_module("torch")
    except Exception as error:  # whatever a broken installation raises
        return cannot_be_imported("torch", error)
    return None


def _numba_missing() -> str | None:
    from .numba import WHY_NOT

    return WHY_NOT


def cuda_simulated() -> bool:
    """Whether numba.cuda runs in its simulator: right results, no meaningful times."""
    return os.environ.get("NUMBA_ENABLE_CUDASIM", "0") not in ("", "0")


@functools.cache
def _cuda_missing() -> str | None:
    if importlib.util.find_spec("numba_cuda") is None:
        return "numba-cuda is not installed: pip install 'loopnest[cuda]'"
    from .cuda import WHY_NOT, cuda

    if WHY_NOT or cuda_simulated():
        return WHY_NOT
    if not cuda.is_available():
        return (
            "no CUDA device was found; NUMBA_ENABLE_CUDASIM=1, set before Python starts, runs it in Numba's "
            "simulator (slow: correctness only)"
        )
    try:
        importlib.import_module("numba.cuda.np.arrayobj")  # the first kernel imports it
    except Exception as error:  # numba-cuda up to 0.30.4 takes np.row_stack, which NumPy 2.5 dropped: an AttributeError
        return f"numba-cuda does not work with NumPy {np.__version__} ({error}): pip install 'numpy<2.5'"
    return None


def _cuda_cpp_missing() -> str | None:
    wanted = os.environ.get("LOOPNEST_CUDA_CPP", "")
    if wanted not in ("", "simulated"):
        return f"LOOPNEST_CUDA_CPP is {wanted!r}, expected 'simulated', or nothing for a GPU"
    if wanted:
        from .cuda_on_cpu import why_not_here

        return why_not_here()
    return _no_nvrtc_or_device()


@functools.cache
def _no_nvrtc_or_device() -> str | None:
    from .cuda_cpp import why_no_nvrtc
    from .cuda_device import why_no_device

    missing = why_no_nvrtc()
    if missing is None and why_no_device() is not None:
        missing = "no CUDA device was found; LOOPNEST_CUDA_CPP=simulated runs it on the CPU (slow: correctness only)"
    return missing


PYTHON = Backend("python", "pure Python on lists", speed=0)
NUMPY = Backend("numpy", "NumPy, whole arrays at a time", speed=2)
NUMBA = Backend("numba", "Python loops compiled by Numba", 3, _numba_missing)
# The GPU's backends have speed -1: they would move the arrays to the device and back in every call.
CUDA = Backend("cuda", "Python kernels for NVIDIA GPUs by numba.cuda", -1, _cuda_missing, cuda_simulated)
CUDA_CPP = Backend(
    "cuda_cpp", "CUDA C++ for NVIDIA GPUs, compiled by NVRTC at run time", -1, _cuda_cpp_missing, cuda_cpp_simulated
)
CPP = Backend("cpp", "C++ by pybind11, one compile per ISA level", speed=4)
TORCH = Backend("torch", "PyTorch on the CPU", 1, _torch_missing, adapt=on_tensors)

BACKENDS = {backend.name: backend for backend in (PYTHON, NUMPY, NUMBA, CUDA, CUDA_CPP, CPP, TORCH)}
"""The backends by name, in reading order."""

SIMULATED = "simulated on the CPU: right results, and times that mean nothing, so none is measured"
"""What tables say about rungs that run in a simulator."""


def fastest_first() -> Iterator[str]:
    """The backends that a call without `impl` tries in turn."""
    usable = [backend for backend in BACKENDS.values() if backend.speed >= 0]
    return (backend.name for backend in sorted(usable, key=lambda backend: -backend.speed))


def rung_lines(kind: str, operation: str) -> dict[str, KernelLine]:
    """An operation's lines of one kind in csrc/rungs.def, by variant."""
    return {k.variant: k for k in kernel_lines().values() if (k.kind, k.operation) == (kind, operation)}


def reduced_cpp_rungs(
    operation: str, product: Callable[[str], str] | None = None, /, **about: Mapping[str, Any]
) -> list[Implementation]:
    """The rungs for reduced precision that csrc/rungs.def lists; `about` has each one's arguments of Backend.rung.

    product  the rung of matmul that they multiply with, for elements of a dtype; None where they are products
    """
    built = getattr(_core, "reduced", {}).get(operation, {})
    return [
        CPP.rung(
            _on_bits(built, variant, product),
            variant,
            files=[line.header],
            **{**about[variant], **({} if variant in built else {"requires": lambda: NOT_BUILT})},
        )
        for variant, line in rung_lines("REDUCED", operation).items()
    ]


def _on_bits(built: Mapping[str, Kernel], variant: str, product: Callable[[str], str] | None) -> Kernel:
    """The kernel for arrays of ml_dtypes' bfloat16: it gets their bits, and the name of the product that it takes. A
    product with scales is that of `scaled`."""

    def call(*args: Any) -> None:
        kernel: Kernel
        kernel, taken = built.get(variant, _not_built), [product(args[0].dtype.name)] if product else []
        if product is None and len(args) > 3:
            kernel, taken = built["scaled"], [variant]
        kernel(*(x.view("u2") if isinstance(x, np.ndarray) and x.dtype.kind == "V" else x for x in args), *taken)

    return call


@functools.cache
def _further_instructions() -> frozenset[str]:
    """Asked once: CPUID takes 50 µs in a virtual machine, as long as a product of 192 x 192 x 192 bytes."""
    return frozenset(_core.further_instructions())


def why_no_instructions(name: str) -> str | None:
    """Why a kernel with these instructions of AVX-512, such as "avx512_bf16", cannot run here, or None."""
    if name not in _further_instructions():
        return f"this CPU lacks {name.upper()}; cpp.upcast runs on every one"
    if _core.isa() != "v4":
        return f"the ISA level {_core.isa()} has no AVX-512: ln.set_isa('v4')"
    return None


def cpp_rungs(
    operation: str, *, faster_than: Mapping[str, str | tuple[str, ...]] | None = None, study: Collection[str] = ()
) -> list[Implementation]:
    """The rungs that csrc/rungs.def lists for an operation; each header is its rung's source and lesson.

    faster_than  by variant: the ids that its lesson claims to beat
    study        the variants that are there to be compared only
    """
    claims = faster_than or {}
    lines = rung_lines("RUNG", operation)
    unknown = {*claims, *study} - set(lines)
    if unknown:
        raise ValueError(f"{operation}: csrc/rungs.def has no rung {', '.join(sorted(unknown))}")
    built = _core.kernels.get(operation, {})
    return [
        CPP.rung(
            built.get(variant, _not_built),
            variant,
            files=[k.header],
            faster_than=claims.get(variant, ()),
            study=variant in study,
            requires=(lambda: None) if variant in built else (lambda: NOT_BUILT),
        )
        for variant, k in lines.items()
    ]


NOT_BUILT = "csrc/rungs.def has it, and the built extension does not: run nox -s build, or scripts/build.sh"


def _not_built(*arrays: Any) -> None:
    """Stands for the kernel of a C++ rung that is not compiled yet."""
    raise UnavailableError(NOT_BUILT)

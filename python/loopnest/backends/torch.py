"""NumPy arrays as torch tensors over the same memory, for the torch rungs; torch is imported with the first of them.

torch has no negative strides: an array that runs backwards along an axis is copied first, with a CopyWarning. Every
other array shares its memory with its tensor, even if it is read-only: kernels do not write their inputs.

torch's threads (an OpenMP team) do not exist in a forked child, whose first parallel loop would wait for them for ever.
So once a torch rung has run in a process, torch uses a single thread in its forked children.
"""

import functools
import math
import os
import shutil
import sys
import sysconfig
import threading
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..arrays import Array, CopyWarning, levels_to_caller
from .rung import Kernel

Tensor = Any  # torch.Tensor; torch is not imported here


def on_tensors(kernel: Kernel) -> Kernel:
    """The kernel for arrays: it gets torch tensors over the same memory. What it updates in a copy is copied back.

    The kernel's module gets the name `torch` at its first call: listing the rungs does not import torch.
    """

    @functools.wraps(kernel)
    def call(*args: Any) -> None:
        kernel.__globals__["torch"] = torch = _torch()
        given = [_tensor(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
        kernel(*given)
        for arg, tensor in zip(args, given, strict=True):
            if isinstance(arg, np.ndarray) and _runs_backwards(arg):
                copy = (tensor.view(torch.int16) if arg.dtype.kind == "V" else tensor).numpy()
                if copy.tobytes() != arg.tobytes():
                    arg[...] = copy

    return call


def _tensor(array: Array) -> Tensor:
    torch = _torch()
    if array.dtype.kind == "V":  # bfloat16: torch takes its bits
        return _tensor(array.view(np.int16)).view(torch.bfloat16)
    if array.flags.writeable and min(array.strides, default=0) >= 0:
        return torch.from_numpy(array)
    if not _runs_backwards(array):
        return torch.from_numpy(_relabelled(array))
    warnings.warn(
        f"an array has strides of {array.strides} bytes and torch has no negative ones, so it is copied before the "
        f"kernel runs; np.ascontiguousarray copies it once",
        CopyWarning,
        stacklevel=levels_to_caller(),
    )
    return torch.from_numpy(array.copy())


def _runs_backwards(array: Array) -> bool:
    steps = zip(array.strides, array.shape, strict=True)
    return array.size > 0 and any(stride < 0 and length > 1 for stride, length in steps)


def _relabelled(array: Array) -> Array:
    """An array's memory as torch accepts it: writeable, no negative stride along an axis of length 1."""
    label = dict(array.__array_interface__)
    label |= {"strides": tuple(map(abs, array.strides)), "data": (array.ctypes.data, False)}
    return np.asarray(types.SimpleNamespace(__array_interface__=label, keeps_alive=array))


@functools.cache
def _torch() -> Any:
    """The module; a forked child gets one thread."""
    import torch

    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))
    return torch


def in_c_order(tensor: Tensor, *shape: int) -> Tensor:
    """The elements in C order in this shape: the same memory if they already lie so, else a gathered copy.

    The result is no view of another tensor, since torch.compile would look at that tensor's shape too.
    """
    return _torch().from_numpy(tensor.contiguous().numpy().reshape(-1).reshape(shape))


@functools.cache
def why_no_compiler() -> str | None:
    """Why torch.compile cannot run here, or None. It writes C++ and calls a compiler at a function's first use."""
    default = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", default)
    if shutil.which(compiler) is None:
        return f"torch.compile needs a C++ compiler and {compiler} is not on PATH: install it, or name another in CXX"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"torch.compile needs Python's headers and {sysconfig.get_path('include')} has none: install python3-dev"
    return None


def why_low_precision() -> str | None:
    """Why torch's products of float32 would leave the contract's bound, or None.

    The setting is the process's: to change it for a call would change other threads' products too.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        return None
    matmul = getattr(torch.backends.mkldnn, "matmul", None)  # versions before 2.9 have the other setting alone
    precision = getattr(matmul, "fp32_precision", None) or torch.get_float32_matmul_precision()
    if precision in ("none", "ieee", "highest"):
        return None
    return (
        f"torch may compute products of float32 in {precision} now, out of the contract's bound: call "
        f"torch.set_float32_matmul_precision('highest')"
    )


@functools.cache
def flaw_of_products() -> str | None:
    """How torch's products of bfloat16 break the contract here, or None. oneDNN's kernels for AMX's tiles, which older
    versions of it have, let a NaN of one row reach others for some k; so it is asked where there are tiles."""
    if _core.why_no_amx() is not None:
        return None
    torch = _torch()
    leaks = [k for k in (33, 50, 70) if nan_leaks(torch.mm, k)]
    return f"a NaN of one row reaches others in products of bfloat16 with k = {leaks[0]}" if leaks else None


def nan_leaks(product: Callable[[Tensor, Tensor], Tensor], k: int) -> bool:
    """Whether a NaN in one row of a makes elements of other rows of a product NaN."""
    torch = _torch()
    a, b = torch.ones(9, k, dtype=torch.bfloat16), torch.ones(k, 33, dtype=torch.bfloat16)
    a[3] = math.nan
    return int(product(a, b).isnan().sum()) > 33


def _why_no_compiled_product() -> str | None:
    return why_no_compiler() or why_low_precision()


PRODUCT: dict[str, Any] = {"requires": why_low_precision}
"""What is said of every rung that calls torch's products."""

REDUCED_PRODUCT: dict[str, Any] = {**PRODUCT, "flaw": flaw_of_products}
"""The same of products in reduced precision."""

COMPILED: dict[str, Any] = {"requires": why_no_compiler, "slow_start": True}
"""What is said of every rung that calls `run_compiled`."""

COMPILED_PRODUCT: dict[str, Any] = {**COMPILED, "requires": _why_no_compiled_product}
"""What is said of one that calls both."""

_compiled: dict[Any, Callable[..., Any]] = {}
_compiling = threading.Lock()


def run_compiled(function: Callable[..., Any], *args: Tensor) -> Any:
    """Call `function` as torch.compile translates it; the first call for a kind of arguments takes seconds.

    A translation is good for all sizes except 1: torch makes another one for axes of length 1, and again when a global
    state (the number of threads, grad mode) changes. It counts them by code object, and after eight it would run the
    function untranslated. So each kind of arguments has a code object of its own here, and fullgraph=True raises if the
    count is reached anyway.
    """
    key = (function, _torch().get_num_threads(), *((tensor.dtype, 1 in tensor.shape) for tensor in args))
    if key not in _compiled:
        with _compiling:
            _compiled[key] = _compiled.get(key) or _translation(function)
    return _compiled[key](*args)


def _translation(function: Callable[..., Any]) -> Callable[..., Any]:
    code = function.__code__.replace()  # a new object, equal to the first
    own = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    options = {
        "cpp.dynamic_threads": True,  # otherwise the first call's size decides for all whether threads share the loop
        "compile_threads": 1,  # a forked child would not have a pool of compiling threads
    }
    compiled: Callable[..., Any] = _torch().compile(own, dynamic=True, fullgraph=True, options=options)
    return compiled

"""NumPy arrays as torch tensors over the same memory, for the torch rungs; torch is imported with the first of them.

torch has no negative strides: an array that runs backwards along an axis is copied first, and a CopyWarning says so.
Every other array shares its memory with its tensor, the read-only ones too: torch knows no read-only tensors, so it is
the kernels that leave them alone.

After a fork, torch's threads (an OpenMP team) do not exist in the child, and the first parallel loop there waits for
them for ever. So once a torch rung has run in a process, torch uses a single thread in its forked children.
"""

from __future__ import annotations

import functools
import inspect
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

from ..arrays import Array, CopyWarning, levels_to_caller
from .rung import Kernel

Tensor = Any  # torch.Tensor, which is not there to be named before torch is


def on_tensors(*, updated: tuple[str, ...] = ()) -> Callable[[Kernel], Kernel]:
    """A decorator that gives a kernel its arrays as torch tensors over the same memory.

    updated  the parameters that the kernel updates in place: the copy of one with a negative stride is copied back
    """

    def decorate(kernel: Kernel) -> Kernel:
        in_place = {list(inspect.signature(kernel).parameters).index(name) for name in updated}

        @functools.wraps(kernel)
        def call(*args: Any) -> None:
            _survive_fork()
            given = [_tensor(arg) if isinstance(arg, np.ndarray) else arg for arg in args]
            kernel(*given)
            for i in in_place:
                if _runs_backwards(args[i]):
                    args[i][...] = given[i].numpy()

        return call

    return decorate


def _tensor(array: Array) -> Tensor:
    import torch

    if array.flags.writeable and min(array.strides, default=0) >= 0:
        return torch.from_numpy(array)
    if not _runs_backwards(array):
        return torch.from_numpy(np.asarray(_Relabelled(array)))
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


class _Relabelled:
    """An array's memory under a label that torch takes: writeable, and no negative stride where none is stepped."""

    def __init__(self, array: Array) -> None:
        self.array = array  # the memory lives as long as its label
        self.__array_interface__ = {
            "version": 3,
            "typestr": array.dtype.str,
            "shape": array.shape,
            "strides": tuple(abs(stride) for stride in array.strides),
            "data": (array.ctypes.data, False),
        }


@functools.cache
def _survive_fork() -> None:
    if hasattr(os, "register_at_fork"):
        import torch

        os.register_at_fork(after_in_child=functools.partial(torch.set_num_threads, 1))


def in_c_order(tensor: Tensor, *shape: int) -> Tensor:
    """The elements in C order in this shape: the same memory where they lie so, else a gathered copy.

    It is a view of no other tensor, at whose shape torch.compile would look too.
    """
    import torch

    return torch.from_numpy(tensor.contiguous().numpy().reshape(-1).reshape(shape))


@functools.cache
def why_no_compiler() -> str | None:
    """Why torch.compile cannot run here, or None: it writes C++ and calls a compiler, when a function is first used."""
    default = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    compiler = os.environ.get("CXX", default)
    if shutil.which(compiler) is None:
        return f"torch.compile needs a C++ compiler and {compiler} is not on PATH: install it, or name another in CXX"
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        return f"torch.compile needs Python's headers and {sysconfig.get_path('include')} has none: install python3-dev"
    return None


_compiled: dict[Any, Callable[..., Any]] = {}
_compiling = threading.Lock()


def run_compiled(function: Callable[..., Any], *args: Tensor) -> Any:
    """Call `function` as torch.compile translates it; the first call for a kind of arguments takes seconds.

    A translation is good for all sizes but one: torch makes another for axes of length 1, and others again where a
    global state (the number of threads, grad mode) is not what it was. It counts them by code object, and beyond
    eight would run the function as it is. So each kind of arguments has a code object of its own here, and
    fullgraph=True makes it an error if the count is reached all the same.
    """
    import torch

    key = (function, torch.get_num_threads(), *((tensor.dtype, 1 in tensor.shape) for tensor in args))
    compiled = _compiled.get(key)
    if compiled is None:
        with _compiling:
            compiled = _compiled.get(key) or _compiled.setdefault(key, _translation(function))
    return compiled(*args)


def _translation(function: Callable[..., Any]) -> Callable[..., Any]:
    import torch

    code = function.__code__.replace()  # equal, but not the same
    own = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__, function.__closure__)
    options = {
        "cpp.dynamic_threads": True,  # else the size of the first call decides for all whether threads share the loop
        "compile_threads": 1,  # a pool of compiling threads would not be there in a forked child
    }
    compiled: Callable[..., Any] = torch.compile(own, dynamic=True, fullgraph=True, options=options)
    return compiled

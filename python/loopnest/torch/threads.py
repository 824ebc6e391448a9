"""The kernels on torch's threads.

torch's kernels share their work among the threads of an OpenMP runtime, and these spin for some milliseconds after
each, in case that another comes. Threads of our own would compete with them for the cores: on two cores, an MLP between
torch's own operators took 1.3 times as long. So from the import of loopnest.torch on the pieces of our kernels are
taken by torch's threads, by the very runtime that it has loaded, and torch.set_num_threads holds for them too.

A forked child goes back to threads of our own: there OpenMP's are gone, and to wait for them would be for ever.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from .. import _core


def share_threads() -> bool:
    """Let torch's threads run our kernels from now on; False where its runtime has no such entry, and ours do."""
    runtime = _runtime()
    if runtime is None:
        return False
    parallel, max_threads = (_address(runtime, name) for name in ("GOMP_parallel", "omp_get_max_threads"))
    _core.use_openmp(parallel, max_threads)
    return bool(parallel and max_threads)


def use_own_threads() -> None:
    """Let our own threads run the kernels again, as before the import."""
    _core.use_openmp(0, 0)


def _runtime() -> ctypes.CDLL | None:
    """What finds the functions of torch's CPU library and of the OpenMP runtime that it was linked with."""
    folder = Path(torch.__file__).parent / "lib"
    library = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    if not torch.backends.openmp.is_available() or library is None:
        return None
    return ctypes.CDLL(str(library))  # it is loaded: this is the same one once more


_NAMES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


def _address(library: ctypes.CDLL, name: str) -> int:
    """Where a function lies, or 0 where the library has none of this name."""
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0

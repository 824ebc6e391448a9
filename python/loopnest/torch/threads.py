"""The kernels on torch's threads.

torch's kernels run on the threads of an OpenMP runtime, which spin for some milliseconds after each kernel, in case
another comes. loopnest's own threads would compete with them for the cores: on two cores, an MLP between torch's own
operators took 1.3 times as long. So from the import of loopnest.torch on, torch's threads run loopnest's kernels, by
the runtime that torch has loaded, and torch.set_num_threads applies to both.

A forked child returns to loopnest's own threads: OpenMP's threads do not exist there, and waiting for them would never
end.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

import torch

from .. import _core


def share_threads() -> bool:
    """Let torch's threads run the kernels from now on; False if torch's runtime lacks the entry points."""
    runtime = _runtime()
    if runtime is None:
        return False
    parallel, max_threads = (_address(runtime, name) for name in ("GOMP_parallel", "omp_get_max_threads"))
    _core.use_openmp(parallel, max_threads)
    return bool(parallel and max_threads)


def use_own_threads() -> None:
    """Let loopnest's own threads run the kernels again, as before the import."""
    _core.use_openmp(0, 0)


def _runtime() -> ctypes.CDLL | None:
    """torch's CPU library, which also finds the functions of its OpenMP runtime."""
    folder = Path(torch.__file__).parent / "lib"
    library = next((folder / name for name in _NAMES if (folder / name).exists()), None)
    if not torch.backends.openmp.is_available() or library is None:
        return None
    return ctypes.CDLL(str(library))  # it is loaded already: this returns the same one


_NAMES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


def _address(library: ctypes.CDLL, name: str) -> int:
    """The address of a function; 0 if the library lacks it."""
    try:
        return ctypes.cast(getattr(library, name), ctypes.c_void_p).value or 0
    except AttributeError:
        return 0

"""The kernels on torch's threads.

torch's kernels run on the threads of an OpenMP runtime, which spin for some milliseconds after each kernel, in case
another comes. loopnest's own threads would compete with them for the cores: on two cores, an MLP between torch's own
operators took 1.3 times as long. So from the import of loopnest.torch on, torch's threads run loopnest's kernels, by
the runtime that torch has loaded, and torch.set_num_threads applies to both.

A forked child returns to loopnest's own threads: OpenMP's threads do not exist there, and waiting for them would never
end.
"""

import ctypes
import os
from pathlib import Path

import torch

from .. import _core
from ..backends.threads import bound_by_openmp, num_threads, processors

LIBRARIES = ("libtorch_cpu.so", "libtorch_cpu.dylib")


def share_threads() -> bool:
    """Let torch's threads run the kernels from now on; False if torch's runtime lacks the entry points."""
    folder = Path(torch.__file__).parent / "lib"
    library = next((folder / name for name in LIBRARIES if (folder / name).exists()), None)
    if not torch.backends.openmp.is_available() or library is None:
        return False
    runtime = ctypes.CDLL(str(library))  # torch has loaded it; it also finds its OpenMP runtime's functions
    try:
        functions = runtime.GOMP_parallel, runtime.omp_get_max_threads, runtime.omp_get_thread_num
    except AttributeError:
        return False
    if "LOOPNEST_NUM_THREADS" not in os.environ and num_threads() == processors():
        _core.set_num_threads(bound_by_openmp() or num_threads())
    _core.use_openmp(*(ctypes.cast(function, ctypes.c_void_p).value or 0 for function in functions))
    return True


def use_own_threads() -> None:
    """Let loopnest's own threads run the kernels again, as before the import."""
    _core.use_openmp()

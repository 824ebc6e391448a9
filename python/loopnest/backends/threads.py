"""How many threads one call may use; and Python threads for the Numba kernels, each running a piece of the work.

The C++ kernels have a thread pool of their own (csrc/runtime/threads.hpp). Numba's kernels release the GIL, and
Python's threads call them. Numba's own `prange` is not used: behind it is one of three pools. GNU OpenMP's kills a
forked child that enters it, workqueue's aborts the process when two threads enter it at once, and TBB is one more
thing to install.
"""

import ctypes
import functools
import math
import os
import sys
import threading
import warnings
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .. import _core
from ..arrays import Array
from .cgroups import cpu_quota


def num_threads() -> int:
    """How many threads one call may use: as set, else LOOPNEST_NUM_THREADS, else the processors of this process,
    or as many as its control group's quota of processor time keeps busy."""
    return _core.num_threads()


def set_num_threads(count: int) -> None:
    """Let one call use `count` threads, its own among them; fewer where the system does not give as many.

    Raises ValueError if count is below 1, or above the larger of 256 and the machine's processors.
    """
    _core.set_num_threads(checked_count("set_num_threads: count", count, str(count)))
    _helpers.cache_clear()


def threads_wanted() -> int:
    """The number that the environment sets, or the processors of this process, as far as its quota of time reaches."""
    wanted = os.environ.get("LOOPNEST_NUM_THREADS")
    if wanted is None:
        quota = cpu_quota()
        return processors() if quota is None else min(processors(), math.ceil(quota))
    number = int(wanted) if wanted.isascii() and wanted.isdecimal() and len(wanted) < 20 else -1
    return checked_count("LOOPNEST_NUM_THREADS", number, repr(wanted))


def checked_count(name: str, count: int, shown: str) -> int:
    """The count of threads. Raises ValueError for more than the limit: they only wait for one another, and take the
    process's memory and threads."""
    most = max(256, os.cpu_count() or 1)
    if not 1 <= count <= most:
        raise ValueError(f"{name} is {shown}, expected a whole number from 1 to {most}")
    return count


def share(work: Callable[[int, int], None], length: int, piece: int) -> None:
    """Call work(start, stop) for range(length) in pieces, on all threads; return when all of it is done.

    The calling thread takes pieces like the others, and at the end waits for those that are at a piece. So it never
    waits for a busy pool, and several threads may share work at once. Where no more threads start, since the system
    has none or the interpreter ends, those that there are do the work. After an error no piece is begun.
    """
    todo = deque(range(0, length, piece))
    inside, changed, errors = 0, threading.Condition(), list[BaseException]()

    def take_pieces() -> None:
        nonlocal inside
        with changed:
            inside += 1
        try:
            while True:
                try:
                    start = todo.popleft()
                except IndexError:
                    return
                work(start, min(start + piece, length))
        except BaseException as error:
            errors.append(error)
            todo.clear()
        finally:
            with changed:
                inside -= 1
                changed.notify_all()

    try:
        for _ in range(min(num_threads(), len(todo)) - 1):
            _helpers().submit(take_pieces)
    except RuntimeError:  # no more threads; a helper that was added all the same finds work or none
        pass
    take_pieces()
    with changed:
        changed.wait_for(lambda: inside == 0)  # a helper that comes later finds nothing to do
    if errors:
        raise errors[0]


def share_elements(work: Callable[..., None], least: int, *views: Array) -> None:
    """Call work(*pieces) for pieces of 2-D views of one shape: of their rows, or of their columns if these are more.

    least  the smallest number of elements that is worth another thread
    """
    m, n = views[0].shape
    piece = max(m * n // (4 * num_threads()), least)  # a few a thread, so that a late one delays the end little
    if m * n < 2 * least:
        work(*views)
    elif m < n:
        share(lambda j0, j1: work(*(view[:, j0:j1] for view in views)), n, -(-piece // m))
    else:
        share(lambda i0, i1: work(*(view[i0:i1] for view in views)), m, -(-piece // n))


def processors() -> int:
    """How many processors this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bound_by_openmp() -> int:
    """The processors of OpenMP's threads, where OpenMP has bound this thread to fewer; 0 where it has not.

    torch's runtime does so when torch is imported under OMP_PROC_BIND=true. Threads that this one starts are bound too.
    """
    if "torch" not in sys.modules or not {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY"} & {*os.environ}:
        return 0
    from threadpoolctl import threadpool_info

    runtimes = [ctypes.CDLL(pool["filepath"]) for pool in threadpool_info() if pool["user_api"] == "openmp"]
    found = max((int(runtime.omp_get_num_procs()) for runtime in runtimes), default=0)
    return found if found > processors() else 0


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    """The pool of the threads besides the caller's, which start at the first need."""
    # Two threads that come here at once may make two pools; one is dropped after its work.
    return ThreadPoolExecutor(max(num_threads() - 1, 1), thread_name_prefix="loopnest")


os.register_at_fork(after_in_child=_helpers.cache_clear)  # a forked child has the pool's records but no threads

_core.set_num_threads(threads_wanted())

if "LOOPNEST_NUM_THREADS" not in os.environ and (everywhere := bound_by_openmp()):
    warnings.warn(
        "OMP_PROC_BIND (or OMP_PLACES, GOMP_CPU_AFFINITY) has bound this thread, and all that it starts, to "
        f"{processors()} of {everywhere} processors when torch was imported: loopnest uses {num_threads()} thread(s). "
        "Unset it, or import loopnest.torch, whose kernels run on all of OpenMP's threads",
        RuntimeWarning,
        stacklevel=2,
    )

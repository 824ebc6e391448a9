"""How many threads one call may use; and Python threads for the Numba kernels, each running a piece of the work.

The C++ kernels have a thread pool of their own (csrc/runtime/threads.hpp). Numba's kernels release the GIL, and
Python's threads call them. Numba's own `prange` is not used: behind it is one of three pools. GNU OpenMP's kills a
forked child that enters it, workqueue's aborts the process when two threads enter it at once, and TBB is one more
thing to install.
"""

import functools
import os
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from .. import _core
from ..arrays import Array


def num_threads() -> int:
    """How many threads one call may use: as set, else LOOPNEST_NUM_THREADS, else the processors of this process."""
    return _core.num_threads()


def set_num_threads(count: int) -> None:
    """Let one call use `count` threads, its own among them."""
    if count < 1:
        raise ValueError(f"set_num_threads: count is {count}, expected a whole number from 1 up")
    _core.set_num_threads(count)
    _helpers.cache_clear()


def threads_wanted() -> int:
    """The number that the environment sets, or the processors of this process."""
    wanted = os.environ.get("LOOPNEST_NUM_THREADS")
    if wanted is None:
        return processors()
    if not wanted.isdecimal() or int(wanted) < 1:
        raise ValueError(f"LOOPNEST_NUM_THREADS is {wanted!r}, expected a whole number from 1 up")
    return int(wanted)


def share(work: Callable[[int, int], None], length: int, piece: int) -> None:
    """Call work(start, stop) for range(length) in pieces, on all threads; return when all of it is done.

    The calling thread takes pieces like the others, and at the end cancels helpers that have not begun. So it never
    waits for a busy pool, and several threads may share work at once.
    """
    todo = deque(range(0, length, piece))

    def take_pieces() -> None:
        while True:
            try:
                start = todo.popleft()
            except IndexError:
                return
            work(start, min(start + piece, length))

    helpers = [_helpers().submit(take_pieces) for _ in range(min(num_threads(), len(todo)) - 1)]
    try:
        take_pieces()
    finally:
        for helper in helpers:
            if not helper.cancel():  # it has begun
                helper.result()


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


@functools.cache
def _helpers() -> ThreadPoolExecutor:
    """The pool of the threads besides the caller's, which start at the first need."""
    # Two threads that come here at once may make two pools; one is dropped after its work.
    return ThreadPoolExecutor(max(num_threads() - 1, 1), thread_name_prefix="loopnest")


os.register_at_fork(after_in_child=_helpers.cache_clear)  # a forked child has the pool's records but no threads

_core.set_num_threads(threads_wanted())

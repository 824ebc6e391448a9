"""The fairness contract: equal terms for all contenders, enforced, read back, and printed with the figures.

- One thread budget for BLAS, torch and loopnest. It is set, then read back from each library, at the end again;
  and what the contenders do with it is measured, so one that keeps more processors busy is found out.
- The same inputs, in the same memory, with one dtype and one layout.
- Full precision: TF32 and everything else that computes float32 with fewer bits is switched off, or the comparison
  refused.
- What a first call compiles is reported apart; what each call packs or copies counts.
- Results go into memory that all are given.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

from threadpoolctl import threadpool_info, threadpool_limits

from ..backends.threads import num_threads, processors, set_num_threads
from ..output.text import counted
from .environment import ThreadPool, environment
from .turns import LEGIBLE, Reading

ALLOWANCE = 0.1
"""The fraction of the budget by which processor time may exceed it: the clocks are that inexact."""

FEWER_BITS = {
    "NVIDIA_TF32_OVERRIDE": ("0", ""),
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE": ("0", ""),
    "ONEDNN_DEFAULT_FPMATH_MODE": ("STRICT", "strict", ""),
    "DNNL_DEFAULT_FPMATH_MODE": ("STRICT", "strict", ""),
}
"""Variables that make libraries compute float32 with fewer bits, and their harmless values. Libraries read them when
they are loaded."""


class UnfairError(RuntimeError):
    """A comparison is not on equal terms; the message says whose terms differ and why."""


@dataclass(frozen=True)
class Terms:
    """The terms of a comparison, as they were read back.

    threads    the budget
    pools      each library's own threads, as it reports them
    precision  of float32, as torch reports it
    warnings   what distorts the comparison all the same
    """

    threads: int
    pools: tuple[ThreadPool, ...]
    precision: str
    warnings: tuple[str, ...] = ()


@contextmanager
def equal_terms(threads: int) -> Iterator[Terms]:
    """Inside, all libraries have this thread budget and full precision; afterwards what they had before.

    threads  of each library, from 1 to the processors of this process

    Yields the terms as the libraries report them. Libraries that are loaded later are not bound: import them before,
    and call `read_back` at the end. Raises ValueError for another number of threads, UnfairError where a library does
    not follow.

    >>> with equal_terms(1) as terms:
    ...     terms.threads, {pool.threads for pool in terms.pools}
    (1, {1})
    """
    if not 1 <= threads <= processors():
        raise ValueError(
            f"threads is {threads}, expected 1 to {processors()}, the processors that this process may run on"
        )
    for name, harmless in FEWER_BITS.items():
        if os.environ.get(name, "") not in harmless:
            raise UnfairError(
                f"{name}={os.environ[name]} in the environment makes a library compute float32 with fewer bits, and "
                f"so with less work than the others; without it: env -u {name} loopnest …"
            )
    torch = sys.modules.get("torch")
    before = num_threads(), torch and torch.get_num_threads(), torch and _torch_precision(torch)
    precision = "no library with a reduced precision is loaded"
    with threadpool_limits(threads):
        try:
            set_num_threads(threads)
            if torch:
                torch.set_num_threads(threads)
                torch.set_float32_matmul_precision("highest")
                if (found := _torch_precision(torch)) != "highest":
                    raise UnfairError(f"torch computes float32 products with {found!r} precision, expected 'highest'")
                precision = "torch float32 products: highest (no TF32, no bfloat16)"
            yield Terms(threads, read_back(threads), precision, warnings=environment().warnings)
        finally:
            set_num_threads(before[0])
            if torch:
                torch.set_num_threads(before[1])
                if before[2] in ("high", "medium"):
                    torch.set_float32_matmul_precision(before[2])


def read_back(threads: int) -> tuple[ThreadPool, ...]:
    """The threads of each loaded library, as it reports them. Raises UnfairError where one has more than the budget."""
    pools = list(environment().pools)
    for pool in threadpool_info():
        if pool["user_api"] == "openmp":
            pools.append(ThreadPool("OpenMP", pool["num_threads"], pool["prefix"]))
    over = [pool for pool in pools if pool.threads > threads]
    if over:
        raise UnfairError(
            f"{', '.join(map(str, over))}: more threads than the budget of {threads}. The library ignored the "
            f"budget, or was loaded after it was set: import it before the comparison begins"
        )
    return tuple(pools)


def check_cores(who: str, readings: Sequence[Reading], threads: int) -> None:
    """Raises UnfairError where a contender kept more processors busy than it had threads, in most of its samples.
    Samples that are too short for the processor's clock do not count.

    >>> check_cores("a", [Reading(1.0, 1.9, 0)] * 3, threads=2)
    >>> check_cores("a", [Reading(1.0, 1.9, 0)] * 3, threads=1)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    loopnest.timing.fairness.UnfairError: a kept 1.9 processors busy with a budget of 1 thread...
    """
    busy = median([r.processor / r.elapsed for r in readings if r.elapsed >= LEGIBLE] or [0.0])
    if busy > (1 + ALLOWANCE) * threads:
        raise UnfairError(
            f"{who} kept {busy:.1f} processors busy with a budget of {counted(threads, 'thread')}: it "
            f"starts threads of its own that no setting reaches, so its time cannot be compared. Give all of them as "
            f"many: --threads {round(busy)}"
        )


def _torch_precision(torch: Any) -> str:
    """torch's name for the precision of its backend with the lowest one; newer versions have one for each."""
    for backend in (torch.backends.mkldnn, torch.backends.cuda):
        found = getattr(getattr(backend, "matmul", None), "fp32_precision", "ieee")
        if found not in ("ieee", "none"):
            return {"tf32": "high", "bf16": "medium"}.get(found, str(found))
    try:
        return str(torch.get_float32_matmul_precision())
    except RuntimeError:  # set by the newer interface, which the loop above has asked
        return "highest"

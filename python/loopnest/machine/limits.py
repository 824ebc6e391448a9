"""Pieces of known work, timed: multiply-adds in registers, reading and copying arrays. No kernel is faster than they.

Each is a loop in C++ that does one thing (csrc/machine/limits.hpp), compiled for every ISA level like the kernels; the
level in force is measured. The best of many short timings counts: that is what the machine does when nothing disturbs
it. A comparison that wants the limit of this very moment takes a `Piece` and times it in turn with the kernels.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core

PIECE = 1e-3
"""Seconds of a piece of multiply-adds: 1,000 times as long as reading the clock and calling it from Python."""

THREADED_PIECE = 20e-3
"""Seconds of a piece on several threads: handing out and collecting takes some 50 µs."""

BEYOND_CACHES = 1 << 28
"""Bytes of an array so large that caches keep next to nothing of it: 256 MiB."""


@dataclass(frozen=True)
class Piece:
    """A call and the amount of work that it does: flops, or bytes moved."""

    run: Callable[[], object]
    amount: float


def peak_flops(dtype: Any = np.float32, threads: int = 1, *, seconds: float = 0.2) -> float:
    """Flops a second of multiply-adds whose operands are all in registers: nothing is loaded, nothing waits.

    dtype    float32 or float64
    threads  how many run the loop at once, each on its own operands; their flops are added
    seconds  that the measurement takes

    An ISA level without fused multiply-adds does products and sums in equal numbers.
    """
    return best_rate([multiply_adds(dtype, threads)], seconds)


def read_bandwidth(nbytes: int = BEYOND_CACHES, *, seconds: float = 0.2) -> float:
    """Bytes a second at which one thread sums an array: each byte is loaded once, and nothing is stored.

    nbytes   the array's size. Read again and again, it comes from the smallest cache that holds it; the default is
             too large for all of them
    seconds  that the measurement takes
    """
    return best_rate([reading(np.ones(nbytes // 4, np.float32))], seconds)


def copy_bandwidth(nbytes: int = BEYOND_CACHES, *, seconds: float = 0.4) -> float:
    """Bytes a second at which one thread copies an array to another, counting each byte read and each byte written.

    nbytes   the size of each of the two
    seconds  that the measurement takes

    It is the better of plain stores, which in memory read the line that they write to, and non-temporal stores, which
    do not, and bypass the caches.
    """
    source = np.ones(nbytes // 4, np.float32)
    return best_rate(copying(source, np.empty_like(source)), seconds)


def multiply_adds(dtype: Any = np.float32, threads: int = 1) -> Piece:
    """Multiply-adds in registers, on several threads at once."""
    seconds = PIECE if threads == 1 else THREADED_PIECE
    rounds = 1000
    while (took := min(_seconds(_registers_only(dtype, rounds)) for _ in range(3))) < seconds / 4:
        rounds *= 2
    run = _registers_only(dtype, max(1, round(rounds * seconds / took)))
    if threads == 1:
        return Piece(run, run())
    pool = ThreadPoolExecutor(threads)
    return Piece(lambda: list(pool.map(lambda _: run(), range(threads))), threads * run())


def _registers_only(dtype: Any, rounds: int) -> Callable[[], float]:
    loop = _core.limits["peak"]["multiply_add"]
    return lambda: loop(np.array([1, 0.001, 0], dtype), rounds)


def reading(x: np.ndarray[Any, Any]) -> Piece:
    """A sum of all of x, contiguous."""
    loop, flat = _core.limits["read"]["read"], x.reshape(-1)
    return Piece(lambda: loop(flat, 1), x.nbytes)


def copying(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> list[Piece]:
    """A copy of one contiguous array to another, by each loop that does it: the faster one is the limit."""
    x, y = source.reshape(-1), target.reshape(-1)
    loops = _core.limits["copy"].values()
    return [Piece(functools.partial(loop, x, y, 1), x.nbytes + y.nbytes) for loop in loops]


def best_rate(pieces: Sequence[Piece], seconds: float) -> float:
    """The highest rate of any piece in any of its calls, which are made in turn; at least 3 of each."""
    best, calls, end = 0.0, 0, time.perf_counter() + seconds
    while calls < 3 or time.perf_counter() < end:
        best = max(best, *(piece.amount / _seconds(piece.run) for piece in pieces))
        calls += 1
    return best


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start

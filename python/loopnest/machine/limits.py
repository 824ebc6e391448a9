"""Pieces of known work: multiply-adds in registers, reading and copying arrays. No kernel is faster than they.

Each is a loop in C++ that does one thing (csrc/measure/limits.hpp), compiled for every ISA level like the kernels; the
active level is measured. A comparison that wants the limit of this very moment times a `Piece` in turn with kernels.

>>> best_rate([multiply_adds("float32")], seconds=0.01) > 1e8
True
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
from .probes import RUN, calibrated, timed


@dataclass(frozen=True)
class Piece:
    """A call, and the amount of work that it does: flops, or bytes read and written."""

    run: Callable[[], object]
    amount: float


def multiply_adds(dtype: Any = np.float32, threads: int = 1) -> Piece:
    """Multiply-adds whose operands are all in registers, on several threads at once: flops.

    A piece takes a millisecond, or 20 on several threads, whose start takes some 50 µs. An ISA level without fused
    multiply-adds does products and sums in equal numbers.
    """
    loop, operands = _core.limits["peak"]["multiply_add"], np.array([1, 0.001, 0], dtype)
    rounds = calibrated(lambda rounds: timed(lambda: loop(operands, rounds)), RUN if threads == 1 else 20 * RUN)
    run = functools.partial(loop, operands, rounds)
    if threads == 1:
        return Piece(run, run())
    pool = ThreadPoolExecutor(threads)
    return Piece(lambda: list(pool.map(lambda _: run(), range(threads))), threads * run())


def reading(x: np.ndarray[Any, Any]) -> Piece:
    """A sum over a contiguous array: bytes read. Repeated, it reads from the smallest cache that holds the array."""
    loop, flat = _core.limits["read"]["read"], x.reshape(-1)
    return Piece(lambda: loop(flat, 1), x.nbytes)


def copying(source: np.ndarray[Any, Any], target: np.ndarray[Any, Any]) -> list[Piece]:
    """A copy of one contiguous array to another: bytes read and written.

    There are two: plain stores, which in memory read the line that they write to, and non-temporal stores, which do not
    and bypass the caches. The faster one is the limit.
    """
    x, y = source.reshape(-1), target.reshape(-1)
    loops = _core.limits["copy"].values()
    return [Piece(functools.partial(loop, x, y, 1), x.nbytes + y.nbytes) for loop in loops]


def best_rate(pieces: Sequence[Piece], seconds: float = 0.2) -> float:
    """The highest rate of any piece in any of its calls. They are called in turn, three times at least."""
    best, calls, end = 0.0, 0, time.perf_counter() + seconds
    while calls < 3 or time.perf_counter() < end:
        best = max(best, *(piece.amount / timed(piece.run) for piece in pieces))
        calls += 1
    return best

"""What is the most that this machine reaches, and can a time be true? Pieces of known work, and times that beat them.

A piece is a loop in C++ that does one thing (csrc/measure/limits.hpp): multiply-adds in registers, reading and copying
arrays. No kernel is faster. It is compiled for every ISA level like the kernels; the active level is measured.

Impossible figures get published, such as 3,530 GB/s on a card that reaches 864 GB/s (llm.c, issue 851). loopnest
refuses and explains a time that beats the machine's limit, and does not print it.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import _core
from ..output.text import counted
from ..timing.turns import seconds_of
from .probes import RUN, calibrated, instructions
from .records import AS_FLOATS, MEMORY, MachineCard

TOLERANCE = 1.02
"""The factor by which a time may beat a limit: both are measured."""


@dataclass(frozen=True)
class Piece:
    """A call, and the amount of work that it does: flops, or bytes read and written."""

    run: Callable[[], object]
    amount: float


def multiply_adds(dtype: Any = np.float32, threads: int = 1, loop_name: str = "multiply_add") -> Piece:
    """Multiply-adds whose operands are all in registers, on several threads at once: flops.

    A piece takes a millisecond, or 20 on several threads, whose start takes some 50 µs. An ISA level without fused
    multiply-adds does products and sums in equal numbers.
    """
    loop, operands = _core.limits["peak"][loop_name], np.array([1, 0.001, 0], dtype)
    rounds = calibrated(lambda rounds: seconds_of(lambda: loop(operands, rounds)), RUN if threads == 1 else 20 * RUN)
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
        best = max(best, *(piece.amount / seconds_of(piece.run) for piece in pieces))
        calls += 1
    return best


# --- can this time be true?


@dataclass(frozen=True)
class Limit:
    """The least time that the machine, as it was measured, needs for a call.

    seconds  for the flops at the peak, or for the compulsory bytes at the bandwidth of the caches that can hold them,
             whichever takes longer
    by       which it is: "flops" or "bytes"
    level    the smallest cache that holds the bytes, or "memory"
    threads  whose peak and bandwidth it is
    """

    seconds: float
    by: str
    level: str
    threads: int


def limit_of(card: MachineCard, flops: float, nbytes: float, dtype: str, cores: float) -> Limit:
    """The machine's limit for work that keeps this many cores busy and is repeated, so that caches hold what they can.

    A core that is busy a tenth of the time counts as one: a limit may be too generous, but no program beats it.
    """
    threads = min(card.cores, max(1, math.ceil(cores - 0.1)))
    seconds = card.least_seconds(flops, nbytes, dtype, threads)
    computing = flops / card.peak(dtype, threads)
    holding = (c.name for c in card.caches if nbytes <= c.size * (1 if c.shared else threads))
    return Limit(seconds, "flops" if computing >= seconds else "bytes", next(holding, MEMORY), threads)


@dataclass(frozen=True)
class Work:
    """What one call does, at least: flops, and bytes of its inputs and results."""

    flops: float
    bytes: float
    dtype: str
    threads: int


def peak_now(dtype: str, threads: int) -> float:
    """Flops a second of multiply-adds in registers on some threads, now. Where other processes have the other cores,
    all threads together reach less than they would alone, so that one thread's peak for each counts too."""
    if dtype in AS_FLOATS:
        loops = [probe.loop for probe in instructions(_core.isa()) if probe.dtype == dtype]
        further = (best_rate([multiply_adds(threads=threads, loop_name=loop)]) for loop in loops)
        return max(AS_FLOATS[dtype] * peak_now("float32", threads), *further, 0.0)
    one = threads * best_rate([multiply_adds(dtype)])
    return one if threads == 1 else max(one, best_rate([multiply_adds(dtype, threads)]))


def bandwidth_now(nbytes: int) -> float:
    """Bytes a second at which one thread reads arrays of a size, or copies half of it to the other half, now."""
    source, target = np.ones((2, max(nbytes // 8, 1)), np.float32)
    whole = reading(np.ones(max(nbytes // 4, 1), np.float32))
    return best_rate([whole, *copying(source, target)])


def why_impossible(who: str, work: Work, seconds: float, card: MachineCard) -> str | None:
    """Why this time cannot be true, or None.

    who      whose time it is, for the message
    seconds  of a call: the best sample
    card     the machine's limits, perhaps of a slower hour: a limit that the time beats is measured again, and only a
             time that beats both is refused
    """
    threads = counted(work.threads, "thread")
    roof = work.bytes / card.least_seconds(0.0, work.bytes, work.dtype, work.threads)
    limits: tuple[tuple[float, float, Callable[[], float], str, str, str], ...] = (
        (work.flops, card.peak(work.dtype, work.threads), lambda: peak_now(work.dtype, work.threads), "GFLOP/s",
         f"multiply-adds in registers with {threads}, {work.dtype}",
         "does not compute all of its result, or uses an algorithm of fewer operations, or other hardware"),
        (work.bytes, roof, lambda: work.threads * bandwidth_now(int(work.bytes)), "GB/s",
         f"the roof of the caches that can hold {work.bytes / 1e6:,.3g} MB, {threads}",
         "does not read all of its inputs or write all of its results, or not at each call"),
    )  # fmt: skip
    for amount, limit, measured_again, unit, what, reasons in limits:
        rate = amount / seconds
        highest = max(limit, measured_again()) if rate > TOLERANCE * limit else limit
        if rate > TOLERANCE * highest:
            return (
                f"{who} would reach {rate / 1e9:,.4g} {unit}. This machine was measured to reach {highest / 1e9:,.4g} "
                f"({what}). A time that beats the limit by a factor of {rate / highest:.3g} is not believed: the "
                f"implementation {reasons}; or the limit was measured while the machine was slower: "
                "loopnest machine --refresh"
            )
    return None

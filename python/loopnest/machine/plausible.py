"""Can this time be true? The machine's limit for a piece of work, and times that beat it.

Impossible figures get published, such as 3,530 GB/s on a card that reaches 864 GB/s (llm.c, issue 851). loopnest
refuses and explains a time that beats the machine's limit, and does not print it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .limits import best_rate, copying, multiply_adds, reading
from .records import MEMORY, MachineCard

TOLERANCE = 1.02
"""The factor by which a time may beat a limit: both are measured."""


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
    """Flops a second of multiply-adds in registers on some threads, at this moment."""
    return best_rate([multiply_adds(dtype, threads)])


def bandwidth_now(nbytes: int, seconds: float = 0.2) -> float:
    """Bytes a second at which one thread reads arrays of a size, or copies half of it to the other half, now."""
    source, target = np.ones((2, max(nbytes // 8, 1)), np.float32)
    whole = reading(np.ones(max(nbytes // 4, 1), np.float32))
    return best_rate([whole, *copying(source, target)], seconds)


@dataclass(frozen=True)
class MeasuredNow:
    """How limits are measured once more before a time is refused: the card may be from a slower hour."""

    peak: Callable[[str, int], float] = peak_now
    bandwidth: Callable[[int], float] = bandwidth_now


def why_impossible(
    who: str, work: Work, seconds: float, card: MachineCard, now: MeasuredNow | None = None
) -> str | None:
    """Why this time cannot be true, or None.

    who      whose time it is, for the message
    seconds  of a call: the best sample
    card     the machine's limits
    now      measures a limit again that the time beats; only a time that beats both is refused
    """
    now, threads = now or MeasuredNow(), f"{work.threads} thread{'s' if work.threads > 1 else ''}"
    roof = work.bytes / card.least_seconds(0.0, work.bytes, work.dtype, work.threads)
    limits: tuple[tuple[float, float, Callable[[], float], str, str, str], ...] = (
        (work.flops, card.peak(work.dtype, work.threads), lambda: now.peak(work.dtype, work.threads), "GFLOP/s",
         f"multiply-adds in registers with {threads}, {work.dtype}",
         "does not compute all of its result, or uses an algorithm of fewer operations, or other hardware"),
        (work.bytes, roof, lambda: work.threads * now.bandwidth(int(work.bytes)), "GB/s",
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

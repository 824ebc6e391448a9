"""Can it be true? A time is believed when the machine could have done the work in it, and was in a state to be timed.

- `Watchman` begins a run with the noise floor, a fixed piece of work against itself, and watches what no comparison can
  see: time that a hypervisor stole, a clock rate that moved
- `why_not` holds a time to the machine's limits. Others have published 3,530 GB/s on a card of 864 GB/s (llm.c #851),
  and the like: what beats the limit is refused and explained, and not printed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from ..machine import limits
from .engine import (
    Interval,
    Reading,
    Turn,
    Watch,
    calibrate_alike,
    no_collection,
    ratio,
    rounds_of_two,
)

TOLERANCE = 1.02
"""How far a time may beat a limit: both are measured."""

STOLEN = 0.02
"""The share of stolen time from which on it is warned of."""

DRIFT = 0.03
"""The same for the change of the clock's rate."""

NOISE_ROUNDS = 20
"""Rounds of two samples of each, of which the noise floor is made."""

NOISE_WINDOW = 4e-3
"""Seconds of such a sample: 80 of them take a third of a second."""


class Limits(Protocol):
    """What is used here of a machine card (machine/card.py)."""

    def peak(self, dtype: Any = ..., threads: int = ..., isa: str | None = ...) -> float: ...

    def least_seconds(
        self, flops: float, bytes: float, dtype: Any = ..., threads: int = ..., level: str | None = ...
    ) -> float: ...


@dataclass(frozen=True)
class Work:
    """What one call does, at least: flops, and bytes of its inputs and results."""

    flops: float
    bytes: float
    dtype: str
    threads: int


@dataclass(frozen=True)
class Again:
    """The limits, measured once more, before anybody is called a liar by an old figure.

    peak   flops a second
    read   bytes a second, at which arrays of a size are read
    copy   the same, read and written
    """

    peak: Callable[[str, int], float] = lambda dtype, threads: limits.peak_flops(dtype, threads)
    read: Callable[[int], float] = lambda nbytes: limits.read_bandwidth(nbytes)
    copy: Callable[[int], float] = lambda nbytes: limits.copy_bandwidth(nbytes // 2)


def why_not(who: str, work: Work, seconds: float, card: Limits, again: Again | None = None) -> str | None:
    """Why this time cannot be true, or None.

    who      whose time it is, for the message
    seconds  of a call: the best sample
    card     the machine's limits; work that beats them has to beat `again`, which measures them now, too
    """
    again = again or Again()
    least = work.flops / card.peak(work.dtype, work.threads)
    if seconds * TOLERANCE < least:
        peak = max(card.peak(work.dtype, work.threads), again.peak(work.dtype, work.threads))
        if seconds * TOLERANCE < work.flops / peak:
            return _explained(who, work.flops / seconds, peak, "GFLOP/s", work)
    least = card.least_seconds(0.0, work.bytes, work.dtype, work.threads, None)
    if seconds * TOLERANCE < least:
        size = int(work.bytes)
        now = work.threads * max(again.read(size), again.copy(size))
        roof = max(work.bytes / least, now)
        if seconds * TOLERANCE < work.bytes / roof:
            return _explained(who, work.bytes / seconds, roof, "GB/s", work)
    return None


def _explained(who: str, rate: float, limit: float, unit: str, work: Work) -> str:
    threads = f"{work.threads} thread{'s' if work.threads > 1 else ''}"
    if unit == "GFLOP/s":
        measured = f"multiply-adds in registers with {threads}, {work.dtype}"
        reasons = "does not compute all of its result, or by an algorithm of fewer operations, or with other hardware"
    else:
        measured = f"the roof of the caches that can hold {work.bytes / 1e6:,.3g} MB, {threads}"
        reasons = "does not read all of its inputs or write all of its results, or not at each call"
    return (
        f"{who} would reach {rate / 1e9:,.4g} {unit}. This machine was measured to reach {limit / 1e9:,.4g} "
        f"({measured}). A time that beats the limit by a factor of {rate / limit:.3g} is not believed: the "
        f"implementation {reasons}; or the limit was measured while the machine was slower: loopnest machine --refresh"
    )


@dataclass(frozen=True)
class Conditions:
    """The state of the machine during a run.

    floor   the ratio of a fixed piece of work to itself, with its 95 % interval, as it was measured at the start
    spread  how much longer than its best time that work took at the 9th decile: 0.02 is 2 %
    steal   the share of the processors' busy time that the hypervisor gave to others; None where nobody tells
    drift   the rate of a fixed loop at the end by that at the start
    share   the part of the time for which the process had its processor, while it was timed; None for several threads
    """

    floor: Interval
    spread: float
    steal: float | None
    drift: float
    share: float | None = None

    @property
    def least_difference(self) -> float:
        """What two figures must differ by, as a share, to be told from noise: the floor's farther bound."""
        return self.floor.reach(1.0)

    def told(self) -> str:
        """The same in a sentence.

        >>> Conditions(Interval(1.0, 0.996, 1.003), spread=0.02, steal=None, drift=1.001).told().partition("; ")[2]
        'a fixed loop ran at 1.001 of its rate at the start'
        """
        floor = f"{self.floor.estimate:.3f}× ({self.floor.low:.3f}–{self.floor.high:.3f})"
        told = [
            f"noise floor: fixed work is {floor} as fast as itself, its times spread by {self.spread:.1%}",
            f"a fixed loop ran at {self.drift:.3f} of its rate at the start",
        ]
        if self.steal is not None:
            told.append(f"the hypervisor took {self.steal:.1%} of the time")
        return "; ".join(told)

    def warnings(self) -> list[str]:
        found = []
        if self.steal is not None and self.steal > STOLEN:
            found.append(f"the hypervisor took {self.steal:.1%} of the time for others: all times are too long by that")
        if abs(self.drift - 1) > DRIFT:
            found.append(
                f"a fixed loop ran at {self.drift:.3f} of its rate at the start: the clock's rate moved, so compare "
                f"ratios, and no times with those of another run"
            )
        if self.share is not None and self.share < 0.9:
            found.append(f"other processes had the processor for {1 - self.share:.0%} of the time")
        return found

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Conditions:
        return cls(**{**data, "floor": Interval(**data["floor"])})


class Watchman:
    """Watches a run: made at its start, asked for the conditions at its end.

    stat  the file with the system's times
    rate  gives the rate of a fixed loop
    """

    def __init__(
        self,
        stat: Path = Path("/proc/stat"),
        rate: Callable[[], float] | None = None,
        turns: Sequence[Turn] | None = None,
    ) -> None:
        self._stat = stat
        piece = limits.multiply_adds()
        self._rate = rate or (lambda: _rate(piece))
        self._before, self._start = _times(stat), self._rate()
        self.floor, self.spread = noise_floor(turns or [Turn(_processor_time(piece.run)) for _ in range(2)])

    def conditions(self, readings: Sequence[Reading] = ()) -> Conditions:
        """What happened since.

        readings  the samples of a run with one thread; none where the share of the processor says nothing
        """
        steal, total = (now - before for now, before in zip(_times(self._stat), self._before, strict=True))
        elapsed = sum(reading.elapsed for reading in readings)
        return Conditions(
            self.floor,
            self.spread,
            steal / total if total > 0 else None,
            self._rate() / self._start,
            min(1.0, sum(reading.processor for reading in readings) / elapsed) if elapsed else None,
        )


def noise_floor(turns: Sequence[Turn]) -> tuple[Interval, float]:
    """The ratio of two turns of the same work, and their spread: see Conditions."""
    a, b = turns
    with no_collection():
        calibrate_alike(a, b, NOISE_WINDOW)
        next(done for done in rounds_of_two(a, b) if done == NOISE_ROUNDS)
    samples = [*a.samples, *b.samples]
    return ratio(a.samples, b.samples), float(np.quantile(samples, 0.9) / min(samples) - 1)


def _processor_time(call: Callable[[], object]) -> Callable[[int], float]:
    """A turn's timeit by the clock that a comparison with one thread is timed by."""
    watch = Watch(call)

    def timeit(calls: int) -> float:
        watch(calls)
        return watch.last.processor

    return timeit


def _rate(piece: limits.Piece) -> float:
    """Of 20 calls, the fastest's."""
    timeit = _processor_time(piece.run)
    return piece.amount / min(timeit(1) for _ in range(20))


def _times(stat: Path) -> tuple[float, float]:
    """The time that was stolen from all processors, and all the time that somebody wanted of them; zeros where the
    system does not tell.

    proc(5): user nice system idle iowait irq softirq steal guest guest_nice; the guests' are in user's and nice's.
    """
    try:
        fields = [float(word) for word in stat.read_text(encoding="ascii").splitlines()[0].split()[1:9]]
    except (OSError, IndexError, ValueError):
        return 0.0, 0.0
    return (fields[7], sum(fields) - fields[3] - fields[4]) if len(fields) == 8 else (0.0, 0.0)

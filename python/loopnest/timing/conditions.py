"""In which state was the machine? The noise floor at the start of a run, and what moved until its end.

No comparison of two contenders can see these: time that a hypervisor gave to other machines, a clock rate that moved,
and how far a fixed piece of work is from itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .. import _core
from .interval import Interval, ratio
from .load import STAT, between, usage
from .turns import Reading, Turn, calibrate, run_rounds

STOLEN = 0.02
"""The share of stolen time from which on there is a warning."""

DRIFT = 0.03
"""The same for the change of the clock rate."""

NOISE_ROUNDS = 20
"""Rounds of the noise floor."""

NOISE_WINDOW = 4e-3
"""Seconds of a sample of the noise floor: its 80 samples take a third of a second."""

FIXED_WORK = 1e-3
"""Seconds that a call of the fixed work takes, about."""


@dataclass(frozen=True)
class Conditions:
    """The state of the machine during a run.

    floor   the ratio of a fixed piece of work to itself, with its 95 % interval, measured at the start
    spread  how much longer than its best time that work took at the 9th decile: 0.02 is 2 %
    steal   the share of the processors' busy time that a hypervisor gave to others; None where unknown
    drift   the rate of the fixed work at the end, divided by its rate at the start
    share   the fraction of the measured time for which the process had its processor; None for several threads
    """

    floor: Interval
    spread: float
    steal: float | None
    drift: float
    share: float | None = None

    @property
    def least_difference(self) -> float:
        """The noise floor: the fraction by which two figures must differ to mean something."""
        return self.floor.reach(1.0)

    def sentence(self) -> str:
        """All of it in a sentence.

        >>> Conditions(Interval(1.0, 0.996, 1.003), 0.02, steal=None, drift=1.001).sentence().partition("; ")[2]
        'a fixed loop ran at 1.001 of its rate at the start'
        """
        floor = f"{self.floor.estimate:.3f}× ({self.floor.low:.3f}–{self.floor.high:.3f})"
        parts = [
            f"noise floor: fixed work is {floor} as fast as itself, its times spread by {self.spread:.1%}",
            f"a fixed loop ran at {self.drift:.3f} of its rate at the start",
        ]
        if self.steal is not None:
            parts.append(f"the hypervisor took {self.steal:.1%} of the time")
        return "; ".join(parts)

    def warnings(self) -> list[str]:
        found = []
        if self.steal is not None and self.steal > STOLEN:
            found.append(f"the hypervisor took {self.steal:.1%} of the time for others: all times are too long by that")
        if abs(self.drift - 1) > DRIFT:
            found.append(
                f"a fixed loop ran at {self.drift:.3f} of its rate at the start: the clock rate moved, so compare "
                f"ratios, and no times with the times of another run"
            )
        if self.share is not None and self.share < 0.9:
            found.append(f"other processes had the processor for {1 - self.share:.0%} of the time")
        return found


class Monitor:
    """Watches a run: make it at the start, ask it for the conditions at the end.

    stat   the file with the system's times
    rate   gives the rate of a fixed loop
    turns  the two of which the noise floor is measured
    """

    def __init__(
        self, stat: Path = STAT, rate: Callable[[], float] | None = None, turns: Sequence[Turn] | None = None
    ) -> None:
        work = fixed_work()
        self._stat = stat
        self._rate = rate or (lambda: 1 / min(_processor_seconds(work) for _ in range(20)))
        self._before, self._start = usage(stat), self._rate()
        self.floor, self.spread = noise_floor(turns or [Turn(f"fixed work {i}", work) for i in range(2)])

    def conditions(self, readings: Sequence[Reading] = ()) -> Conditions:
        """What happened since the start.

        readings  the samples of a run of one thread that never waits; none where `share` means nothing
        """
        steal = between(self._before, usage(self._stat)).steal
        elapsed = math.fsum(reading.elapsed for reading in readings)
        share = min(1.0, math.fsum(reading.processor for reading in readings) / elapsed) if elapsed else None
        return Conditions(self.floor, self.spread, steal, self._rate() / self._start, share)


def noise_floor(turns: Sequence[Turn]) -> tuple[Interval, float]:
    """The ratio of two turns of the same work, and the spread of their samples: see Conditions."""
    a, b = turns
    calibrate(turns, NOISE_WINDOW)
    run_rounds(turns, seconds=0.0, least=NOISE_ROUNDS)
    if not any(math.isnan(reading.processor) for reading in (*a.readings, *b.readings)):
        a.clock = b.clock = "processor"  # the clock of comparisons of one thread
    samples = [*a.samples, *b.samples]
    return ratio(a.samples, b.samples), float(np.quantile(samples, 0.9) / min(samples) - 1)


def fixed_work() -> Callable[[], object]:
    """Multiply-adds in registers: nothing is loaded, so only the clock rate and other processes change its time."""
    loop, operands = _core.limits["peak"]["multiply_add"], np.array([1, 0.001, 0], np.float32)
    rounds = 1000
    while (took := min(_processor_seconds(lambda: loop(operands, rounds)) for _ in range(3))) < FIXED_WORK / 4:  # noqa: B023
        rounds *= 2
    rounds = max(1, round(rounds * FIXED_WORK / took))
    return lambda: loop(operands, rounds)


def _processor_seconds(call: Callable[[], object]) -> float:
    return Turn("", call).read().processor

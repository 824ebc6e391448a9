"""In which state was the machine? The noise floor at the start of a run, and what else it did until the end.

No comparison of two contenders can see these: time that a hypervisor gave to other machines, processors that other
processes kept busy, and how far a fixed piece of work is from itself.
"""

from __future__ import annotations

import functools
import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from .. import _core
from .interval import Interval, ratio
from .turns import Turn, calibrate, run_rounds

STAT = Path("/proc/stat")

NOISE_ROUNDS = 20
"""Rounds of the noise floor."""

NOISE_WINDOW = 4e-3
"""Seconds of a sample of the noise floor: its 80 samples take a third of a second."""


class Usage(NamedTuple):
    """Seconds since some beginning: that passed, that our process had a processor, that all processors were busy, and
    that the hypervisor gave to other machines."""

    passed: float
    own: float
    busy: float
    stolen: float


@dataclass(frozen=True)
class Load:
    """What happened between two usages.

    others  how many processors other processes kept busy, on average, out of `processors`
    steal   the share of their busy time that the hypervisor gave to other machines: 0.01 is 1 %

    None where the system does not say.
    """

    others: float | None
    steal: float | None
    processors: int

    def warnings(self) -> list[str]:
        """The parts of the load that distort figures, in words."""
        found = []
        if self.others is not None and self.others > 0.1 + 0.02 * self.processors:
            found.append(
                f"other processes kept {self.others:.1f} of {self.processors} processors busy while it was measured: "
                "figures of several threads, and of memory, may be too low"
            )
        if self.steal is not None and self.steal > 0.01:
            found.append(
                f"the hypervisor gave {self.steal:.1%} of the processors' time to other machines while it was measured "
                "(steal): figures may be too low"
            )
        return found


def usage(stat: Path = STAT) -> Usage | None:
    """Now; None where the system does not say.

    The first line of /proc/stat is `cpu user nice system idle iowait irq softirq steal …`, in ticks.
    """
    try:
        fields = stat.read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _, _, irq, soft, steal = (int(x) / os.sysconf("SC_CLK_TCK") for x in fields[1:9])
    except (OSError, ValueError):
        return None
    return Usage(time.perf_counter(), time.process_time(), user + nice + system + irq + soft, steal)


def between(start: Usage | None, end: Usage | None) -> Load:
    """The load from one usage to a later one."""
    processors = os.cpu_count() or 1
    if start is None or end is None:
        return Load(None, None, processors)
    passed, own, busy, stolen = np.subtract(end, start).tolist()
    return Load(max(0.0, (busy - own) / max(passed, 1e-9)), stolen / max(busy + stolen, 1e-9), processors)


@dataclass(frozen=True)
class Conditions:
    """The state of the machine during a run.

    floor  the ratio of a fixed piece of work to itself, with its 95 % interval, measured at the start
    load   what others had of the processors
    """

    floor: Interval
    load: Load

    @property
    def least_difference(self) -> float:
        """The noise floor: the fraction by which two figures must differ to mean something."""
        return self.floor.reach(1.0)

    def sentence(self) -> str:
        """All of it in a sentence.

        >>> Conditions(Interval(1.0, 0.996, 1.003), Load(0.25, None, 2)).sentence()
        'noise floor: fixed work is 1.000× (0.996–1.003) as fast as itself; other processes kept 0.2 of 2 CPUs busy'
        """
        floor = f"{self.floor.estimate:.3f}× ({self.floor.low:.3f}–{self.floor.high:.3f})"
        parts = [f"noise floor: fixed work is {floor} as fast as itself"]
        if self.load.others is not None:
            parts.append(f"other processes kept {self.load.others:.1f} of {self.load.processors} CPUs busy")
        if self.load.steal:
            parts.append(f"the hypervisor took {self.load.steal:.1%} of the time")
        return "; ".join(parts)


class Monitor:
    """Watches a run: make it at the start, ask it for the conditions at the end.

    stat   the file with the system's times
    turns  two that do the same work, for the noise floor
    """

    def __init__(self, stat: Path = STAT, turns: Sequence[Turn] | None = None) -> None:
        loop, operands = _core.limits["peak"]["multiply_add"], np.array([1, 0.001, 0], np.float32)
        work = functools.partial(loop, operands, 100_000)  # in registers: only the clock and other processes matter
        self._stat, self._start = stat, usage(stat)
        self._floor = noise_floor(turns or [Turn(f"fixed work {i}", work) for i in range(2)])

    def conditions(self) -> Conditions:
        """What happened since the start."""
        return Conditions(self._floor, between(self._start, usage(self._stat)))


def noise_floor(turns: Sequence[Turn]) -> Interval:
    """The ratio of two turns of the same work."""
    a, b = turns
    calibrate(turns, NOISE_WINDOW)
    run_rounds(turns, seconds=0.0, least=NOISE_ROUNDS)
    if not any(math.isnan(reading.processor) for reading in (*a.readings, *b.readings)):
        a.clock = b.clock = "processor"  # the clock of comparisons of one thread
    return ratio(a.samples, b.samples)

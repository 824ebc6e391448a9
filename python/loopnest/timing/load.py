"""What else does the machine do? Processor time of other processes, time that a hypervisor gave to others, quotas."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
QUOTA = Path("/sys/fs/cgroup/cpu.max")


@dataclass(frozen=True)
class Usage:
    """Seconds since some beginning: that passed, that all processors were busy, that were stolen, and our own.

    busy and stolen are None where the system does not say; Linux does.
    """

    passed: float
    own: float
    busy: float | None = None
    stolen: float | None = None
    processors: int = 1


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


def usage(stat: Path = STAT) -> Usage:
    """Now. The first line of /proc/stat is `cpu user nice system idle iowait irq softirq steal …`, in ticks."""
    passed, own, processors = time.perf_counter(), time.process_time(), os.cpu_count() or 1
    try:
        fields = stat.read_text(encoding="ascii").partition("\n")[0].split()
        user, nice, system, _, _, irq, soft, steal = (int(x) / os.sysconf("SC_CLK_TCK") for x in fields[1:9])
    except (OSError, ValueError):
        return Usage(passed, own, processors=processors)
    return Usage(passed, own, user + nice + system + irq + soft, steal, processors)


def between(start: Usage, end: Usage) -> Load:
    """The load from one usage to a later one."""
    if start.busy is None or end.busy is None or start.stolen is None or end.stolen is None:
        return Load(None, None, end.processors)
    busy, stolen = end.busy - start.busy, end.stolen - start.stolen
    others = (busy - (end.own - start.own)) / max(end.passed - start.passed, 1e-9)
    return Load(max(0.0, others), stolen / max(busy + stolen, 1e-9), end.processors)


def disturbances(load: Load) -> Iterator[str]:
    """The parts of a load that distort figures, in words."""
    if load.others is not None and load.others > 0.1 + 0.02 * load.processors:
        yield (
            f"other processes kept {load.others:.1f} of {load.processors} processors busy while it was measured: "
            "figures of several threads, and of memory, may be too low"
        )
    if load.steal is not None and load.steal > 0.01:
        yield (
            f"the hypervisor gave {load.steal:.1%} of the processors' time to other machines while it was measured "
            "(steal): figures may be too low"
        )


def quota(file: Path = QUOTA) -> float | None:
    """How many processors' time this process's control group may use; None where there is no such limit.

    cgroup v2's cpu.max has the microseconds that may be used in each period, and the period: `150000 100000`.
    """
    try:
        allowed, period = file.read_text(encoding="ascii").split()
        return int(allowed) / int(period)
    except (OSError, ValueError):  # no such file, or `max`
        return None

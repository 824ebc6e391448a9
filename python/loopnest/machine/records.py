"""The machine card as data: what a machine is, and what it was measured to reach, in flops, bytes and seconds."""

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from .._version import __version__
from ..arrays import FLOAT_NAMES, name_of_dtype
from ..output.files import Amount, Count, Positive
from ..timing.environment import ThreadPool

KINDS = ("read", "copy", "triad")
MEMORY = "memory"
FMA = "FMA"
SHARED, LAUNCH, WAIT = "shared memory", "a launch", "a launch and its wait"
"""What a GPU's card has besides."""
AS_FLOATS = {"bfloat16": 1, "float16": 1, "int8": 2}
"""What every processor reaches in reduced precision at most without its instructions, as a multiple of float32's peak:
float's multiply-adds and, for int8, multiply-adds of pairs of 16-bit integers."""


@dataclass(frozen=True)
class Cache:
    """A data cache as one core sees it.

    level       1 to 3
    size        bytes
    ways        associativity: lines of a set; 0 where the system does not say
    line        bytes of a line
    shared      whether other cores use it too
    processors  that use it, hyper-threads of one core included; 0 where that is not known
    """

    level: Count
    size: Count
    ways: Amount
    line: Amount
    shared: bool
    processors: Amount = 0

    @property
    def name(self) -> str:
        return f"L{self.level}"

    @property
    def size_as_text(self) -> str:
        mib = self.size >> 20
        return f"{mib} MiB" if mib and self.size == mib << 20 else f"{self.size >> 10} KiB"

    def users(self, processors: int) -> int:
        """The number of threads, one on each of some processors, that use one such cache."""
        return min(processors, self.processors or (processors if self.shared else 1))


@dataclass(frozen=True)
class Peak:
    """Flops a second of multiply-adds in registers.

    instruction  in reduced precision: what does them
    """

    isa: str
    dtype: str
    threads: Count
    flops: Positive
    instruction: str = ""


@dataclass(frozen=True)
class Bandwidth:
    """Bytes a second of a loop whose arrays lie at a level: L1, L2, L3 or memory.

    kind   read: a sum; copy: y = x; triad: z = x + 3 y
    bytes  that the loop asks for, read or written
    """

    level: str
    kind: str
    threads: Count
    bytes: Positive


@dataclass(frozen=True)
class MachineCard:
    """A machine, described and measured: a processor, or a GPU (gpu.py), which counts as one core.

    cores          processors that the process may run on; figures are for 1 thread and for one on each
    latencies      seconds until a result can be used: of a multiply-add, "FMA", or of a load from L1, L2, L3, memory
    clock          cycles a second, measured
    disturbances   what distorted the figures while they were measured
    warnings       the disturbances, and what distorts figures of this process now
    measured       when, in ISO 8601; empty for the rough limits of a quick probe
    """

    cpu: str
    cores: Count
    system: str
    isa_levels: tuple[str, ...]
    caches: tuple[Cache, ...]
    peaks: tuple[Peak, ...]
    bandwidths: tuple[Bandwidth, ...]
    latencies: Mapping[str, Positive] = field(default_factory=dict)
    clock: float = 0.0
    disturbances: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pools: tuple[ThreadPool, ...] = ()
    version: str = __version__
    measured: str = ""

    def peak(self, dtype: Any = "float32", threads: int = 1, isa: str | None = None) -> float:
        """Flops a second that no loop of this dtype exceeds.

        isa  an ISA level; None: the fastest

        For a number of threads that was not measured it is the highest peak that they can have. In reduced precision it
        is the fastest instruction's, or what conversion to wider numbers allows.
        """
        name = name_of_dtype(dtype)
        found = [(p.threads, p.flops) for p in self.peaks if p.dtype == name and p.isa == (isa or p.isa)]
        if name in AS_FLOATS and not self.is_gpu:
            converted = AS_FLOATS[name] * self.peak("float32", threads, isa)
            return max(converted, _at(found, threads, "") if found else 0.0)
        return _at(found, threads, f"peak of dtype {name!r}" + (f" and isa {isa!r}" if isa else ""))

    def bandwidth(self, level: str = MEMORY, kind: str | None = "read", threads: int = 1) -> float:
        """Bytes a second from a level: "L1", "L2", "L3" or "memory".

        kind  "read", "copy" or "triad"; None: the highest of them, the level's roof
        """
        found = ((b.threads, b.bytes) for b in self.bandwidths if b.level == level and b.kind == (kind or b.kind))
        return _at(found, threads, f"bandwidth of level {level!r}" + (f" and kind {kind!r}" if kind else ""))

    def latency(self, what: str = MEMORY) -> float:
        """Seconds of a load from "L1", "L2", "L3" or "memory", or of a multiply-add, "FMA"."""
        if what not in self.latencies:
            raise ValueError(
                f"the machine card has no latency of {what!r}; it has {', '.join(self.latencies) or 'none'}"
            )
        return self.latencies[what]

    @property
    def is_gpu(self) -> bool:
        """Whether it is a GPU's: its ISA level is the compute capability, such as "sm_90"."""
        return any(level.startswith("sm_") for level in self.isa_levels)

    def lacking(self) -> list[str]:
        """The figures that each card has and this one, from a damaged file, has not."""
        if self.is_gpu:
            there = {"a peak": self.peaks, "memory's bandwidth": MEMORY in self.levels(), "a cache": self.caches}
            return [what for what, found in there.items() if not found]
        counts, levels = {1, self.cores}, [*(cache.name for cache in self.caches), *self.levels(), MEMORY]
        expected: dict[str, set[Any]] = {
            "a peak": set(itertools.product(self.isa_levels, FLOAT_NAMES, counts)),
            "a bandwidth": set(itertools.product(levels, KINDS, counts)),
            "a latency": {FMA, *levels} if self.measured else set(),
            "the clock": {True},
        }
        found: dict[str, set[Any]] = {
            "a peak": {(p.isa, p.dtype, p.threads) for p in self.peaks},
            "a bandwidth": {(b.level, b.kind, b.threads) for b in self.bandwidths},
            "a latency": {*self.latencies},
            "the clock": {self.clock > 0},
        }
        return [what for what in expected if expected[what] - found[what]] + ["an ISA level"] * (not self.isa_levels)

    def levels(self) -> list[str]:
        """The levels that have bandwidths, from the nearest to the core to memory."""
        return list(dict.fromkeys(b.level for b in self.bandwidths))

    def least_seconds(self, flops: float, bytes: float, dtype: Any = "float32", threads: int = 1) -> float:
        """The least seconds that work takes which is repeated, as in a benchmark.

        That is the flops at the peak or the bytes at a bandwidth, whichever takes longer (the roofline: Williams,
        Waterman, Patterson, CACM 52:4, 2009). Bytes that the caches in front of a level hold need not come from there.

        >>> here = MachineCard("a CPU", 1, "Linux x86_64", ("v3",), (Cache(1, 32 << 10, 8, 64, False),),
        ...     (Peak("v3", "float32", 1, 100e9),),
        ...     (Bandwidth("L1", "read", 1, 200e9), Bandwidth("memory", "read", 1, 20e9)))
        >>> round(1e9 / here.least_seconds(flops=1e9, bytes=1e9) / 1e9)     # a flop a byte: memory decides
        20
        >>> round(1e9 / here.least_seconds(flops=1e9, bytes=1e7) / 1e9)     # arithmetic does
        100
        """
        seconds, held, sizes = flops / self.peak(dtype, threads), 0.0, {}
        for cache in self.caches:
            number = -(-self.cores // cache.users(self.cores))  # of such caches; each thread may have one to itself
            sizes[cache.name] = cache.size * min(threads, number)
        for level in self.levels():
            seconds = max(seconds, (bytes - held) / self.bandwidth(level, None, threads))
            held += sizes.get(level, 0.0)
        return seconds


def _at(figures: Iterable[tuple[int, float]], threads: int, what: str) -> float:
    """The highest figure for some threads: measured; or the most that figures for fewer and for more threads allow."""
    found: dict[int, float] = {}
    for count, figure in figures:
        found[count] = max(figure, found.get(count, 0.0))
    if not found:
        raise ValueError(f"the machine card has no {what}")
    if threads in found:
        return found[threads]
    more = [figure for count, figure in found.items() if count > threads]
    fewer = [figure * threads / count for count, figure in found.items() if count < threads]
    return min(more + fewer) if more else max(found.values())

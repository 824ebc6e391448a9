"""The machine card: what this machine is, and what it was measured to reach.

>>> from loopnest.machine.card import card
>>> here = card()                                   # doctest: +SKIP
>>> here.peak("float32", threads=1) / 1e9           # doctest: +SKIP
117.3
>>> here.bandwidth("L2", "read") / 1e9              # doctest: +SKIP
163.0

Figures are in flops, bytes and seconds. A card is a record; the one of this machine is measured once
(measure_machine.py) and kept as JSON in the user's cache directory. docs/machine.md explains each figure.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .._core import isa_levels
from .._version import __version__
from ..backends.user_cache import cache_directory as cache_directory
from ..output.files import save_json
from ..timing.environment import Environment, ThreadPool, environment
from ..timing.load import quota

FORMAT = 1
"""Of the file; one of another format is measured anew."""

KINDS = ("read", "copy", "triad")
MEMORY = "memory"
FMA = "FMA"
SECONDS = 10.0
"""Seconds that measuring a machine takes, about."""

OnEvent = Callable[[str, Any], None]


@dataclass(frozen=True)
class Cache:
    """A data cache as one core sees it.

    level       1 to 3
    size        bytes
    ways        associativity: lines of memory that share a place and fit into it; 0 where the system does not tell
    line        bytes that come and go together
    shared      whether other cores use it too
    processors  that use it, hyper-threads of one core included; 0 where that is not known
    """

    level: int
    size: int
    ways: int
    line: int
    shared: bool
    processors: int = 0

    @property
    def name(self) -> str:
        return f"L{self.level}"

    def users(self, processors: int) -> int:
        """How many threads, one on each of so many processors, use one such cache."""
        return min(processors, self.processors or (processors if self.shared else 1))


@dataclass(frozen=True)
class Peak:
    """flops a second of multiply-adds in registers."""

    isa: str
    dtype: str
    threads: int
    flops: float


@dataclass(frozen=True)
class Bandwidth:
    """Bytes a second that a loop moves whose arrays lie at this level: L1, L2, L3 or memory.

    kind   read: a sum; copy: y = x; triad: z = x + 3 y
    bytes  that the loop asks for, read or written
    """

    level: str
    kind: str
    threads: int
    bytes: float


@dataclass(frozen=True)
class Latency:
    """Seconds until a result can be used: of a fused multiply-add (`FMA`), or of a load from L1, L2, L3 or memory."""

    what: str
    seconds: float


@dataclass(frozen=True)
class MachineCard:
    """A machine, described and measured.

    cores          processors that the process may run on; threads are 1 and as many as these
    clock          cycles a second, measured
    timer          seconds of the smallest step that Python's clock was seen to make
    call           seconds of `ln.matmul` with matrices of 2 x 2: what a call costs beside its work
    noise          how much longer than its best time a fixed piece of work takes at the 9th decile: 0.02 is 2 %
    disturbances   what distorted the figures as they were measured
    warnings       these, and what distorts figures of this process as it is now
    measured       when, in ISO 8601
    """

    cpu: str
    cores: int
    system: str
    isa_levels: tuple[str, ...]
    caches: tuple[Cache, ...]
    peaks: tuple[Peak, ...]
    bandwidths: tuple[Bandwidth, ...]
    latencies: tuple[Latency, ...] = ()
    clock: float = 0.0
    timer: float = 0.0
    call: float = 0.0
    noise: float = 0.0
    disturbances: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    pools: tuple[ThreadPool, ...] = ()
    version: str = __version__
    measured: str = ""

    def peak(self, dtype: Any = "float32", threads: int = 1, isa: str | None = None) -> float:
        """flops a second that no loop of this dtype passes.

        isa  an ISA level; the highest of all where it is None

        A number of threads between those that were measured has the largest of their peaks that it can have.
        """
        name = np.dtype(dtype).name
        found: dict[int, float] = {}
        for p in self.peaks:
            if p.dtype == name and p.isa == (isa or p.isa):
                found[p.threads] = max(p.flops, found.get(p.threads, 0.0))
        return _at(found, threads, f"peak of dtype {name!r}" + (f" and isa {isa!r}" if isa else ""))

    def bandwidth(self, level: str = MEMORY, kind: str | None = "read", threads: int = 1) -> float:
        """Bytes a second from a level: "L1", "L2", "L3" or "memory".

        kind  "read", "copy" or "triad"; the highest of these, the level's roof, where it is None
        """
        found: dict[int, float] = {}
        for b in self.bandwidths:
            if b.level == level and b.kind == (kind or b.kind):
                found[b.threads] = max(b.bytes, found.get(b.threads, 0.0))
        return _at(found, threads, f"bandwidth of level {level!r}" + (f" and kind {kind!r}" if kind else ""))

    def latency(self, what: str = MEMORY) -> float:
        """Seconds of a load from "L1", "L2", "L3" or "memory", or of a multiply-add, "FMA"."""
        found = {latency.what: latency.seconds for latency in self.latencies}
        if what not in found:
            raise ValueError(f"the machine card has no latency of {what!r}; it has {', '.join(found) or 'none'}")
        return found[what]

    def levels(self) -> list[str]:
        """The levels that have bandwidths, from the nearest to the core to memory."""
        return list(dict.fromkeys(b.level for b in self.bandwidths))

    def least_seconds(
        self,
        flops: float,
        bytes: float,
        dtype: Any = "float32",
        threads: int = 1,
        level: str | None = MEMORY,
        *,
        kind: str | None = None,
    ) -> float:
        """Seconds that so many flops and bytes take at least: the larger of what either takes alone.

        level  where the bytes come from and go to. None: wherever they lie after a run over all of them, as in a
               benchmark that repeats a call; what the caches in front of a level can hold need not come from there
        kind   "read" for work that writes next to nothing, such as a sum; None for what may be of any kind
        """
        moving = bytes / self.bandwidth(level, kind, threads) if level else self._warm(bytes, threads, kind)
        return max(flops / self.peak(dtype, threads), moving)

    def _warm(self, bytes: float, threads: int, kind: str | None) -> float:
        seconds, held = 0.0, 0.0
        sizes = {cache.name: cache.size * min(threads, self._instances(cache)) for cache in self.caches}
        for level in self.levels():
            seconds = max(seconds, (bytes - held) / self.bandwidth(level, kind, threads))
            held += sizes.get(level, 0.0)
        return seconds

    def _instances(self, cache: Cache) -> int:
        """How many such caches the processors have: as many as that can threads on some of them use at most."""
        return -(-self.cores // cache.users(self.cores))

    def attainable(
        self,
        flops: float,
        bytes: float,
        dtype: Any = "float32",
        threads: int = 1,
        level: str | None = MEMORY,
        *,
        kind: str | None = None,
    ) -> float:
        """The roofline: flops a second that work of so many flops and bytes can reach at most.

        min(peak, bandwidth · flops / bytes): Williams, Waterman, Patterson, Roofline (CACM 52:4, 2009). See
        least_seconds for `level` and `kind`, and for work without flops.

        >>> here = MachineCard("a CPU", 1, "Linux x86_64", ("v3",), (Cache(1, 32 << 10, 8, 64, False),),
        ...     (Peak("v3", "float32", 1, 100e9),),
        ...     (Bandwidth("L1", "read", 1, 200e9), Bandwidth("memory", "read", 1, 20e9)))
        >>> round(here.attainable(flops=1e6, bytes=1e6) / 1e9)              # a flop a byte: memory decides
        20
        >>> round(here.attainable(flops=1e6, bytes=1e6, level="L1") / 1e9)  # arithmetic does
        100
        """
        return flops / self.least_seconds(flops, bytes, dtype, threads, level, kind=kind)

    def to_json(self) -> dict[str, Any]:
        return {"format": FORMAT, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> MachineCard:
        """The card that `to_json` told. Raises ValueError for anything else."""
        if not isinstance(data, Mapping) or data.get("format") != FORMAT:
            found = data.get("format") if isinstance(data, Mapping) else type(data).__name__
            raise ValueError(f"a machine card of format {found}, expected {FORMAT}")
        try:
            rest = {name: value for name, value in data.items() if name != "format"}
            plain = {name: tuple(data[name]) for name in ("isa_levels", "disturbances", "warnings")}
            made = {name: tuple(record(**row) for row in data[name]) for name, record in NESTED.items()}
            return cls(**{**rest, **plain, **made})
        except (TypeError, KeyError) as error:
            raise ValueError(f"not a machine card: {error}") from None


NESTED: Mapping[str, Callable[..., Any]] = {
    "caches": Cache,
    "peaks": Peak,
    "bandwidths": Bandwidth,
    "latencies": Latency,
    "pools": ThreadPool,
}


def _at(found: Mapping[int, float], threads: int, what: str) -> float:
    """The figure for so many threads: as measured, or else no more than several of one or than all have."""
    if not found:
        raise ValueError(f"the machine card has no {what}")
    if threads in found:
        return found[threads]
    more = [figure for count, figure in found.items() if count > threads]
    fewer = [figure * threads / count for count, figure in found.items() if count < threads]
    return min(more + fewer) if more else max(found.values())


def card(refresh: bool = False, on_event: OnEvent = lambda kind, content: None) -> MachineCard:
    """This machine's card: as it was measured, or measured now, in some 15 seconds, and kept.

    refresh   measure in any case
    on_event  is called with ("start", the number of measurements), ("running", a name), ("note", what else is to know)
    """
    path = card_file()
    if not refresh and path.exists():
        try:
            return as_it_is_now(MachineCard.from_json(json.loads(path.read_text(encoding="utf-8"))))
        except (ValueError, OSError) as error:
            on_event("note", f"{path} cannot be used ({error}): the machine is measured anew")
    from .measure import measure

    measured = measure(on_event=on_event)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_json(measured.to_json(), path)
    except OSError as error:
        on_event("note", f"the machine card could not be kept in {path} ({error}): the next call measures again")
    return measured


def card_file() -> Path:
    """Where this machine's card is kept: the name has a hash of all that would make it another machine."""
    here = environment()
    key = here.cpu, here.cores, here.system, isa_levels(), caches(), __version__
    return cache_directory() / f"machine-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"


def caches(folder: Path | None = None) -> tuple[Cache, ...]:
    """This machine's data caches, from the nearest to the core on; empty where the system does not tell.

    folder  of Linux's /sys/devices/system/cpu/cpu0/cache, to read another machine's
    """
    told = _core.caches(str(folder) if folder else "")
    of_a_core = min((users for *_, users in told if users), default=1)  # its hyper-threads: no two cores share an L1
    return tuple(Cache(level, size, ways, line, users > of_a_core, users) for level, size, ways, line, users in told)


def as_it_is_now(measured: MachineCard) -> MachineCard:
    """The card with the thread pools and the warnings of this process."""
    here = environment()
    warnings = (*measured.disturbances, *here.warnings, *_crowding(here, quota()))
    return dataclasses.replace(measured, pools=here.pools, warnings=warnings)


def _crowding(here: Environment, allowed: float | None) -> Iterator[str]:
    """Threads that have no processor to themselves."""
    for pool in here.pools:
        if pool.threads > here.cores:
            yield (
                f"{pool.owner} has {pool.threads} threads for {here.cores} processors: "
                "they take turns, and wait for one another"
            )
    if allowed is not None and allowed < here.cores:
        yield (
            f"a quota lets this process use the time of {allowed:g} of its {here.cores} processors (cgroup cpu.max): "
            "what runs on all of them for longer than some milliseconds is halted"
        )

"""Measuring a machine card: which probes there are, and what is watched while they run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from .._core import isa_levels
from ..operations.matmul import matmul
from ..timing.environment import environment
from ..timing.load import between, disturbances, usage
from .card import (
    FMA,
    KINDS,
    MEMORY,
    SECONDS,
    Bandwidth,
    Cache,
    Latency,
    MachineCard,
    OnEvent,
    Peak,
    as_it_is_now,
    caches,
)
from .probes import (
    LINE,
    LOOPS,
    PAGE,
    Probe,
    available_memory,
    buffer,
    buffers,
    cache_traffic,
    call_overhead,
    chase,
    clock_cycles,
    fixed_work,
    memory_traffic,
    multiply_add_chain,
    multiply_adds,
    play,
    spread,
    timer_step,
    working_set,
)

ROUNDS = 6
"""Turns of each probe, more than a second apart: a disturbance of a second leaves five of them."""

GUESSED = tuple(Cache(n + 1, size, 0, LINE, n == 2) for n, size in enumerate((32 << 10, 512 << 10, 8 << 20)))
"""The caches where the system tells none: common sizes, as the kernels take them too (csrc/machine/caches.hpp)."""

NOT_TOLD = "the system does not tell the caches' sizes: common ones were taken, and the levels may be mixed up"

STEADY = 0.03
"""By how much the clock may move, and the times of a fixed piece of work differ, before it is a warning: on an idle
machine it is below 1 %."""


def measure(seconds: float = SECONDS, on_event: OnEvent = lambda kind, content: None) -> MachineCard:
    """Measure this machine in about so many seconds, whatever is kept."""
    before, here, found = usage(), environment(), caches()
    told = [*([] if found else [NOT_TOLD]), *_cramped(found or GUESSED, here.cores)]
    probes = Probes.of(found or GUESSED, here.cores, on_event)
    everything = probes.all()
    on_event("start", ROUNDS * len(everything))
    samples: list[float] = []

    def next_turn(probe: Probe) -> None:
        samples.append(probes.fixed.run())
        on_event("at" if len(probe.rounds) >= ROUNDS else "running", probe.name)

    play(everything, ROUNDS, seconds / ROUNDS / len(everything), next_turn)
    clocks, noise = [probes.clock.amount / best for best in probes.clock.rounds], spread(samples)
    load = tuple(disturbances(between(before, usage())))
    return as_it_is_now(
        MachineCard(
            cpu=here.cpu,
            cores=here.cores,
            system=here.system,
            isa_levels=tuple(isa_levels()),
            caches=found or GUESSED,
            peaks=tuple(Peak(*what, probe.rate) for what, probe in probes.peaks.items()),
            bandwidths=tuple(Bandwidth(*what, _fastest(ways).rate) for what, ways in probes.traffic.items()),
            latencies=tuple(Latency(what, probe.seconds) for what, probe in probes.latencies.items()),
            clock=probes.clock.rate,
            timer=timer_step(),
            call=_call(),
            noise=noise,
            disturbances=(*told, *load, *_unsteady(clocks, noise), *_unsettled(probes.deciding())),
            measured=datetime.now(UTC).isoformat(timespec="seconds"),
        )
    )


@dataclass(frozen=True)
class Probes:
    """What is run, by what it measures."""

    peaks: Mapping[tuple[str, str, int], Probe]
    traffic: Mapping[tuple[str, str, int], Sequence[Probe]]
    latencies: Mapping[str, Probe]
    clock: Probe
    fixed: Probe

    def all(self) -> list[Probe]:
        """In the order in which they have their turns; the fixed work is run between them."""
        ways = [probe for several in self.traffic.values() for probe in several]
        return [self.clock, *self.peaks.values(), *ways, *self.latencies.values()]

    def deciding(self) -> list[Probe]:
        """Those that the card's figures are from: of several loops the fastest."""
        return [*self.peaks.values(), *map(_fastest, self.traffic.values()), *self.latencies.values()]

    @classmethod
    def of(cls, caches: Sequence[Cache], processors: int, on_event: OnEvent) -> Probes:
        """For one thread, and for as many as there are processors."""
        on_event("at", "choosing the sizes of what is measured")
        counts, newest = sorted({1, processors}), isa_levels()[-1]
        return cls(
            peaks={
                (isa, dtype, threads): multiply_adds(f"peak of {dtype} on {isa}{_by(threads)}", isa, dtype, threads)
                for isa in isa_levels()
                for dtype in ("float32", "float64")
                for threads in counts
            },
            traffic=dict(_traffic(caches, counts, newest)),
            latencies=dict(_latencies(caches, newest)),
            clock=clock_cycles("clock"),
            fixed=fixed_work(),
        )


def _fastest(ways: Sequence[Probe]) -> Probe:
    return max(ways, key=lambda probe: probe.rate)


def _traffic(
    caches: Sequence[Cache], counts: Sequence[int], isa: str
) -> Iterator[tuple[tuple[str, str, int], list[Probe]]]:
    """The bandwidths' probes: each loop that may be the fastest of its kind."""
    sets = {threads: dict(_sets(caches, threads)) for threads in counts}
    largest = {threads: max(places.values()) for threads, places in sets.items()}
    memory = buffers([max(size for threads, size in largest.items() if threads > n) for n in range(max(counts))])
    for threads, places in sets.items():
        for level, nbytes in places.items():
            probe = memory_traffic if level == MEMORY else cache_traffic
            for kind in KINDS:
                name = f"{kind} bandwidth of {level}{_by(threads)}"
                loops = LOOPS[kind] if level == MEMORY else LOOPS[kind][:1]
                yield (level, kind, threads), [probe(name, isa, loop, memory[:threads], nbytes) for loop in loops]


def _latencies(caches: Sequence[Cache], isa: str) -> Iterator[tuple[str, Probe]]:
    yield FMA, multiply_add_chain("latency of a multiply-add", isa, "float32")
    for level, nbytes in _sets(caches, 1):
        line = caches[0].line or LINE
        yield level, chase(f"latency of {level}", buffer(nbytes), nbytes, line, cached=level != MEMORY)


def _sets(caches: Sequence[Cache], threads: int) -> Iterator[tuple[str, int]]:
    """Each level, and how many bytes a thread goes through to measure it."""
    sizes = [cache.size for cache in caches]
    for n, cache in enumerate(caches):
        yield cache.name, working_set(sizes, n, cache.users(threads))
    yield MEMORY, min(working_set(sizes, len(sizes), threads), _available(threads))


def _available(threads: int) -> int:
    """Bytes of memory for each thread. A quarter, since there are arrays for one thread, for all, and for latencies."""
    return max(available_memory() // 4 // threads // PAGE * PAGE, PAGE)


def _cramped(caches: Sequence[Cache], processors: int) -> Iterator[str]:
    """Whether too little memory is left to tell memory from the caches."""
    sizes = [cache.size for cache in caches]
    if any(2 * _available(n) < working_set(sizes, len(sizes), n) for n in (1, processors)):
        yield (
            f"only {available_memory() >> 20} MiB of memory are free: its figures may in part be those of caches, "
            "and too high"
        )


def _by(threads: int) -> str:
    return "" if threads == 1 else f", {threads} threads"


def _call() -> float:
    x, out = np.ones((2, 2), np.float32), np.empty((2, 2), np.float32)
    return call_overhead(lambda: matmul(x, x, out=out))


def _unsteady(clocks: Sequence[float], noise: float) -> Iterator[str]:
    """What was not the same from the beginning to the end."""
    if max(clocks) > (1 + STEADY) * min(clocks):
        yield (
            f"the clock moved between {min(clocks) / 1e9:.2f} and {max(clocks) / 1e9:.2f} GHz while it was measured: "
            "figures are those of the highest, and others may be reached at other times"
        )
    if noise > STEADY:
        yield f"noise: in a tenth of its runs a fixed piece of work took at least {noise:.0%} longer than at best"


def _unsettled(probes: Sequence[Probe]) -> Iterator[str]:
    """What was reached only once."""
    names = [probe.name for probe in probes if not probe.settled()]
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        yield f"reached in one round only, so they may be too low: {'; '.join(names[:3])}{more}"

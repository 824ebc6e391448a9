"""Measuring a machine card: the probes, and what is watched while they run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from .._core import isa_levels
from ..timing.conditions import between, usage
from ..timing.environment import environment
from . import probes
from .limits import best_rate, multiply_adds
from .plausible import bandwidth_now
from .probes import LINE, LOOPS, PAGE, Probe, repeated, timed, working_set
from .records import FMA, KINDS, MEMORY, Bandwidth, Cache, Latency, MachineCard, Peak

SECONDS = 10.0
"""Seconds that measuring a machine takes, about."""

ROUNDS = 6
"""Turns of each probe, more than a second apart: a disturbance of a second leaves five of them."""

COMMON = tuple(Cache(n + 1, size, 0, LINE, n == 2) for n, size in enumerate((32 << 10, 512 << 10, 8 << 20)))
"""Common caches, for a system that does not report its own; the kernels assume the same (csrc/runtime/caches.hpp)."""

STEADY = 0.03
"""A clock that moves by more than this is a warning."""


def caches(folder: Path | None = None) -> tuple[Cache, ...]:
    """This machine's data caches, from the nearest to the core on; empty where the system does not report them.

    folder  of Linux's /sys/devices/system/cpu/cpu0/cache, to read another machine's
    """
    found = _core.caches(str(folder) if folder else "")
    of_a_core = min((users for *_, users in found if users), default=1)  # its hyper-threads: no two cores share an L1
    return tuple(Cache(level, size, ways, line, users > of_a_core, users) for level, size, ways, line, users in found)


def measure(seconds: float = SECONDS, on_event: Callable[[str, Any], None] = lambda kind, content: None) -> MachineCard:
    """Measure this machine in about these seconds, whether or not a card is kept."""
    before, here, found, newest = usage(), environment(), caches() or COMMON, isa_levels()[-1]
    on_event("at", "choosing the sizes of what is measured")
    counts = sorted({1, here.cores})
    # A chain of integer instructions: each waits for the one before.
    clock = repeated("clock", 2, lambda times: timed(lambda: _core.two_cycles(0x9E3779B9, times)))
    peaks = {
        (isa, dtype, threads): probes.multiply_adds(f"peak of {dtype} on {isa}{_by(threads)}", isa, dtype, threads)
        for isa in isa_levels()
        for dtype in ("float32", "float64")
        for threads in counts
    }
    traffic = _traffic(found, counts, newest)
    latencies = _latencies(found, newest)
    everything = [clock, *peaks.values(), *(p for ways in traffic.values() for p in ways), *latencies.values()]
    on_event("start", ROUNDS * len(everything))

    def next_turn(probe: Probe) -> None:
        on_event("at" if len(probe.rounds) >= ROUNDS else "running", probe.name)

    probes.play(everything, ROUNDS, seconds / ROUNDS / len(everything), next_turn)
    fastest = {what: max(ways, key=lambda probe: probe.rate) for what, ways in traffic.items()}
    distorting = [
        *([] if caches() else ["the system does not report the caches' sizes: common ones are assumed"]),
        *_cramped(found, here.cores),
        *between(before, usage()).warnings(),
    ]
    slowest, highest = (clock.amount / pick(clock.rounds) for pick in (max, min))
    if highest > (1 + STEADY) * slowest:
        distorting.append(
            f"the clock moved between {slowest / 1e9:.2f} and {highest / 1e9:.2f} GHz while it was measured: "
            "figures are for the highest clock, and may differ at other times"
        )
    return MachineCard(
        cpu=here.cpu,
        cores=here.cores,
        system=here.system,
        isa_levels=tuple(isa_levels()),
        caches=found,
        peaks=tuple(Peak(*what, probe.rate) for what, probe in peaks.items()),
        bandwidths=tuple(Bandwidth(*what, probe.rate) for what, probe in fastest.items()),
        latencies=tuple(Latency(what, probe.seconds) for what, probe in latencies.items()),
        clock=clock.rate,
        disturbances=tuple(distorting),
        measured=datetime.now(UTC).isoformat(timespec="seconds"),
    )


@functools.cache
def quick() -> MachineCard:
    """Rough limits in a second: the peak of the active ISA level, and what one thread reads and copies. Several threads
    are credited with a multiple of it. The card has no date."""
    here, found = environment(), caches() or COMMON
    counts = sorted({1, here.cores})
    peaks = {
        (here.isa, dtype, threads): best_rate([multiply_adds(dtype, threads)], 0.04)
        for dtype in ("float32", "float64")
        for threads in counts
    }
    sizes = {cache.name: cache.size // 2 for cache in found} | {MEMORY: 2 * found[-1].size}
    rates = {level: bandwidth_now(size, 0.02) for level, size in sizes.items()}
    return MachineCard(
        here.cpu,
        here.cores,
        here.system,
        tuple(isa_levels()),
        found,
        tuple(Peak(*what, rate) for what, rate in peaks.items()),
        tuple(Bandwidth(level, "read", count, count * rate) for level, rate in rates.items() for count in counts),
    )


def _traffic(caches: Sequence[Cache], counts: Sequence[int], isa: str) -> dict[tuple[str, str, int], list[Probe]]:
    """By level, kind and threads: the probes of each loop that may be the fastest of its kind."""
    sets = {threads: dict(_sets(caches, threads)) for threads in counts}
    largest = {threads: max(places.values()) for threads, places in sets.items()}
    memory = probes.buffers([max(size for threads, size in largest.items() if threads > n) for n in range(max(counts))])
    found = {}
    for threads, places in sets.items():
        for level, nbytes in places.items():
            probe = probes.memory_traffic if level == MEMORY else probes.cache_traffic
            for kind in KINDS:
                name = f"{kind} bandwidth of {level}{_by(threads)}"
                loops = LOOPS[kind] if level == MEMORY else LOOPS[kind][:1]
                found[level, kind, threads] = [probe(name, isa, loop, memory[:threads], nbytes) for loop in loops]
    return found


def _latencies(caches: Sequence[Cache], isa: str) -> dict[str, Probe]:
    chain, values = _core.in_step["multiply_add_chain"], np.array([1, 0.001, 0], np.float32)
    found = {FMA: repeated("latency of a multiply-add", 1, lambda times: chain(isa, [(values, times)])[0])}
    for level, nbytes in _sets(caches, 1):
        line, memory = caches[0].line or LINE, probes.buffer(nbytes)
        found[level] = probes.chase(f"latency of {level}", memory, nbytes, line, cached=level != MEMORY)
    return found


def _sets(caches: Sequence[Cache], threads: int) -> Iterator[tuple[str, int]]:
    """Each level, and the bytes that a thread goes through to measure it."""
    sizes = [cache.size for cache in caches]
    for n, cache in enumerate(caches):
        yield cache.name, working_set(sizes, n, cache.users(threads))
    yield MEMORY, min(working_set(sizes, len(sizes), threads), _available(threads))


def _available(threads: int) -> int:
    """Bytes of memory for each thread. A quarter, since there are arrays for one thread, for all, and for latencies."""
    return max(probes.available_memory() // 4 // threads // PAGE * PAGE, PAGE)


def _cramped(caches: Sequence[Cache], processors: int) -> Iterator[str]:
    """A warning where too little memory is free to measure memory and not the caches."""
    sizes, free = [cache.size for cache in caches], probes.available_memory() >> 20
    if any(2 * _available(n) < working_set(sizes, len(sizes), n) for n in (1, processors)):
        yield f"only {free} MiB of memory are free: its figures may in part come from caches, and be too high"


def _by(threads: int) -> str:
    return "" if threads == 1 else f", {threads} threads"

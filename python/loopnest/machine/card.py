"""This machine's card: measured once, and kept. The one way to ask what the machine reaches.

>>> from loopnest.machine.card import card
>>> here = card()                                   # doctest: +SKIP
>>> here.peak("float32", threads=1) / 1e9           # doctest: +SKIP
117.3
>>> here.bandwidth("L2", "read") / 1e9              # doctest: +SKIP
163.0

docs/machine.md explains each figure.
"""

import dataclasses
import functools
import hashlib
import itertools
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from .. import _core
from .._core import isa_levels
from .._version import __version__
from ..arrays import FLOAT_NAMES
from ..backends.cgroups import cpu_quota
from ..backends.compiler import cache_directory
from ..output.files import reading, save_json
from ..timing.conditions import between, usage
from ..timing.environment import Environment, environment
from ..timing.turns import seconds_of
from . import probes
from .probes import LINE, LOOPS, PAGE, Probe, repeated, working_set
from .records import FMA, KINDS, MEMORY, Bandwidth, Cache, MachineCard, Peak

OnEvent = Callable[[str, Any], None]

SECONDS = 10.0
"""Seconds that measuring a machine takes, about."""

ROUNDS = 6
"""Turns of each probe, more than a second apart: a disturbance of a second leaves five of them."""

COMMON = tuple(Cache(n + 1, size, 0, LINE, n == 2) for n, size in enumerate((32 << 10, 512 << 10, 8 << 20)))
"""Common caches, for a system that does not report its own; the kernels assume the same (csrc/runtime/caches.hpp)."""

STEADY = 0.03
"""A clock that moves by more than this is a warning."""


def card(refresh: bool = False, quick: bool = False, on_event: OnEvent = lambda kind, content: None) -> MachineCard:
    """This machine's card: the kept one, or one that is measured now, in some 15 seconds, and kept.

    refresh   measure in any case
    quick     where none is kept, measure roughly, in some seconds, and keep it for this process alone
    on_event  is called with ("start", the number of measurements), ("running", a name), ("note", a sentence)

    A file that cannot be read as a card is measured anew.
    """
    file = card_file()
    if not refresh and file.exists():
        try:
            return as_it_is_now(_kept(file))
        except ValueError as error:
            on_event("note", f"{error}: the machine is measured anew")
    if quick and not refresh:
        return as_it_is_now(_rough())
    measured = measure(on_event=on_event)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        save_json(msgspec.to_builtins(measured), file)
    except OSError as error:
        on_event("note", f"the machine card could not be kept in {file} ({error}): the next call measures again")
    return as_it_is_now(measured)


def _kept(file: Path) -> MachineCard:
    """The card in a file. Raises ValueError for one that is damaged."""
    with reading(file, "machine card"):
        found = msgspec.json.decode(file.read_bytes(), type=MachineCard)
    if found.lacking():
        raise ValueError(f"{file} is no machine card, or is damaged: it lacks {found.lacking()[0]}")
    return found


def card_file() -> Path:
    """Where this machine's card is kept. The name has a hash of all that would make it another machine's."""
    here = environment()
    further = [one.name for one in probes.instructions("v4")]
    key = here.cpu, here.cores, here.system, isa_levels(), further, caches(), __version__
    return cache_directory() / f"machine-{hashlib.sha256(repr(key).encode()).hexdigest()[:16]}.json"


def as_it_is_now(measured: MachineCard) -> MachineCard:
    """The card with the thread pools and the warnings of this process."""
    here = environment()
    warnings = (*measured.disturbances, *here.warnings, *_crowding(here, cpu_quota()))
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
            f"a control group's quota lets this process use the time of {allowed:g} of its {here.cores} processors: "
            "work that uses all of them for longer than some milliseconds is halted"
        )


# --- measuring


def caches(folder: Path | None = None) -> tuple[Cache, ...]:
    """This machine's data caches, from the nearest to the core on; empty where the system does not report them.

    folder  of Linux's /sys/devices/system/cpu/cpu0/cache, to read another machine's
    """
    found = _core.caches(str(folder) if folder else "")
    of_a_core = min((users for *_, users in found if users), default=1)  # its hyper-threads: no two cores share an L1
    return tuple(Cache(level, size, ways, line, users > of_a_core, users) for level, size, ways, line, users in found)


def measure(
    seconds: float = SECONDS, on_event: OnEvent = lambda kind, content: None, rough: bool = False
) -> MachineCard:
    """Measure this machine in about these seconds, whether or not a card is kept.

    rough  the active ISA level alone, no latencies, few rounds; the card has no date
    """
    before, here, found = usage(), environment(), caches() or COMMON
    levels, rounds = ([here.isa], 1) if rough else (isa_levels(), ROUNDS)
    on_event("at", "choosing the sizes of what is measured")
    counts = sorted({1, here.cores})
    # A chain of integer instructions: each waits for the one before.
    clock = repeated("clock", 2, lambda times: seconds_of(lambda: _core.two_cycles(0x9E3779B9, times)))
    peaks = {
        (isa, dtype, threads, ""): probes.multiply_adds(f"peak of {dtype} on {isa}{_by(threads)}", isa, dtype, threads)
        for isa in levels
        for dtype in FLOAT_NAMES
        for threads in counts
    }
    for isa, threads in itertools.product(levels, counts):
        for one in probes.instructions(isa):
            name = f"peak of {one.name}{_by(threads)}"
            peaks[isa, one.dtype, threads, one.name] = probes.multiply_adds(name, isa, "float32", threads, one.loop)
    traffic = _traffic(found, counts, levels[-1])
    latencies = {} if rough else _latencies(found, levels[-1])
    everything = [clock, *peaks.values(), *(p for ways in traffic.values() for p in ways), *latencies.values()]
    on_event("start", rounds * len(everything))
    probes.play(everything, rounds, seconds / rounds / len(everything), on_event)
    fastest = {what: max(ways, key=lambda probe: probe.rate) for what, ways in traffic.items()}
    distorting = [
        *([] if caches() else ["the system does not report the caches' sizes: common ones are assumed"]),
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
        peaks=tuple(
            Peak(isa, dtype, threads, probe.rate, name) for (isa, dtype, threads, name), probe in peaks.items()
        ),
        bandwidths=tuple(Bandwidth(*what, probe.rate) for what, probe in fastest.items()),
        latencies={what: probe.seconds for what, probe in latencies.items()},
        clock=clock.rate,
        disturbances=tuple(distorting),
        measured="" if rough else datetime.now(UTC).isoformat(timespec="seconds"),
    )


_rough = functools.cache(functools.partial(measure, 0.5, rough=True))


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
    free = probes.available_memory() // 4 // threads  # a quarter: for one thread, for all, and for latencies
    yield MEMORY, min(working_set(sizes, len(sizes), threads), max(free // PAGE * PAGE, PAGE))


def _by(threads: int) -> str:
    return "" if threads == 1 else f", {threads} threads"

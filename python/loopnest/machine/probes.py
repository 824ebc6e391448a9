"""What a machine card is measured with: probes, each a known amount of one kind of work, timed in rounds.

Every probe has its turn in every round, and what counts is its fastest run in any of them: a neighbour that disturbs
the machine for a second spoils one turn of some probes and no figure. Threads begin together, on processors of their
own, and their time is that of the last to end (csrc/machine/in_step.hpp): several reach what they reach at once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import itertools
import math
import mmap
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..arrays import Array
from .limits import BEYOND_CACHES

RUN = 1e-3
"""Seconds that a run takes: 1,000 times what reading the clock takes and threads begin apart, and short enough to fit
between the turns that a system gives to other processes, which are 3 ms and more."""

PART = 1 << 25
"""Bytes of memory that a run goes through: 32 MiB, another part of the arrays each time. It takes some RUN, too."""

NEARLY = 1.03
"""How far the fastest runs of two rounds may be from each other for a probe to have settled."""

FAR = 1 << 26
"""Bytes that each of many threads moves where memory is meant: 64 MiB, which is 2 to 60 times a core's share of L3."""

PAGE, HUGE_PAGE, LINE = 4096, 1 << 21, 64

LOOPS = {"read": ["read"], "copy": ["copy", "copy_past_caches"], "triad": ["triad", "triad_past_caches"]}
"""The loops of each kind of traffic. The second ones, with stores past the caches, are tried where memory is meant."""

ARRAYS = {"read": 1, "copy": 2, "copy_past_caches": 2, "triad": 3, "triad_past_caches": 3}
"""How many arrays each loop goes through."""


@dataclass
class Probe:
    """Work that can be timed: an amount of flops, bytes or steps, and a call that does it and tells its seconds.

    prepare  is called before each turn, outside of the time
    rounds   the seconds of the fastest run in each round
    """

    name: str
    amount: float
    run: Callable[[], float]
    prepare: Callable[[], object] | None = None
    rounds: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        """Seconds of the fastest run."""
        return min(self.rounds)

    @property
    def rate(self) -> float:
        """What is done in a second, at best."""
        return self.amount / self.best

    @property
    def seconds(self) -> float:
        """What one flop, byte or step takes, at best."""
        return self.best / self.amount

    def settled(self) -> bool:
        """Whether the fastest run was nearly reached in another round: it was no luck, nor the only one undisturbed."""
        return len(self.rounds) > 1 and sorted(self.rounds)[1] <= NEARLY * self.best

    def turn(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Run again and again for so many seconds, once at least."""
        if self.prepare:
            self.prepare()
        end, best = clock() + seconds, self.run()
        while clock() < end:
            best = min(best, self.run())
        self.rounds.append(best)


def play(
    probes: Sequence[Probe],
    rounds: int,
    seconds: float,
    on_turn: Callable[[Probe], object] = lambda probe: None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Give each probe a turn of so many seconds in each of the rounds, which go forwards and backwards alternately.

    Then those that have not settled have as many turns more, until they have.
    """
    for number in range(2 * rounds):
        for probe in probes if number % 2 == 0 else reversed(probes):
            if number < rounds or not probe.settled():
                on_turn(probe)
                probe.turn(seconds, clock)


def repeated(name: str, work: float, run: Callable[[int], float], alone: Callable[[int], float] | None = None) -> Probe:
    """A probe that repeats a loop so often that a run takes about RUN.

    work   of one repeat: flops, bytes or steps
    run    repeats the loop so many times, and tells the seconds
    alone  the same on one thread, where `run` has several: others disturb it less while it is found out how often
    """
    probed = alone or run
    times, best, enough = 1, 0.0, 0
    while enough < 2:  # the second time with four times as many: the first runs may have been disturbed, and seem long
        best = max(best, *(times / max(probed(times), 1e-9) for _ in range(2)))
        enough = enough + 1 if RUN * best <= 2 * times else 0
        times = 4 * times if enough else min(8 * times, math.ceil(RUN * best))
    times = max(1, round(RUN * best))
    return Probe(name, work * times, functools.partial(run, times))


def multiply_adds(name: str, isa: str, dtype: str, threads: int) -> Probe:
    """Independent multiply-adds in registers: flops."""
    loop = _core.in_step["multiply_add"]
    values = [np.array([1, 0.001, 0], dtype) for _ in range(threads)]
    _, flops = loop(isa, [(v, 1) for v in values])

    def run(times: int, threads: int = threads) -> float:
        calls, warm_up = ([(v, n) for v in values[:threads]] for n in (times, times // 8))
        seconds, _ = loop(isa, calls, warm_up)
        return seconds

    return repeated(name, sum(flops), run, functools.partial(run, threads=1))


def multiply_add_chain(name: str, isa: str, dtype: str) -> Probe:
    """Multiply-adds each of which waits for the one before: steps."""
    loop, values = _core.in_step["multiply_add_chain"], np.array([1, 0.001, 0], dtype)
    return repeated(name, 1, lambda times: loop(isa, [(values, times)])[0])


def cache_traffic(name: str, isa: str, loop: str, buffers: Sequence[Array], nbytes: int) -> Probe:
    """A loop over arrays that stay in a cache, one thread for each buffer: bytes that it asks for, read or written.

    loop    of LOOPS
    nbytes  of all arrays of a thread together, which lie in its buffer
    """
    arrays = [arrays_in(buffer, ARRAYS[loop], nbytes) for buffer in buffers]

    def run(times: int, threads: int = len(buffers)) -> float:
        calls, warm_up = ([(*its, n) for its in arrays[:threads]] for n in (times, 1))
        seconds, _ = _core.in_step[loop](isa, calls, warm_up)
        return seconds

    return repeated(name, sum(x.nbytes for its in arrays for x in its), run, functools.partial(run, threads=1))


def memory_traffic(name: str, isa: str, loop: str, buffers: Sequence[Array], nbytes: int) -> Probe:
    """The same of arrays too large for the caches. A run goes through a part of them, the next run through the next: to
    go through all of them would take longer than a busy system lets a process run."""
    count = max(1, nbytes // PART)
    calls = [arrays_in(buffer, ARRAYS[loop], nbytes) for buffer in buffers]
    each = calls[0][0].size // count // (LINE // 4) * (LINE // 4)
    parts = itertools.cycle([[[x[n * each : (n + 1) * each] for x in call] for call in calls] for n in range(count)])

    def run() -> float:
        seconds, _ = _core.in_step[loop](isa, [(*part, 1) for part in next(parts)])
        return seconds

    return Probe(name, 4.0 * each * ARRAYS[loop] * len(buffers), run)


def chase(name: str, buffer: Array, nbytes: int, line: int = LINE, *, cached: bool = True) -> Probe:
    """Loads, each from where the one before says, over so many bytes in random order: steps.

    cached  whether a cache is meant: before each turn all lines are loaded once in a row, which is fast, and once in
            their order, so that what nearer caches hold is what comes last
    """
    places, place = random_cycle(buffer[: nbytes // 4].view(np.int64), line), 0

    def run(times: int) -> float:
        nonlocal place
        start = time.perf_counter()
        place = _core.chase(places, place, times)
        return time.perf_counter() - start

    def fill_cache() -> None:
        places.sum()
        run(places.nbytes // line)

    if not cached:
        return repeated(name, 1, run)
    fill_cache()
    return dataclasses.replace(repeated(name, 1, run), prepare=fill_cache)


def clock_cycles(name: str) -> Probe:
    """Integer instructions each of which waits for the one before: cycles."""
    return repeated(name, 2, lambda times: timed(lambda: _core.two_cycles(0x9E3779B9, times)))


def fixed_work() -> Probe:
    """A piece of work of which every run is the same: what its times differ by is the machine's noise."""
    loop, values = _core.limits["peak"]["multiply_add"], np.array([1, 0.001, 0], np.float32)
    return repeated("a fixed piece of work", 1, lambda times: timed(lambda: loop(values, times)))


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


# --- where the data lie


def working_set(sizes: Sequence[int], level: int, threads: int = 1) -> int:
    """Bytes that a thread goes through so that they come from the level, and from none before it.

    sizes    bytes of the caches from the nearest on
    level    of these; len(sizes) is memory
    threads  that share it: each has its part

    Half of the first cache; for the others three times the cache before, of which then nothing is left when its turn
    comes again, or where they are small, half way between the two. Not more: on a shared machine others push it out.

    >>> [working_set([32 << 10, 1 << 20, 32 << 20], level) >> 10 for level in range(4)]
    [16, 96, 3072, 262144]
    """
    if level == len(sizes):
        return max(FAR, max(BEYOND_CACHES, 4 * max(sizes, default=0)) // threads)
    size = sizes[level] // threads
    if level == 0:
        return size // 2
    before = sizes[level - 1]
    return int(min(3 * before, math.sqrt(before * max(size, 2 * before)))) // PAGE * PAGE


def buffers(sizes: Sequence[int]) -> list[Array]:
    """Memory of these sizes for the 1st, 2nd … thread, touched first by the processor that will use it."""

    def make(n: int) -> Array:
        _core.bind_as_thread(n)
        return buffer(sizes[n])

    pools = [ThreadPoolExecutor(1) for _ in sizes]  # a bound thread is of no further use
    made = [pool.submit(make, n) for n, pool in enumerate(pools)]
    found = [future.result() for future in made]
    for pool in pools:
        pool.shutdown()
    return found


def buffer(nbytes: int) -> Array:
    """float32 ones that begin at a huge page, in huge pages where the system gives them, so that the addresses'
    translation delays nothing."""
    private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS}  # shared memory, the default, has small pages only
    memory = mmap.mmap(-1, nbytes + 2 * HUGE_PAGE, **private)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with contextlib.suppress(OSError):  # of a kernel without them
            memory.madvise(mmap.MADV_HUGEPAGE)
    raw = np.frombuffer(memory, np.uint8)
    start = -raw.ctypes.data % HUGE_PAGE
    x = raw[start : start + nbytes + HUGE_PAGE // 2].view(np.float32)  # with room between the arrays
    x.fill(1)
    return x


def arrays_in(buffer: Array, count: int, nbytes: int) -> tuple[Array, ...]:
    """So many arrays, of so many bytes together, each of whole lines.

    Their addresses differ by parts of a page: were they equal in their last 12 bits, processors would take a load for
    one from the place of the store before it, and wait (4K aliasing).

    >>> x, y = arrays_in(np.zeros(8192, np.float32), 2, 16384)
    >>> x.nbytes, y.nbytes, (y.ctypes.data - x.ctypes.data) % 4096
    (8192, 8192, 2048)
    """
    each = nbytes // count // LINE * LINE
    step = -(-each // PAGE) * PAGE + PAGE // count // LINE * LINE
    return tuple(buffer[k * step // 4 : (k * step + each) // 4] for k in range(count))


def random_cycle(places: Array, line: int = LINE, seed: int = 0) -> Array:
    """Fill the first element of each line with the byte offset of another line, so that all form one random cycle."""
    lines = places.nbytes // line
    order = np.random.default_rng(seed).permutation(lines)
    places[: lines * line // 8 : line // 8][order] = np.roll(order, -1) * line
    return places


def available_memory(meminfo: Path = Path("/proc/meminfo"), group: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes that this process could be given; where the system does not tell, half of its memory, or 4 GiB.

    group  the folder of the control group, whose limit is often less than what the machine has
    """
    with contextlib.suppress(OSError, ValueError):
        told = dict(row.split(":") for row in meminfo.read_text(encoding="ascii").splitlines())
        available = int(told["MemAvailable"].split()[0]) << 10
        with contextlib.suppress(OSError, ValueError):  # no such limit, or `max`
            limit, used = (int((group / f"memory.{name}").read_text(encoding="ascii")) for name in ("max", "current"))
            available = min(available, limit - used)
        return available
    with contextlib.suppress(OSError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return 4 << 30


# --- what is no loop of its own


def spread(samples: Iterable[float]) -> float:
    """How much longer than the fastest the sample at the 9th decile took: 0.02 is 2 %.

    >>> spread([1.0, 1.0, 1.0, 1.02, 1.01, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0])
    0.02
    """
    ordered = sorted(samples)
    return round(ordered[math.ceil(0.9 * len(ordered)) - 1] / ordered[0] - 1, 12)


def timer_step(clock: Callable[[], float] = time.perf_counter, readings: int = 10000) -> float:
    """Seconds of the smallest difference between two readings of a clock that are not equal: its resolution, or what a
    reading takes where that is more."""
    times = [clock() for _ in range(readings)]
    return min((b - a for a, b in itertools.pairwise(times) if b > a), default=math.inf)


def call_overhead(call: Callable[[], Any], seconds: float = 0.1) -> float:
    """Seconds of a call that has next to nothing to do: the best of many blocks of calls."""
    import timeit

    call()  # the first may import and compile
    timer, best, end = timeit.Timer(call), math.inf, time.perf_counter() + seconds
    while time.perf_counter() < end:
        best = min(best, timer.timeit(1000) / 1000)
    return best

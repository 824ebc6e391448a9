"""Probes: each does a known amount of one kind of work, and all are timed in turn, in rounds.

A probe's figure is its fastest run in any round: a neighbour that disturbs the machine for a second spoils one turn of
some probes and no figure. Threads begin together, on processors of their own, and their time ends with the last of them
(csrc/measure/in_step.hpp): that is what they reach at once.
"""

import contextlib
import dataclasses
import functools
import itertools
import math
import mmap
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .. import _core
from ..arrays import Array
from ..backends.cgroups import memory_left

RUN = 1e-3
"""Seconds of a run: 1,000 times as long as reading the clock. Schedulers let a process run for longer, undisturbed."""

PART = 1 << 25
"""Bytes of memory that a run goes through, which takes about RUN, too: another part of the arrays each time."""

NEARLY = 1.03
"""A probe has settled when the fastest runs of two rounds are this close."""

FAR = 1 << 26
"""Bytes that each of many threads moves to measure memory: 64 MiB, which is 2 to 60 times a core's share of L3."""

BEYOND_CACHES = 1 << 28
"""Bytes of an array so large that caches keep next to nothing of it: 256 MiB."""

PAGE, HUGE_PAGE, LINE = 4096, 1 << 21, 64

LOOPS = {"read": ["read"], "copy": ["copy", "copy_past_caches"], "triad": ["triad", "triad_past_caches"]}
"""The loops of each kind of traffic. The second ones store past the caches, and are tried for memory."""

ARRAYS = {"read": 1, "copy": 2, "copy_past_caches": 2, "triad": 3, "triad_past_caches": 3}
"""The number of arrays that each loop goes through."""


@dataclass
class Probe:
    """Work that can be timed.

    amount   of a run: flops, bytes or steps
    run      does it, and returns its seconds
    prepare  is called before each turn, outside of the time
    rounds   the seconds of the fastest run in each round
    """

    name: str
    amount: float
    run: Callable[[], float]
    prepare: Callable[[], object] | None = None
    rounds: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Flops, bytes or steps a second, at best."""
        return self.amount / min(self.rounds)

    @property
    def seconds(self) -> float:
        """Seconds of one flop, byte or step, at best."""
        return min(self.rounds) / self.amount

    def settled(self) -> bool:
        """Whether another round nearly reached the fastest run, so that it was not luck."""
        return len(self.rounds) > 1 and sorted(self.rounds)[1] <= NEARLY * min(self.rounds)

    def turn(self, seconds: float, clock: Callable[[], float] = time.perf_counter) -> None:
        """Run again and again for some seconds, once at least."""
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
    on_event: Callable[[str, Any], object] = lambda kind, content: None,
    clock: Callable[[], float] = time.perf_counter,
) -> None:
    """Give each probe a turn in each round, forwards and backwards alternately; then up to as many turns more to those
    that have not settled."""
    for number in range(2 * rounds):
        for probe in probes if number % 2 == 0 else reversed(probes):
            if number < rounds or not probe.settled():
                on_event("running" if number < rounds else "at", probe.name)
                probe.turn(seconds, clock)


def repeated(name: str, work: float, run: Callable[[int], float]) -> Probe:
    """A probe that repeats a loop until a run takes about RUN.

    work  of one repeat: flops, bytes or steps
    run   repeats the loop a number of times, and returns the seconds
    """
    times = calibrated(run)
    return Probe(name, work * times, functools.partial(run, times))


def calibrated(run: Callable[[int], float], seconds: float = RUN) -> int:
    """How many repeats of a loop take this long. See `repeated`."""
    times, best, enough = 1, 0.0, 0
    while enough < 2:  # the second time with four times as many: disturbed first runs would seem long
        best = max(best, *(times / max(run(times), 1e-9) for _ in range(2)))
        enough = enough + 1 if seconds * best <= 2 * times else 0
        times = 4 * times if enough else min(8 * times, math.ceil(seconds * best))
    return max(1, round(seconds * best))


@dataclass(frozen=True)
class Instruction:
    """A multiply-add of reduced precision, and the loop of csrc/measure/reduced_limits.hpp that consists of it."""

    name: str
    dtype: str
    loop: str
    needs: str


INSTRUCTIONS = (
    Instruction("vfmadd213ph", "float16", "halves", "avx512_fp16"),
    Instruction("vdpbf16ps", "bfloat16", "dot_pairs", "avx512_bf16"),
    Instruction("vpdpbusd", "int8", "dot_quads", "avx512_vnni"),
    Instruction("tdpbf16ps", "bfloat16", "tiles_of_pairs", "amx"),
    Instruction("tdpbssd", "int8", "tiles_of_quads", "amx"),
)


def instructions(isa: str) -> list[Instruction]:
    """Those that this processor has, and this process may use, on an ISA level."""
    here = [*_core.further_instructions(), *([] if _core.why_no_amx() else ["amx"])]
    return [one for one in INSTRUCTIONS if isa == "v4" and one.needs in here]


def multiply_adds(name: str, isa: str, dtype: str, threads: int, loop_name: str = "multiply_add") -> Probe:
    """Independent multiply-adds in registers: flops."""
    loop = _core.in_step[loop_name]
    values = [np.array([1, 0.001, 0], dtype) for _ in range(threads)]
    _, flops = loop(isa, [(v, 1) for v in values])

    def run(times: int) -> float:
        calls, warm_up = ([(v, n) for v in values] for n in (times, times // 8))
        return float(loop(isa, calls, warm_up)[0])

    return repeated(name, sum(flops), run)


def cache_traffic(name: str, isa: str, loop: str, buffers: Sequence[Array], nbytes: int) -> Probe:
    """A loop of LOOPS over arrays that stay in a cache, one thread for each buffer: bytes read and written.

    nbytes  of all arrays of a thread together; they lie in its buffer
    """
    arrays = [arrays_in(buffer, ARRAYS[loop], nbytes) for buffer in buffers]

    def run(times: int) -> float:
        calls, warm_up = ([(*of_thread, n) for of_thread in arrays] for n in (times, 1))
        return float(_core.in_step[loop](isa, calls, warm_up)[0])

    return repeated(name, sum(x.nbytes for of_thread in arrays for x in of_thread), run)


def memory_traffic(name: str, isa: str, loop: str, buffers: Sequence[Array], nbytes: int) -> Probe:
    """The same for arrays too large for the caches. Each run goes through the next part of them: all of them would take
    longer than a busy system lets a process run."""
    count = max(1, nbytes // PART)
    calls = [arrays_in(buffer, ARRAYS[loop], nbytes) for buffer in buffers]
    each = calls[0][0].size // count // (LINE // 4) * (LINE // 4)
    parts = itertools.cycle([[[x[n * each : (n + 1) * each] for x in call] for call in calls] for n in range(count)])

    def run() -> float:
        return float(_core.in_step[loop](isa, [(*part, 1) for part in next(parts)])[0])

    return Probe(name, 4.0 * each * ARRAYS[loop] * len(buffers), run)


def chase(name: str, buffer: Array, nbytes: int, line: int = LINE, *, cached: bool = True) -> Probe:
    """Loads, each from the address that the one before gives, in random order: steps.

    cached  whether to measure a cache: before each turn all lines are loaded once in a row, which is fast, and once in
            their order, so that the nearer caches hold the lines that come last
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


# --- where the data lie


def working_set(sizes: Sequence[int], level: int, threads: int = 1) -> int:
    """Bytes that a thread goes through so that they come from a level, and from none before it.

    sizes    bytes of the caches from the nearest on
    level    of these; len(sizes) is memory
    threads  that share it: each has its part

    Half of the first cache. For the others three times the cache before, which then has nothing left of them, or the
    geometric mean of the two caches where that is smaller: on a shared machine others push more out.

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
    found = [made.result() for made in [pool.submit(make, n) for n, pool in enumerate(pools)]]
    for pool in pools:
        pool.shutdown()
    return found


def buffer(nbytes: int) -> Array:
    """float32 ones that begin at a huge page, so that the translation of addresses costs nothing."""
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
    """Arrays in a buffer, of `nbytes` together, each of whole lines.

    Their addresses differ by parts of a page. If their last 12 bits were equal, processors would take a load for one
    from the place of the store before it, and wait (4K aliasing).

    >>> x, y = arrays_in(np.zeros(8192, np.float32), 2, 16384)
    >>> x.nbytes, y.nbytes, (y.ctypes.data - x.ctypes.data) % 4096
    (8192, 8192, 2048)
    """
    each = nbytes // count // LINE * LINE
    step = -(-each // PAGE) * PAGE + PAGE // count // LINE * LINE
    return tuple(buffer[k * step // 4 : (k * step + each) // 4] for k in range(count))


def random_cycle(places: Array, line: int = LINE) -> Array:
    """Each line's first element is the byte offset of another line; all form one random cycle."""
    lines = places.nbytes // line
    order = np.random.default_rng(0).permutation(lines)
    places[: lines * line // 8 : line // 8][order] = np.roll(order, -1) * line
    return places


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that this process can get, of the machine or of its control groups; 4 GiB where the system does not say."""
    available = 4 << 30
    with contextlib.suppress(OSError, ValueError, KeyError):
        rows = dict(row.split(":") for row in (root / "proc/meminfo").read_text(encoding="ascii").splitlines())
        available = int(rows["MemAvailable"].split()[0]) << 10
    left = memory_left(root)
    return available if left is None else min(available, left)

"""Timing calls in turn: a `Turn` is one contender, `run_rounds` interleaves several, and all samples are kept.

>>> turns = [Turn("sorted", lambda: sorted(range(1000))), Turn("list", lambda: list(range(1000)))]
>>> calibrate(turns, window=1e-4)
>>> rounds = run_rounds(turns, seconds=0.02)
>>> rounds >= 5 and len(turns[0].samples) == 2 * rounds
True

A call by itself is timed by `time_call`, which gives a record:

>>> timing = time_call(lambda: sorted(range(1000)), "sorted", seconds=0.05)
>>> timing.best <= timing.median
True
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
import random
import resource
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from .interval import Interval, ratio

Clock = Literal["elapsed", "processor"]

WINDOW = 5e-3
"""The least length of a sample in seconds. For most of it, caches and branch predictors hold what the contender itself
has put there, and the cost of the clock (0.1 µs with the loop around the calls) does not show."""

LEGIBLE = 0.5e-3
"""Seconds from which on the processor time of a sample is used: reading that clock takes about 2 µs of it."""

FEWEST = 5
"""The least number of rounds: a median of fewer samples says little."""

ALIKE = 1.25
"""Two turns whose times differ by less than this factor get the same number of calls in a sample."""


class Reading(NamedTuple):
    """One sample by several clocks.

    elapsed    seconds that passed
    processor  seconds for which the process's threads had a processor, added up
    waits      how often the process gave the processor up by itself, to wait for something
    """

    elapsed: float
    processor: float = math.nan
    waits: int = 0


def clocked(loop: Callable[[int], object]) -> Callable[[int], Reading]:
    """Reads the clocks before and after `loop(n)`, which makes n calls.

    A loop that kept several processors busy is called once outside of the time before its next sample, which wakes its
    threads. Afterwards the sample waits until they sleep: they would slow down the next contender.
    """
    several = False

    def sample(calls: int) -> Reading:
        nonlocal several
        if several:
            loop(1)
        waits, processor = _waits(), time.process_time()
        start = time.perf_counter()
        loop(calls)
        elapsed = time.perf_counter() - start
        reading = Reading(elapsed, time.process_time() - processor, _waits() - waits)
        several = reading.processor > 1.1 * elapsed and elapsed >= LEGIBLE
        if several:
            wait_for_other_threads()
        return reading

    return sample


def wait_for_other_threads(longest: float = 0.25) -> None:
    """Wait until this process's other threads sleep, for this many seconds at most.

    After a call on several threads, these look for more work for a while, on processors that the next call needs:
    OpenBLAS's for 0.1 s, an OpenMP runtime's for some milliseconds.
    """
    end = time.perf_counter() + longest
    while time.perf_counter() < end:
        time.sleep(1e-3)
        if not _other_threads_run():
            return


def _other_threads_run() -> bool:
    """Whether another thread of this process has a processor or waits for one; False where that is unknown."""
    own = str(threading.get_native_id())
    for task in Path("/proc/self/task").glob("[0-9]*"):
        with suppress(OSError):  # it has ended
            if task.name != own and (task / "stat").read_text().rpartition(") ")[2].startswith("R"):
                return True
    return False


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """A loop of n calls."""

    def loop(calls: int) -> None:
        for _ in itertools.repeat(None, calls):
            call()

    return loop


def seconds_of(call: Callable[[], object]) -> float:
    """Seconds that one call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


@dataclass
class Turn:
    """One contender, and its samples.

    name     for messages and records
    call     what is timed, without arguments: functools.partial(ln.matmul, a, b)
    prepare  is called before each sample, outside of the time: fill caches, set threads
    check    is called after each sample, outside of the time: look at the results
    sample   takes the place of `call` where this process's clocks are not the right ones: sample(n) makes n calls and
             gives the seconds of all, or a Reading
    calls    in a sample
    clock    which clock's seconds `samples` are; it can be chosen when the samples are there
    """

    name: str
    call: Callable[[], object] | None = None
    prepare: Callable[[], object] | None = None
    check: Callable[[], object] | None = None
    sample: Callable[[int], float | Reading] | None = None
    calls: int = 1
    clock: Clock = "elapsed"
    readings: list[Reading] = field(default_factory=list)

    def __post_init__(self) -> None:
        if (self.call is None) == (self.sample is None):
            raise ValueError(f"Turn: {self.name} has both call and sample or neither, expected one of them")
        self._sample = self.sample or clocked(repeated(self.call))  # type: ignore[arg-type]

    def read(self, calls: int = 1) -> Reading:
        """Make calls and read the clocks; the sample is not kept."""
        found = self._sample(calls)
        return found if isinstance(found, Reading) else Reading(found)

    def take(self) -> None:
        """Take a sample and keep it."""
        if self.prepare:
            self.prepare()
        self.readings.append(self.read(self.calls))
        if self.check:
            self.check()

    @property
    def samples(self) -> list[float]:
        """Seconds of a call in each sample, in the order in which they were taken."""
        return [getattr(reading, self.clock) / self.calls for reading in self.readings]

    @property
    def best(self) -> float:
        return min(self.samples, default=math.inf)

    def timing(self, first_call: float = math.nan) -> Timing:
        """The record of its samples."""
        return Timing(self.name, tuple(self.samples), self.calls, first_call, self.clock)


def calibrate(turns: Sequence[Turn], window: float = WINDOW, longest: float = math.inf) -> None:
    """Choose the number of calls in a sample, so that all turns' samples take `window` seconds or more, and as long as
    each other.

    longest  the length in seconds up to which a fast turn's samples follow a slow one's

    Turns that are nearly as fast as the slowest get the same number of calls. Chosen for each by itself, two turns of
    the same work could come to have one call and two on a busy machine, and no random order makes these equal.
    """
    times = []
    for turn in turns:
        turn.calls = 1
        for _ in range(20):
            first = turn.read(turn.calls).elapsed / turn.calls
            enough = math.ceil(window / max(first, 1e-9))
            if enough <= 1.5 * turn.calls:
                break
            turn.calls = min(enough, 10 * turn.calls)  # the first calls may be slower than the rest
        again = 3 if first < 20 * window else 0  # one reading of a long call is enough
        times.append(min([first, *(turn.read(turn.calls).elapsed / turn.calls for _ in range(again))]))
    slowest = max(times, default=window)
    calls = math.ceil(window / slowest)
    length = max(window, min(calls * slowest, longest))
    for turn, seconds in zip(turns, times, strict=True):
        turn.calls = calls if slowest <= ALIKE * seconds else max(1, round(length / seconds))


def run_rounds(
    turns: Sequence[Turn],
    *,
    seconds: float = math.inf,
    least: int = FEWEST,
    until: Callable[[int], bool] = lambda rounds: False,
    coin: random.Random | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Rounds in which each turn has two samples, in a random order and back again: A B C C B A, then B A C C A B, …

    seconds  after which no further round begins; `least` rounds are made all the same
    until    is called after each round with the number of rounds so far; ends them where it says so
    coin     draws the orders; one of its own where it is None
    clock    is read for `seconds`

    Returns the number of rounds. Each turn comes first as often as any other, and a drift within a round falls on all
    alike. The order is random because other processes come and go in a rhythm: one that is in step with the rounds
    would favour the same turn in each of them. Python's garbage collector is off meanwhile.
    """
    coin, order, end = coin or random.Random(), list(turns), clock() + seconds
    collected, rounds, ended = gc.isenabled(), 0, False
    gc.disable()
    try:
        while not ended:
            rounds += 1
            coin.shuffle(order)
            for turn in (*order, *reversed(order)):
                turn.take()
            ended = until(rounds) or (rounds >= least and clock() >= end)
    finally:
        if collected:
            gc.enable()
    return rounds


@dataclass(frozen=True)
class Timing:
    """One contender's times.

    seconds     of a call, in each sample, in the order in which they were taken
    calls       in a sample
    first_call  seconds of the very first call, with what it compiles and loads; it is in none of the samples
    clock       "elapsed": the time that passed; "processor": the time for which the process had a processor
    """

    name: str
    seconds: tuple[float, ...]
    calls: int
    first_call: float
    clock: Clock = "elapsed"

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))


def time_call(call: Callable[[], object], name: str = "", *, seconds: float = 0.5, window: float = WINDOW) -> Timing:
    """Time one call: the first call apart, then samples for this many seconds, 10 at least.

    call     what is timed, without arguments: functools.partial(ln.matmul, a, b)
    seconds  of the whole measurement
    window   the least length of a sample in seconds

    To compare calls, give all of them to `run_rounds`.
    """
    turn = Turn(name, call)
    first_call = turn.read().elapsed
    calibrate([turn], window)
    run_rounds([turn], seconds=seconds)
    return turn.timing(first_call)


# --- two turns, until it is certain which one is faster

CONFIDENCE = 0.95
"""Of the interval that is reported."""

CERTAIN = 0.99
"""Of the interval by which one is called faster. With 95 %, two of twenty comparisons of a call with itself would come
out as resolved in every fourth run of twenty."""

LOOKS = 5
"""How often the interval is looked at, at most."""

FEWEST_OF_TWO = 10
"""Rounds at least: with fewer, no interval has the confidence that five looks need to be certain together, 99.8 %."""

PATIENCE = 20.0
"""Seconds that the fewest rounds may take, if that is more than the time that was asked for."""


@dataclass(frozen=True)
class Outcome:
    """What the rounds of two turns showed.

    ratio    how many times as fast the first is, with the interval in which the truth lies in 95 % of comparisons
    certain  the same for 99 %, by which one is faster or neither
    ended    "narrow": the interval became as narrow as was asked; "time": the time was up
    """

    ratio: Interval
    certain: Interval
    rounds: int
    ended: Literal["narrow", "time"]


def looks(most: int) -> list[int]:
    """After which rounds the interval is looked at, where there are at most `most` rounds.

    >>> looks(400), looks(37), looks(4)
    ([25, 50, 100, 200, 400], [18, 37], [10])
    """
    most = max(most, FEWEST_OF_TWO)
    return [most >> halvings for halvings in reversed(range(LOOKS)) if most >> halvings >= FEWEST_OF_TWO]


def run_until_certain(
    a: Turn,
    b: Turn,
    *,
    seconds: float,
    precision: float,
    choose_clock: Callable[[], Clock] | None = None,
    coin: random.Random | None = None,
    clock: Callable[[], float] = time.perf_counter,
    on_round: Callable[[int, int], None] = lambda rounds, most: None,
) -> Outcome:
    """Rounds of two turns until the interval of their ratio is narrow enough, or the time is up.

    precision     end once the interval's half-width is below this fraction of the ratio
    choose_clock  is asked before each look which clock's seconds count
    on_round      is called after each round, with the number of rounds so far and the most that there will be

    An interval that is looked at after each round, until it happens to be narrow, holds the truth less often than it
    says (optional stopping). So there are few looks, at rounds that are set beforehand: after a 16th, an 8th, a
    quarter, half and all of the rounds that the time allows. Each of k looks has the confidence 1 - 0.05 / k, so that
    all of them together hold the truth in 95 % of comparisons, whichever ends it (Bonferroni).

    Raises ValueError where even the fewest rounds take too long.
    """
    start, planned, most = clock(), [FEWEST_OF_TWO], FEWEST_OF_TWO
    outcome: Outcome | None = None

    def enough(rounds: int) -> bool:
        nonlocal planned, most, outcome
        passed = clock() - start
        if rounds == 1:
            most = max(FEWEST_OF_TWO, int(seconds / passed))
            planned = looks(most)
            if FEWEST_OF_TWO * passed > max(seconds, PATIENCE):
                raise ValueError(
                    f"a round takes {passed:.3g} s, and {FEWEST_OF_TWO} are needed for an interval: choose a smaller "
                    f"workload, or --seconds {math.ceil(FEWEST_OF_TWO * passed)}"
                )
        on_round(rounds, most)
        late = rounds >= FEWEST_OF_TWO and passed > seconds
        if rounds not in planned and not late:
            return False
        if choose_clock:
            a.clock = b.clock = choose_clock()
        shown, certain = (
            dataclasses.replace(ratio(a.samples, b.samples, 1 - (1 - together) / len(planned)), confidence=together)
            for together in (CONFIDENCE, CERTAIN)
        )
        narrow = shown.width <= precision
        outcome = Outcome(shown, certain, rounds, "narrow" if narrow else "time")
        return narrow or late or rounds >= most

    run_rounds([a, b], until=enough, coin=coin, clock=clock)
    assert outcome is not None
    return outcome

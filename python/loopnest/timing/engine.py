"""Timing calls: all samples are kept, and what is said of them has an interval.

A `Turn` times one contender: as many calls in a sample as make it long beside the clock's step, after a call that is
not timed. `in_turn` goes through several, forwards and backwards by turns, as `peers/rounds.py` does; `rounds_of_two`
through two, in an order that a coin decides, as `duel.py` does. `time_call` times one call by itself and gives a
`Timing`, the record.

>>> sorted_time = time_call(lambda: sorted(range(1000)), "sorted", seconds=0.05)
>>> len(sorted_time.seconds) >= 5 and sorted_time.best <= sorted_time.median
True
>>> interval = sorted_time.median_interval()
>>> interval.low <= interval.estimate <= interval.high
True
"""

from __future__ import annotations

import dataclasses
import gc
import itertools
import math
import random
import resource
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np

from .. import _core
from ..machine.limits import reading

Clock = Callable[[], float]
Statistic = Literal["best", "median"]
Caches = Literal["warm", "cold"]

WINDOW = 5e-3
"""Seconds of a sample at least, so that caches and branch predictors are the contender's own for most of it, and the
clock's step (some 0.1 µs, with the loop around the calls) is nothing beside it."""

LEGIBLE = 0.5e-3
"""Seconds of a sample from which on its processor's time counts: to read that clock takes some 2 µs of it."""

FEWEST = 5
"""Samples of a timing at least: a median of fewer says little."""


@dataclass(frozen=True)
class Interval:
    """An estimate, and the bounds between which the true value lies with this confidence."""

    estimate: float
    low: float
    high: float
    confidence: float = 0.95

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high

    def reach(self, value: float) -> float:
        """How far from this value the interval's farther bound is."""
        return max(self.high - value, value - self.low)

    @property
    def width(self) -> float:
        """The distance from the estimate to the farther bound, as a share of the estimate."""
        return self.reach(self.estimate) / self.estimate

    def map(self, f: Callable[[float], float]) -> Interval:
        """The interval of f of the value, for an f that rises, such as math.exp."""
        return Interval(f(self.estimate), f(self.low), f(self.high), self.confidence)


def bootstrap(
    samples: Sequence[float], statistic: Statistic = "median", confidence: float = 0.95, *, resamples: int = 2000
) -> Interval:
    """The percentile bootstrap's interval of the median or of the best of the samples.

    Samples are drawn from the samples, as many as there are, again and again, and the statistic of each draw is taken:
    Efron and Tibshirani, An Introduction to the Bootstrap (1993), §13.3. The draws have a fixed seed, so that the same
    samples have the same interval. That of the best begins at the best: no draw goes below it, and how far below it the
    machine might go, samples cannot tell.

    >>> bootstrap([1.0, 1.1, 1.2, 1.1, 1.0, 5.0], "best")
    Interval(estimate=1.0, low=1.0, high=1.1, confidence=0.95)
    """
    given = _checked(samples, "bootstrap")
    draws = np.random.default_rng(0).integers(0, len(given), (resamples, len(given)))
    of = np.median if statistic == "median" else np.min
    found = of(given[draws], axis=1)
    tail = (1 - confidence) / 2
    low, high = np.quantile(found, [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(of(given)), float(low), float(high), confidence)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """The interval of the median between two of the samples, which holds it whatever the distribution is.

    Each sample is above the median or below it as a coin falls, so the k-th smallest and the k-th largest hold the
    median between them with a probability that is known: the sign test turned round (David and Nagaraja, Order
    Statistics, 2003, §7.1). That is true for 8 samples as for 800, where a bootstrap of the median is too narrow for
    few (tests/test_timing.py measures both). Samples that are too few for the confidence have the interval from -inf to
    inf.

    >>> median_interval([3.0, 1.0, 2.0, 5.0, 4.0, 6.0])
    Interval(estimate=3.5, low=1.0, high=6.0, confidence=0.95)
    """
    ordered = np.sort(_checked(samples, "median_interval"))
    n, rank, tail = len(ordered), 0, 0.0
    log_choices = [math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1) for k in range(n // 2 + 1)]
    for k, log_choice in enumerate(log_choices):
        tail += math.exp(log_choice - n * math.log(2))  # the chance that at most k samples are below the median
        if tail > (1 - confidence) / 2:
            rank = k
            break
    low, high = (ordered[rank - 1], ordered[n - rank]) if rank else (-math.inf, math.inf)
    return Interval(float(np.median(ordered)), float(low), float(high), confidence)


def _checked(samples: Sequence[float], function: str) -> np.ndarray[Any, Any]:
    given = np.asarray(samples, np.float64)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"{function}: samples has shape {given.shape}, expected (n,) with n from 1 up")
    if not np.isfinite(given).all():
        raise ValueError(f"{function}: samples has values that are not finite, expected seconds or their ratios")
    return given


def ratio(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """How many times as fast a is as b, from their samples in `rounds_of_two`: two of each in a round.

    The median of the rounds' ratios, the better sample of b by the better one of a. What lasts longer than a round,
    another process or another clock rate, is in both and leaves their ratio; what hits one sample of a side is not in
    its better one; and what hits both makes an outlier, of which a median takes no notice. It is taken of the
    logarithms, so that the ratio of b to a is the inverse of that of a to b.

    >>> ratio([1.0, 1.1, 1.0, 9.0, 1.2, 1.0, 1.0, 1.0], [2.0, 2.2, 2.0, 2.0, 2.1, 2.0, 2.0, 2.9]).estimate
    2.0
    """
    better = [_checked(samples, "ratio").reshape(-1, 2).min(axis=1) for samples in (a, b)]
    return median_interval(np.log(better[1] / better[0]).tolist(), confidence).map(math.exp)


@dataclass(frozen=True)
class Timing:
    """One contender's times.

    seconds     of a call, in each sample, in the order in which they were taken
    calls       in a sample
    first_call  seconds of the very first call, with what it compiles and loads; in none of the samples
    caches      "warm": what the call needs lies where the call before left it; "cold": the caches held other data
    clock       "elapsed": the time that passed; "processor": the time that the process had a processor
    """

    name: str
    seconds: tuple[float, ...]
    calls: int
    first_call: float
    caches: Caches = "warm"
    clock: Literal["elapsed", "processor"] = "elapsed"

    @property
    def best(self) -> float:
        return min(self.seconds)

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def best_interval(self, confidence: float = 0.95) -> Interval:
        return bootstrap(self.seconds, "best", confidence)

    def median_interval(self, confidence: float = 0.95) -> Interval:
        return bootstrap(self.seconds, "median", confidence)

    def to_json(self) -> dict[str, Any]:
        """All samples, and for readers that compute nothing the best and the median with their intervals."""
        intervals = {"best": self.best_interval(), "median": self.median_interval()}
        return {**dataclasses.asdict(self), **{name: dataclasses.asdict(found) for name, found in intervals.items()}}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Timing:
        known = {f.name: data[f.name] for f in dataclasses.fields(cls)}
        return cls(**{**known, "seconds": tuple(data["seconds"])})


class Reading(NamedTuple):
    """What one sample took, by several clocks.

    elapsed    seconds that passed
    processor  seconds that the process's threads had a processor, added up
    waits      how often the process gave the processor up by itself, to wait for something
    """

    elapsed: float
    processor: float
    waits: int


class Watch:
    """The `timeit` of a turn for a call without arguments: the seconds of n calls; `last` has all clocks."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self.last = Reading(0.0, 0.0, 0)

    def __call__(self, calls: int) -> float:
        call = self._call
        waits, processor = _waits(), time.process_time()
        start = time.perf_counter()
        for _ in itertools.repeat(None, calls):
            call()
        elapsed = time.perf_counter() - start
        self.last = Reading(elapsed, time.process_time() - processor, _waits() - waits)
        return elapsed


def _waits() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw


@dataclass
class Turn:
    """A contender as the rounds see it: `timeit(n)` gives the seconds of n calls.

    prepare  is called before every sample; then a call that is not timed follows
    warm_up  whether there is such a call without `prepare`, too
    before   is called last before the clock starts
    after    is called when the sample is taken
    calls    in a sample
    samples  seconds of a call, in each
    """

    timeit: Callable[[int], float]
    prepare: Callable[[], object] | None = None
    warm_up: bool = False
    before: Callable[[], object] | None = None
    after: Callable[[], object] | None = None
    calls: int = 1
    samples: list[float] = field(default_factory=list)

    @property
    def best(self) -> float:
        return min(self.samples, default=math.inf)

    @property
    def second(self) -> float:
        """The second fastest sample."""
        return sorted(self.samples)[1] if len(self.samples) > 1 else math.inf

    def take(self) -> None:
        if self.prepare:
            self.prepare()
        if self.prepare or self.warm_up:
            self.timeit(1)  # what was prepared, such as threads, has its start outside of the time
        if self.before:
            self.before()
        self.samples.append(self.timeit(self.calls) / self.calls)
        if self.after:
            self.after()

    def calibrate(self, window: float = WINDOW) -> float:
        """Choose how many calls take so many seconds; the seconds of one."""
        seconds, self.calls = math.inf, 1
        for _ in range(20):
            seconds = min(seconds, self.timeit(self.calls) / self.calls)
            enough = math.ceil(window / seconds)
            if enough <= 1.5 * self.calls:
                break
            self.calls = min(enough, 10 * self.calls)  # the first calls may be slower than the rest
        return seconds


ALIKE = 1.25
"""The ratio of two times up to which samples have as many calls."""


def calibrate_alike(a: Turn, b: Turn, window: float = WINDOW) -> None:
    """Choose how many calls two turns have in a sample, so that their samples take as long, and `window` at least.

    Turns that are nearly as fast have the same number. Each by itself, the two sides of a duel of an implementation
    against itself could come to have one call and two on a busy machine, and no coin makes those equal.
    """
    for turn in (a, b):
        turn.calibrate(window)
    times = [min(turn.timeit(turn.calls) / turn.calls for _ in range(3)) for turn in (a, b)]
    slower = max(times)
    calls = math.ceil(window / slower)
    for turn, seconds in zip((a, b), times, strict=True):
        turn.calls = calls if slower <= ALIKE * seconds else round(calls * slower / seconds)


def in_turn(turns: Sequence[Turn]) -> Iterator[int]:
    """Rounds without end, in which each has one turn: A B, B A, A B, …; yields how many are done, from 0.

    So whatever changes slowly changes for all, and each is as often before the other as after it.
    """
    for done in itertools.count():
        yield done
        for turn in turns if done % 2 == 0 else reversed(turns):
            turn.take()


def rounds_of_two(a: Turn, b: Turn, coin: random.Random | None = None) -> Iterator[int]:
    """Rounds without end of two samples of each, A B B A or B A A B; yields how many are done, from 0.

    coin  decides which of the two it is, for each round anew; one of its own where it is None

    So each comes first as often as the other, and a drift through a round falls on both alike. The coin is what makes
    an interval honest that is built on signs: other processes come and go in a rhythm, and one that is in step with
    the rounds would favour the same side in each of them. With the coin, if the sides are equal, whichever was
    disturbed less was a or b with equal odds in every round, whatever the rhythm (Fisher, The Design of Experiments,
    1935, §10).
    """
    coin = coin or random.Random()
    for done in itertools.count():
        yield done
        first, second = (a, b) if coin.random() < 0.5 else (b, a)
        for turn in (first, second, second, first):
            turn.take()


class Eviction:
    """Empties the caches of what was in them, by reading memory of twice the largest cache's size.

    nbytes  read at each call; 64 MiB where it is None and the system does not tell the caches' sizes

    What the caches have of code, the branch predictors and the table of pages are left as they are.
    """

    def __init__(self, nbytes: int | None = None) -> None:
        self.nbytes = nbytes or 2 * max(*_core.cache_sizes(), 1 << 25)
        self._read = reading(np.ones(self.nbytes // 4, np.float32)).run

    def __call__(self) -> None:
        self._read()


@contextmanager
def no_collection() -> Iterator[None]:
    """Inside, Python's garbage collector does not run: it would, in the midst of somebody's sample."""
    enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def time_call(
    call: Callable[[], object],
    name: str = "",
    *,
    seconds: float = 0.5,
    window: float = WINDOW,
    clock: Clock = time.perf_counter,
    timeit: Callable[[int], float] | None = None,
) -> Timing:
    """Time one call: a first one apart, then samples of `window` seconds each for so many seconds, 5 at least.

    call     what is timed, without arguments: functools.partial(ln.matmul, a, b)
    seconds  of the whole measurement
    window   seconds of a sample at least, in as many calls as that takes
    timeit   seconds of n calls, where `call` is not to be timed by the time that passes

    What other contenders are compared with is timed in turn with them: see duel.py.
    """
    turn = Turn(timeit or Watch(call), warm_up=True)
    first_call = turn.timeit(1)
    turn.calibrate(window)
    end = clock() + seconds
    with no_collection():
        for done in in_turn([turn]):
            if done >= FEWEST and clock() >= end:
                break
    return Timing(name, tuple(turn.samples), turn.calls, first_call)

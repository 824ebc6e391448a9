"""The interval of a ratio of two times, and of a median: `ratio` for rounds, `ratio_of_runs` for two separate runs.

Every interval in loopnest is the sign test's, turned round. Each sample lies above the true median or below it like a
coin that falls heads or tails, so the k-th smallest and the k-th largest sample hold the median between them with a
probability that can be counted (David and Nagaraja, Order Statistics, 2003, §7.1). It needs no assumption about the
noise, and it holds for 8 samples as it does for 800. A bootstrap of the median, the more common choice, is too narrow
for few samples: with 99 % asked of it and ten samples it holds the truth in 90 % of simulated duels
(tests/test_timing.py measures both).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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
        """The distance from this value to the farther bound."""
        return max(self.high - value, value - self.low)

    @property
    def width(self) -> float:
        """The distance from the estimate to the farther bound, as a fraction of the estimate."""
        return self.reach(self.estimate) / self.estimate

    @property
    def bounded(self) -> bool:
        """Whether there were enough samples for the confidence."""
        return self.low > 0 and math.isfinite(self.low) and math.isfinite(self.high)

    def over(self, numerator: float) -> Interval:
        """The interval of numerator / value: `ratio.over(1)` is the inverse ratio.

        >>> Interval(2.0, 1.0, 4.0).over(1)
        Interval(estimate=0.5, low=0.25, high=1.0, confidence=0.95)
        """
        estimate, high, low = (numerator / x if x else math.inf for x in (self.estimate, self.low, self.high))
        return Interval(estimate, low, high, self.confidence)


def median_interval(samples: Sequence[float], confidence: float = 0.95) -> Interval:
    """The interval of the median: two of the sorted samples.

    With too few samples for the confidence, fewer than 6 for 95 %, it reaches from -inf to inf. Raises ValueError for
    samples that are empty, not of one dimension, or not finite.

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


def ratio(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """How many times as fast a is as b, from the seconds that `run_rounds` took: two samples of each in a round.

    It is the median of the rounds' ratios, each of the better sample of b to the better one of a. A disturbance that
    outlasts a round, such as another process or another clock rate, is in both and cancels. One that hits a single
    sample is not in the better one. One that hits both makes an outlier, which a median ignores. The median is taken
    of the logarithms, so that the ratio of b to a is the inverse.

    The sign test needs rounds that favour neither side. The random order of `run_rounds` guarantees it whatever
    disturbs the machine: if a and b are equal, either is disturbed less with equal odds in each round (Fisher, The
    Design of Experiments, 1935, §10).

    >>> ratio([1.0, 1.1, 1.0, 9.0, 1.2, 1.0, 1.0, 1.0], [2.0, 2.2, 2.0, 2.0, 2.1, 2.0, 2.0, 2.9]).estimate
    2.0
    """
    better = [_checked(samples, "ratio").reshape(-1, 2).min(axis=1) for samples in (a, b)]
    logarithm = median_interval(np.log(better[1] / better[0]).tolist(), confidence)
    return Interval(math.exp(logarithm.estimate), math.exp(logarithm.low), math.exp(logarithm.high), confidence)


def ratio_of_runs(a: Sequence[float], b: Sequence[float], confidence: float = 0.95) -> Interval:
    """How many times as fast a is as b, from samples that were taken in two separate runs.

    It is the ratio of the medians. Each median has its own interval, wrong half as often as `confidence` allows, so
    that both hold together (Bonferroni). A difference between the runs, such as another clock rate, is in it.

    >>> ratio_of_runs([1.0] * 8, [2.0] * 8)
    Interval(estimate=2.0, low=2.0, high=2.0, confidence=0.95)
    """
    each = (1 + confidence) / 2
    over, under = median_interval(b, each), median_interval(a, each)
    if not (over.bounded and under.bounded):
        return Interval(over.estimate / under.estimate, 0.0, math.inf, confidence)
    return Interval(over.estimate / under.estimate, over.low / under.high, over.high / under.low, confidence)


def _checked(samples: Sequence[float], function: str) -> np.ndarray[Any, Any]:
    given = np.asarray(samples, np.float64)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"{function}: samples has shape {given.shape}, expected (n,) with n from 1 up")
    if not np.isfinite(given).all():
        raise ValueError(f"{function}: samples has values that are not finite, expected seconds or their ratios")
    return given

"""Made-up times: fake clocks, and samples as noisy as those of a shared machine."""

import itertools

import numpy as np
from loopnest.timing.turns import Turn

KINDS = ("spikes", "drift", "bursts")


def noise(rng, kind, count):
    """The logarithm of what a shared machine makes of `count` samples in a row.

    Never faster than undisturbed. "spikes" hit single samples; "drift" is a clock rate that wanders; "bursts" are other
    processes that come and stay for some ten samples.
    """
    log = 0.01 * np.abs(rng.standard_normal(count)) + (rng.random(count) < 0.15) * rng.exponential(0.15, count)
    if kind in ("drift", "bursts"):
        steps = 0.02 * rng.standard_normal(count)
        log += list(itertools.accumulate(steps, lambda x, step: 0.97 * x + step))
    if kind == "bursts":
        busy = itertools.accumulate(rng.random(count), lambda busy, u: u < (0.9 if busy else 0.05), initial=False)
        log += np.fromiter(busy, bool, count + 1)[1:] * rng.uniform(0.05, 0.4, count)
    return log


class FakeClock:
    """Stands still but for what turns take."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def turns_of(clock, *seconds, rng=None, kind="spikes", most=2000):
    """Turns whose calls take these seconds, times noise that follows the clock and not the turn."""
    log = iter(noise(rng, kind, most) if rng else np.zeros(most))

    def turn(second):
        def timeit(calls):
            took = second * float(np.exp(next(log)))
            clock.now += took * calls
            return took * calls

        return Turn(str(second), sample=timeit)

    return [turn(second) for second in seconds]

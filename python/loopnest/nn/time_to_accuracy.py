"""Which backend learns fastest? The time of each to an accuracy on the held-out examples.

All backends begin with the same weights and take the same batches, so they need the same steps, up to rounding; the
time of a step differs. Only steps are timed. Before the first, one step of a separate training loads and compiles what
the backend needs.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ..backends import BACKENDS, SIMULATED, simulated
from ..operation import UnavailableError, UnknownImplementationError
from ..output.text import duration, times
from ..timing.fairness import equal_terms, read_back
from . import Config, Data, Training
from .choose import one_of

EVERY = 5
"""Steps between two measurements of the accuracy."""
ENOUGH = 1.0
"""Seconds of a backend's timed steps after which it is not trained again."""
RUNS = 9
"""Trainings of one backend at most; the median counts."""


@dataclass(frozen=True)
class BackendTime:
    """One backend's time to the accuracy.

    seconds          of its steps: the median over `runs` trainings, the lowest and the highest
    steps            None if it did not reach the accuracy in `limit` seconds or in the config's epochs
    accuracy         after the last step
    implementations  the id of each operation's implementation
    """

    backend: str
    seconds: float
    lowest: float
    highest: float
    runs: int
    steps: int | None
    accuracy: float
    implementations: dict[str, str]


@dataclass(frozen=True)
class TimeToAccuracy:
    """The backends' times, the fastest first, and the reasons why others have none."""

    data: str
    config: Config
    target: float
    threads: int
    times: tuple[BackendTime, ...]
    missing: dict[str, str]


def time_to_accuracy(
    data: Data,
    config: Config | None = None,
    *,
    target: float = 0.95,
    backends: tuple[str, ...] | None = None,
    limit: float = 60.0,
    threads: int = 1,
    on_event: Callable[[str, float], None] = lambda backend, accuracy: None,
) -> TimeToAccuracy:
    """Train by each backend until `target` of the held-out examples are right.

    config    the training; its impl is set to each backend in turn
    backends  None is all; those that cannot run here are listed with the reason
    limit     seconds of steps after which a backend is given up
    threads   of each backend
    on_event  is called with the backend and its accuracy, each time that is measured

    Raises ValueError for a target that is not above 0 and at most 1, and for an unknown backend.

    >>> from loopnest import nn
    >>> found = time_to_accuracy(nn.xor(), nn.Config(hidden=8, epochs=200, lr=0.05), backends=("cpp",))
    >>> found.times[0].backend, found.times[0].accuracy
    ('cpp', 1.0)
    """
    config = config or Config()
    if not 0 < target <= 1:
        raise ValueError(f"target is {target}, expected a share of right answers, more than 0 and at most 1")
    for name in backends or ():
        one_of("backends", name, BACKENDS)
    trained: dict[str, list[Training]] = {}
    missing: dict[str, str] = {}
    for backend in backends or BACKENDS:
        if simulated(backend):
            missing[backend] = f"{backend} is {SIMULATED}"
            continue
        try:
            warm_up = Training(data, dataclasses.replace(config, impl=backend, epochs=1))
            warm_up.step(np.arange(min(config.batch, len(data.labels))))
            warm_up.accuracy()
            trained[backend] = []
        except (UnavailableError, UnknownImplementationError) as error:
            missing[backend] = str(error)
    with equal_terms(threads) as terms:
        for _ in range(RUNS):
            for backend, runs in trained.items():
                if not runs or (sum(run.seconds for run in runs) < ENOUGH and runs[-1].accuracy() >= target):
                    training = Training(data, dataclasses.replace(config, impl=backend))
                    training.clock = time.thread_time if threads == 1 else time.perf_counter
                    runs.append(_train(training, target, limit, on_event))
        read_back(threads)
    found = []
    for backend, runs in trained.items():
        seconds, last, accuracy = [run.seconds for run in runs], runs[-1], runs[-1].accuracy()
        spread = statistics.median(seconds), min(seconds), max(seconds)
        steps = last.step_number if accuracy >= target else None
        found.append(BackendTime(backend, *spread, len(runs), steps, accuracy, last.chosen.ids))
    found.sort(key=lambda t: (t.steps is None, t.seconds))
    return TimeToAccuracy(data.name, config, target, terms.threads, tuple(found), missing)


def _train(training: Training, target: float, limit: float, on_event: Callable[[str, float], None]) -> Training:
    accuracy = 0.0

    def reached() -> bool:
        nonlocal accuracy
        if training.step_number and training.step_number % EVERY == 0:
            accuracy = training.accuracy()
            on_event(training.config.impl or "", accuracy)
        return accuracy >= target or training.seconds > limit

    training.run(stop=reached)
    return training


def report(found: TimeToAccuracy) -> list[str]:
    """The times as lines of at most 80 columns, and the reasons why backends are missing."""
    config, threads = found.config, f"{found.threads} thread{'s' * (found.threads > 1)} each"
    settings = f"{config.optimizer}, batches of {config.batch}, {config.hidden} hidden units, {config.dtype}, {threads}"
    title = f"Time to {found.target:.0%} on the held-out {found.data}"
    lines = [title, settings, "", f"{'backend':10} {'time':>9} {'lowest':>9} {'highest':>9} {'steps':>6}"]
    for t in found.times:
        cells = " ".join(f"{duration(seconds):>9}" for seconds in (t.seconds, t.lowest, t.highest))
        slower = t.seconds / found.times[0].seconds
        reached = times(slower) if t.steps else f"{t.accuracy:.1%}, and not {found.target:.0%}"
        lines.append(f"{t.backend:10} {cells} {t.steps or '':>6} {reached}")
    return [*lines, *(f"not here: {reason}" for reason in found.missing.values())]

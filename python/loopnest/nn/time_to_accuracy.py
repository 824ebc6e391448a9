"""How long each backend trains until it knows its subject: the time to an accuracy on held-out examples.

All backends begin with the same weights and take the same batches, so that they need as many steps, up to rounding;
what differs is the time of a step. Only steps are timed. Before the first one, a step of a training of its own has
loaded and compiled what the backend needs; judging the network, every few steps, is not timed.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..backends import BACKENDS, SIMULATED, simulated
from ..operation import UnavailableError, UnknownImplementationError
from ..timing.fairness import equal_terms, read_back
from . import Config, Data, Training

EVERY = 5
"""Steps between two looks at the accuracy."""
ENOUGH = 1.0
"""Seconds of a backend's timed steps after which it is not trained once more."""
RUNS = 9
"""Trainings of one backend at most; their median counts."""


@dataclass(frozen=True)
class BackendTime:
    """One backend's time to the accuracy.

    seconds          of its steps, the median over `runs` trainings; lowest and highest beside it
    steps            how many it took; None where the accuracy was not reached in `limit` seconds or in the config's
    epochs accuracy         at the last look
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
    """The backends' times, from the fastest to the slowest, and why others have none."""

    data: str
    config: Config
    target: float
    threads: int
    times: tuple[BackendTime, ...]
    missing: dict[str, str]

    def to_json(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


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

    config    what to train; its impl is set to each backend in turn
    backends  all where it is None; those that cannot run here are listed with the reason
    limit     seconds of steps after which a backend is given up
    threads   of each backend
    on_event  is told the backend and its accuracy whenever that was looked at

    Raises ValueError for a target that is no share, or a backend that there is not.

    >>> from loopnest import nn
    >>> found = time_to_accuracy(nn.xor(), nn.Config(hidden=8, epochs=200, lr=0.05), backends=("cpp",))
    >>> found.times[0].backend, found.times[0].accuracy
    ('cpp', 1.0)
    """
    config = config or Config()
    if not 0 < target <= 1:
        raise ValueError(f"target is {target}, expected a share of right answers, more than 0 and at most 1")
    for name in backends or ():
        if name not in BACKENDS:
            raise ValueError(f"backends has {name!r}, expected some of {', '.join(BACKENDS)}")
    ready: dict[str, list[_Trained]] = {}
    missing: dict[str, str] = {}
    for backend in backends or BACKENDS:
        if simulated(backend):
            missing[backend] = f"{backend} is {SIMULATED}"
            continue
        try:
            _warm_up(data, dataclasses.replace(config, impl=backend))
            ready[backend] = []
        except (UnavailableError, UnknownImplementationError) as error:
            missing[backend] = str(error)
    with equal_terms(threads) as terms:
        for _ in range(RUNS):
            for backend, runs in ready.items():
                seconds = sum(run.seconds for run in runs)
                if not runs or (seconds < ENOUGH and runs[-1].accuracy >= target):
                    runs.append(
                        _train(data, dataclasses.replace(config, impl=backend), target, limit, threads, on_event)
                    )
        read_back(threads)
    times = [_told(backend, runs, target) for backend, runs in ready.items()]
    times.sort(key=lambda found: (found.steps is None, found.seconds))
    return TimeToAccuracy(data.name, config, target, terms.threads, tuple(times), missing)


@dataclass(frozen=True)
class _Trained:
    seconds: float
    steps: int
    accuracy: float
    implementations: dict[str, str]


def _warm_up(data: Data, config: Config) -> None:
    """One step, and one look: whatever the backend loads and compiles."""
    training = Training(data, config)
    training.run(stop=lambda: training.step_number >= 1)
    training.accuracy()


def _train(
    data: Data, config: Config, target: float, limit: float, threads: int, on_event: Callable[[str, float], None]
) -> _Trained:
    training = Training(data, config)
    training.clock = time.thread_time if threads == 1 else time.perf_counter
    accuracy = 0.0

    def reached() -> bool:
        nonlocal accuracy
        if training.step_number and training.step_number % EVERY == 0:
            accuracy = training.accuracy()
            on_event(training.config.impl or "", accuracy)
        return accuracy >= target or training.seconds > limit

    training.run(stop=reached)
    if accuracy < target:
        accuracy = training.accuracy()  # the last steps have not been looked at
    return _Trained(training.seconds, training.step_number, accuracy, training.chosen.ids)


def _told(backend: str, runs: list[_Trained], target: float) -> BackendTime:
    seconds, last = [run.seconds for run in runs], runs[-1]
    steps = last.steps if last.accuracy >= target else None
    middle = statistics.median(seconds)
    return BackendTime(
        backend, middle, min(seconds), max(seconds), len(runs), steps, last.accuracy, last.implementations
    )


# --- how it is shown


def report(found: TimeToAccuracy, width: int = 80) -> list[str]:
    """Lines of text: a table with bars, in which every step to the right is as many times as long."""
    lines = [*_heading(found), ""]
    reached = [backend for backend in found.times if backend.steps is not None]
    if reached:
        rows = [(t.backend, _seconds(t.seconds), f"{_times(t.seconds / reached[0].seconds)}", t) for t in reached]
        first, second, third = (max(len(text) for text in column) for column in list(zip(*rows, strict=True))[:3])
        room = max(10, width - first - second - third - 6 - len("100 ms"))
        low, high = _decades(found)
        for name, seconds, ratio, t in rows:
            share = (math.log10(t.seconds) - low) / (high - low)
            bar = "█" * max(1, round(room * share))
            lines.append(f"{name:<{first}}  {seconds:>{second}}  {ratio:>{third}}  {bar}")
        marks = " " * (first + second + third + 6)
        lines.append(marks + _scale(low, high, room))
        lines.append("")
        steps = sorted({t.steps for t in reached if t.steps is not None})
        many = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        lines.append(f"{many} steps in all of them: the same numbers, up to rounding")
        lines.append("The scale is logarithmic: a step to the right is a factor.")
    lines += [
        f"{t.backend}: {t.accuracy:.1%} after {_seconds(t.seconds)}, and not {found.target:.0%}"
        for t in found.times
        if t.steps is None
    ]
    lines += [f"not here: {reason}" for reason in found.missing.values()]
    return lines


def _heading(found: TimeToAccuracy) -> tuple[str, str]:
    config, threads = found.config, f"{found.threads} thread{'s' if found.threads > 1 else ''} each"
    what = f"{config.optimizer}, batches of {config.batch}, {config.hidden} hidden units, {config.dtype}, {threads}"
    return f"Time to {found.target:.0%} on the held-out {found.data}", what


def _decades(found: TimeToAccuracy) -> tuple[int, int]:
    seconds = [t.seconds for t in found.times if t.steps is not None]
    low, high = math.floor(math.log10(min(seconds))), math.ceil(math.log10(max(seconds)))
    if math.log10(min(seconds)) - low < 0.3:
        low -= 1  # or the fastest would have no bar to see
    return low, max(high, low + 1)


def _scale(low: int, high: int, room: int) -> str:
    text = [" "] * (room + 6)
    for decade in range(low, high + 1):
        at = round(room * (decade - low) / (high - low))
        label = _seconds(10.0**decade)
        text[at : at + len(label)] = label
    return "".join(text).rstrip()


def _seconds(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= 0.9995 * size or unit == "µs":
            return f"{float(f'{seconds / size:.3g}'):g} {unit}"
    raise AssertionError


def _times(ratio: float) -> str:
    return "1 x" if ratio == 1 else f"{float(f'{ratio:.2g}'):g} x" if ratio < 100 else f"{float(f'{ratio:.2g}'):,.0f} x"


def picture(found: TimeToAccuracy) -> str:
    """The same as an SVG file."""
    from ..output.pictures import BACKENDS as COLOURS
    from ..output.pictures import FAINT, Picture

    reached = [t for t in found.times if t.steps is not None]
    made = Picture(7, 1.0 + 0.38 * max(len(reached), 1), title=": ".join(_heading(found)))
    with made as grid:
        axes = grid[0, 0]
        axes.set_title(_heading(found)[0])
        if reached:
            low = 10.0 ** _decades(found)[0]
            for place, t in enumerate(reversed(reached)):
                axes.barh(place, t.seconds - low, left=low, color=COLOURS[t.backend], height=0.65)
                near = {"textcoords": "offset points", "va": "center", "color": FAINT, "size": 8}
                axes.annotate(_seconds(t.seconds), (t.seconds, place), (4, 0), **near)
            axes.set_yticks(range(len(reached)), [t.backend for t in reversed(reached)])
            axes.set_xscale("log")
            axes.set_xlim(low, 4 * max(t.seconds for t in reached))
            axes.xaxis.set_major_formatter(lambda x, _: _seconds(x))
        axes.grid(axis="y", visible=False)
        axes.minorticks_off()
        axes.set_xlabel(f"{_heading(found)[1]}; logarithmic")
    return made.svg

"""Two runs beside each other: for each benchmark how many times as long it takes now, and how sure that is.

The ratio is that of the medians of the times that were kept, and its 95 % interval a bootstrap's: both sets of times
are drawn again from themselves many times, and the middle 95 % of the ratios that this gives are the interval (Efron,
Tibshirani, An Introduction to the Bootstrap, 1993, ch. 13). It covers what varies within a run. What differs from run
to run, such as a clock or a neighbour on the machine, it cannot know: therefore a benchmark counts as slower or faster
only if its best time says so too, which a neighbour changes less, and if both differ by more than a threshold.

>>> from pathlib import Path
>>> from loopnest.bench.compare import compare
>>> from loopnest.bench.files import load
>>> compare(load(Path("old.json")), load(Path("new.json"))).slower     # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np
from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..output.text import duration, three_digits
from .records import Record, Results

DRAWS = 1000
"""Of a bootstrap: the ends of the interval are then the 25th ratio from either end."""

FEW = 6
"""With fewer times than this on either side, a 95 % interval of the median is wider than all of them: their extremes
hold it with a probability of 1 - 2 / 2^n, which is 97 % for 6. Then the extremes are taken, and moved apart by as much
as times of this run usually differ."""

SLOWER, FASTER, UNCHANGED = "slower", "faster", "unchanged"


@dataclass(frozen=True)
class Change:
    """One benchmark in two runs.

    ratio  of the new median time to the old one, with the ends of its 95 % interval: above 1 it is slower now
    best   the ratio of the best times
    """

    old: Record
    new: Record
    ratio: float
    low: float
    high: float
    best: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All benchmarks that both runs have, the slowest now first; what only one of them has; what makes it doubtful."""

    changes: tuple[Change, ...]
    only_old: tuple[Record, ...]
    only_new: tuple[Record, ...]
    warnings: tuple[str, ...]
    threshold: float

    @property
    def slower(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == SLOWER)

    @property
    def faster(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == FASTER)

    @property
    def mean(self) -> float:
        """The geometric mean of the ratios."""
        return math.exp(sum(math.log(change.ratio) for change in self.changes) / len(self.changes))


def compare(old: Results, new: Results, *, threshold: float = 0.05) -> Comparison:
    """Compare the benchmarks that both runs have.

    threshold  0.05 is 5 %: what is at most so much slower or faster counts as unchanged

    Raises ValueError where the runs have no benchmark in common.
    """
    before, now = _by_key(old), _by_key(new)
    both = [key for key in before if key in now]
    if not both:
        raise ValueError("the two runs have no benchmark in common: there is nothing to compare")
    rng = np.random.default_rng(0)  # the same files give the same verdict
    usual = max(_usual_spread(old), _usual_spread(new))
    changes = [_change(before[key], now[key], threshold, usual, rng) for key in both]
    return Comparison(
        changes=tuple(sorted(changes, key=lambda change: -change.ratio)),
        only_old=tuple(record for key, record in before.items() if key not in now),
        only_new=tuple(record for key, record in now.items() if key not in before),
        warnings=tuple(_warnings(old, new, changes, threshold)),
        threshold=threshold,
    )


def _by_key(results: Results) -> dict[tuple[str, ...], Record]:
    return {(r.suite, r.study, r.section, r.workload, r.impl, r.case, r.dtype): r for r in results.records}


def _change(old: Record, new: Record, threshold: float, usual: float, rng: np.random.Generator) -> Change:
    ratio, best = median(new.samples) / median(old.samples), new.best / old.best
    low, high = interval(old.samples, new.samples, usual, rng)
    if low > 1 + threshold and best > 1 + threshold:
        verdict = SLOWER
    elif high < 1 / (1 + threshold) and best < 1 / (1 + threshold):
        verdict = FASTER
    else:
        verdict = UNCHANGED
    return Change(old, new, ratio, low, high, best, verdict)


def interval(old: Sequence[float], new: Sequence[float], usual: float, rng: np.random.Generator) -> tuple[float, float]:
    """The 95 % interval of the ratio of the medians, new to old.

    usual  how much longer than the shortest the longest times of a benchmark take: 1.1 is a tenth. It widens the
           interval where there are fewer than 6 times on either side
    """
    if min(len(old), len(new)) < FEW:
        return min(new) / max(old) / usual, max(new) / min(old) * usual
    ratios = _medians(new, rng) / _medians(old, rng)
    low, high = np.quantile(ratios, [0.025, 0.975])
    return float(low), float(high)


def _medians(seconds: Sequence[float], rng: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    drawn = rng.choice(np.asarray(seconds), (DRAWS, len(seconds)))
    return np.asarray(np.median(drawn, axis=1))


def _usual_spread(results: Results) -> float:
    """Of the benchmarks with many times, how much longer the 9th of 10 takes than the shortest, in the median."""
    spreads = [float(np.quantile(r.samples, 0.9)) / min(r.samples) for r in results.records if len(r.samples) >= FEW]
    return median(spreads) if spreads else 1.25


def _warnings(old: Results, new: Results, changes: Sequence[Change], threshold: float) -> Iterator[str]:
    before, now = old.environment, new.environment
    if before is None or now is None:
        yield "one of the files does not say which machine it is from"
    else:
        for name in ("cpu", "cores", "system", "isa"):
            a, b = getattr(before, name), getattr(now, name)
            if a != b:
                yield f"another machine or setting: {name} was {a}, and is {b}"
        for name in sorted({*before.versions, *now.versions}):
            a, b = before.versions.get(name, "missing"), now.versions.get(name, "missing")
            if a != b and name != "loopnest":
                yield f"another version: {name} was {a}, and is {b}"
        pools = [sorted(map(str, environment.pools)) for environment in (before, now)]
        if pools[0] != pools[1]:
            yield f"other thread pools: {', '.join(pools[0])}; now {', '.join(pools[1])}"
        yield from dict.fromkeys((*before.warnings, *now.warnings))
    for name, results in (("old", old), ("new", new)):
        if results.interrupted:
            yield f"the {name} run was cut off: it holds {len(results.records)} results"
    middle = median(change.ratio for change in changes)
    if len(changes) >= FEW and not 1 / (1 + threshold) <= middle <= 1 + threshold:
        word = "slower" if middle > 1 else "faster"
        share = 100 * (max(middle, 1 / middle) - 1)
        yield f"half of all benchmarks are {share:.0f} % {word} or more: more likely the machine than the code"


MARKS = {SLOWER: ("▲ slower", "bold red"), FASTER: ("▼ faster", "green"), UNCHANGED: ("= unchanged", "dim")}


def report(comparison: Comparison, width: int, everything: bool = False) -> Iterator[RenderableType]:
    """What `loopnest compare` prints, one renderable after another.

    width       of the terminal, in characters
    everything  the benchmarks that have not changed too
    """
    for warning in comparison.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    shown = [change for change in comparison.changes if everything or change.verdict != UNCHANGED]
    if shown:
        yield _table(shown, width)
    for records, where in ((comparison.only_old, "old"), (comparison.only_new, "new")):
        if records:
            names = ", ".join(dict.fromkeys(f"{r.study} {r.impl}" for r in records[:3]))
            more = ", …" if len(records) > 3 else ""
            yield Text(f"only in the {where} run: {len(records)}, such as {names}{more}", style="dim")
    count, slower, faster = len(comparison.changes), len(comparison.slower), len(comparison.faster)
    yield Text.assemble(
        f"{count} benchmark{'s' if count > 1 else ''}: ",
        (f"{slower} slower", "bold red" if slower else ""),
        f", {faster} faster, {count - slower - faster} unchanged, within {100 * comparison.threshold:g} % "
        f"or not resolved · all in the geometric mean {comparison.mean:.3f}× the time",
    )


def _table(changes: Sequence[Change], width: int) -> Table:
    roomy = width >= 110
    table = Table(box=box.SIMPLE_HEAD, padding=(0, int(width >= 84), 0, 0), pad_edge=False, show_edge=False)
    table.add_column("benchmark", overflow="fold", ratio=1)
    for name in ("old", "new") if roomy else ():
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("time now", justify="right", no_wrap=True)
    table.add_column("95 % interval", justify="right", no_wrap=True)
    if roomy:
        table.add_column("best", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for change in changes:
        mark, style = MARKS[change.verdict]
        medians = [duration(median(record.samples)) for record in (change.old, change.new)] if roomy else []
        ends = f"{_ratio(change.low)} – {_ratio(change.high)}"
        best = [f"{_ratio(change.best)}×"] if roomy else []
        table.add_row(
            *map(Text, (label(change.new), *medians, f"{_ratio(change.ratio)}×", ends, *best)), Text(mark, style=style)
        )
    return table


def _ratio(x: float) -> str:
    return f"{x:.2f}" if 0.095 <= x < 9.995 else three_digits(x)


def label(record: Record) -> str:
    """A benchmark in words: its study, implementation, case and workload."""
    study = record.study if record.study != record.operation else record.operation
    return " · ".join(filter(None, (study, f"{record.impl} {record.case}".strip(), record.workload)))

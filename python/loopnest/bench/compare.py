"""Two runs next to each other: for each benchmark how many times as long it takes now, and how sure that is.

The medians of the kept times are divided, with the interval of `timing.interval.ratio_of_runs`. The interval
covers what varies within a run. It cannot cover what differs between runs, such as a clock rate or a neighbour on the
machine. So a benchmark counts as slower or faster only if its best time agrees, which a neighbour changes less, and if
both differ by more than a threshold.

>>> from pathlib import Path
>>> from loopnest.bench.compare import compare
>>> from loopnest.bench.records import Results
>>> compare(Results.load(Path("old.json")), Results.load(Path("new.json"))).slower     # doctest: +SKIP
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from rich.console import RenderableType
from rich.text import Text

from ..output.text import counted, duration, three_digits
from ..timing.environment import Environment
from ..timing.interval import Interval, ratio_of_runs
from .records import Record, Results
from .tables import table_like

SPREAD = 1.25
"""Widens the interval where there are too few times for an interval of the median."""

FEW = 6
"""Fewer benchmarks say little about the machine."""

SLOWER, FASTER, UNCHANGED = "slower", "faster", "unchanged"


@dataclass(frozen=True)
class Change:
    """One benchmark in two runs.

    ratio  of the new median time to the old one, with its 95 % interval: above 1 it is slower now
    best   the ratio of the best times
    """

    old: Record
    new: Record
    ratio: Interval
    best: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """All benchmarks that both runs have, the slowest now first; the others; and reasons to doubt the comparison."""

    changes: tuple[Change, ...]
    only_old: tuple[Record, ...]
    only_new: tuple[Record, ...]
    warnings: tuple[str, ...]
    threshold: float

    @property
    def slower(self) -> tuple[Change, ...]:
        return tuple(change for change in self.changes if change.verdict == SLOWER)

    @property
    def mean(self) -> float:
        """The geometric mean of the ratios."""
        return math.exp(sum(math.log(change.ratio.estimate) for change in self.changes) / len(self.changes))


def compare(old: Results, new: Results, *, threshold: float = 0.05) -> Comparison:
    """Compare the benchmarks that both runs have.

    threshold  a smaller change counts as unchanged: 0.05 is 5 %

    Raises ValueError where the runs have no benchmark in common.
    """
    before, now = (
        {(r.suite, r.study, r.section, r.workload, r.impl, r.case, r.dtype): r for r in results.records}
        for results in (old, new)
    )
    both = [key for key in before if key in now]
    if not both:
        raise ValueError("the two runs have no benchmark in common: there is nothing to compare")
    changes = [_change(before[key], now[key], threshold) for key in both]
    return Comparison(
        changes=tuple(sorted(changes, key=lambda change: -change.ratio.estimate)),
        only_old=tuple(record for key, record in before.items() if key not in now),
        only_new=tuple(record for key, record in now.items() if key not in before),
        warnings=tuple(_warnings(old, new, changes, threshold)),
        threshold=threshold,
    )


def _change(old: Record, new: Record, threshold: float) -> Change:
    ratio, best = ratio_of_runs(old.seconds, new.seconds), new.best / old.best
    if not ratio.bounded:  # from the lowest to the highest ratio of two times
        low, high = min(new.seconds) / max(old.seconds), max(new.seconds) / min(old.seconds)
        ratio = Interval(ratio.estimate, low / SPREAD, high * SPREAD)
    if ratio.low > 1 + threshold and best > 1 + threshold:
        verdict = SLOWER
    elif ratio.high < 1 / (1 + threshold) and best < 1 / (1 + threshold):
        verdict = FASTER
    else:
        verdict = UNCHANGED
    return Change(old, new, ratio, best, verdict)


def _warnings(old: Results, new: Results, changes: Sequence[Change], threshold: float) -> Iterator[str]:
    before, now = old.environment, new.environment
    if before is None or now is None:
        yield "one of the files does not say which machine it is from"
    else:
        a, b = _settings(before), _settings(now)
        for name in dict.fromkeys((*a, *b)):
            if a.get(name) != b.get(name):
                was, is_now = a.get(name, "missing"), b.get(name, "missing")
                yield f"another machine, version or setting: {name} was {was}, and is {is_now}"
        yield from dict.fromkeys((*before.warnings, *now.warnings))
    for name, results in (("old", old), ("new", new)):
        if results.interrupted:
            yield f"the {name} run was cut off: it holds {len(results.records)} results"
    middle = median(change.ratio.estimate for change in changes)
    if len(changes) >= FEW and not 1 / (1 + threshold) <= middle <= 1 + threshold:
        word = "slower" if middle > 1 else "faster"
        share = 100 * (max(middle, 1 / middle) - 1)
        yield f"half of all benchmarks are {share:.0f} % {word} or more: more likely the machine than the code"


def _settings(environment: Environment) -> dict[str, str]:
    """What should be the same in both runs."""
    machine = {name: str(getattr(environment, name)) for name in ("cpu", "cores", "system", "isa")}
    others = {name: version for name, version in environment.versions.items() if name != "loopnest"}
    return {**machine, **others, "threads": ", ".join(sorted(map(str, environment.pools)))}


MARKS = {SLOWER: ("▲ slower", "bold red"), FASTER: ("▼ faster", "green"), UNCHANGED: ("= unchanged", "dim")}


def report(comparison: Comparison, width: int, everything: bool = False) -> Iterator[RenderableType]:
    """What `loopnest compare` prints, one renderable after another.

    width       of the terminal, in characters
    everything  whether to show the benchmarks that have not changed
    """
    for warning in comparison.warnings:
        yield Text(f"warning: {warning}", style="yellow")
    shown = [change for change in comparison.changes if everything or change.verdict != UNCHANGED]
    if shown:
        table = table_like(width)
        table.add_column("benchmark", overflow="fold", ratio=1)
        for heading in ("old", "new", "time now", "95 % interval"):
            table.add_column(heading, justify="right", no_wrap=True)
        table.add_column("", no_wrap=True)
        for change in shown:
            r = change.new
            label = " · ".join(filter(None, (r.study, f"{r.impl} {r.case}".strip(), r.workload)))
            medians = [duration(record.median) for record in (change.old, change.new)]
            now, low, high = map(three_digits, (change.ratio.estimate, change.ratio.low, change.ratio.high))
            mark, style = MARKS[change.verdict]
            table.add_row(*map(Text, (label, *medians, f"{now}×", f"{low} – {high}")), Text(mark, style=style))
        yield table
    for records, where in ((comparison.only_old, "old"), (comparison.only_new, "new")):
        if records:
            names = ", ".join(dict.fromkeys(f"{r.study} {r.impl}" for r in records[:3]))
            yield Text(f"only in the {where} run: {len(records)}, such as {names}", style="dim")
    verdicts = [change.verdict for change in comparison.changes]
    slower, faster, unchanged = map(verdicts.count, (SLOWER, FASTER, UNCHANGED))
    yield Text.assemble(
        f"{counted(len(verdicts), 'benchmark')}: ",
        (f"{slower} slower", "bold red" if slower else ""),
        f", {faster} faster, {unchanged} unchanged, within {100 * comparison.threshold:g} % "
        f"or not resolved · all in the geometric mean {comparison.mean:.3f}× the time",
    )

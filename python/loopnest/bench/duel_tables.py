"""What `loopnest duel` prints, made from its records."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..output.text import duration, three_digits
from .duel import Duel

CLOCKS = {
    "processor": "processor time: one thread that never waits, so the time that other processes take is not in it",
    "elapsed": "the time that passed",
}


WITHIN = math.log(1.01)


def report(duel: Duel) -> Iterator[RenderableType]:
    """All of one duel, one renderable after another: the answer, the times, the terms, the conditions."""
    threads = f"{duel.terms.threads} thread{'s' if duel.terms.threads > 1 else ''}"
    yield Text(f"{duel.operation}, {duel.workload}, {duel.dtype}, {threads}", style="bold")
    if duel.refused:
        yield Text(f"\nrefused: {duel.refused}", style="red")
    else:
        yield Text()
        yield _pairs([(f"{bout.caches} caches", bout.sentence(duel.a, duel.b)) for bout in duel.bouts], "bold")
        yield Text()
        yield _times(duel)
    yield Text("\nfairness", style="bold")
    yield _pairs([row for row in duel.terms.lines() if row[0] != "warning"])
    yield Text("\nconditions", style="bold")
    yield _pairs(_conditions(duel))
    for warning in duel.warnings():
        yield Text(f"\nwarning: {warning}", style="yellow")


def _pairs(rows: Sequence[tuple[str, str]], style: str = "") -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(style=style)
    for name, text in rows:
        table.add_row(Text(name), Text(text))
    return table


def _times(duel: Duel) -> Table:
    """Best and median of each side; the rate by the best, and how much of the machine's limit that is."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    unit, amount = ("GFLOP/s", duel.flops) if duel.flops >= 2 * duel.bytes else ("GB/s", duel.bytes)
    table.add_column("", no_wrap=True)
    for heading in ("best", "median", unit, "of limit", "samples"):
        table.add_column(heading, justify="right", no_wrap=True)
    for bout in duel.bouts:
        for timing in (bout.a, bout.b):
            median = f"{duration(timing.median)} ±{max(timing.median_interval().width, 0.001):.1%}"
            share = f"{duel.limit / timing.best:.0%}" if bout.caches == "warm" else ""
            rate, samples = three_digits(amount / timing.best / 1e9), f"{len(timing.seconds)} × {timing.calls}"
            cells = f"{timing.name}, {bout.caches}", duration(timing.best), median, rate, share, samples
            table.add_row(*map(Text, cells))
    return table


def _conditions(duel: Duel) -> list[tuple[str, str]]:
    found = duel.conditions
    rows = [("machine", found.sentence())]
    if found.share is not None:
        rows.append(("own time", f"{found.share:.0%} of the measured time; other processes had the rest"))
    for bout in duel.bouts:
        why = "the interval was narrow enough" if bout.ended == "narrow" else "the time was up"
        rows.append((f"{bout.caches} clock", f"{CLOCKS[bout.a.clock]}; {bout.rounds} rounds, until {why}"))
    return [*rows, *(("note", note) for note in duel.notes)]


def line(number: int, duel: Duel) -> str:
    """One duel of several, on a line."""
    if duel.refused:
        return f"{number:>3}  refused: {duel.refused}"
    answers = []
    for bout in duel.bouts:
        name = duel.a if bout.faster == "a" else duel.b
        resolved = "resolved" if duel.a == duel.b else f"{name} is faster"
        ratio = f"{bout.ratio.estimate:.3f}× ({bout.ratio.low:.3f}–{bout.ratio.high:.3f})"
        answers.append(f"{bout.caches} {ratio} {resolved if bout.faster else 'unresolved'}")
    return f"{number:>3}  {'; '.join(answers)}"


def tally(duels: Sequence[Duel]) -> list[str]:
    """How often each answer came, for each kind of caches: unresolved, within 1 %, or one faster by more."""
    lines = []
    a, b = duels[0].a, duels[0].b
    names = {"a": "the first", "b": "the second"} if a == b else {"a": a, "b": b}
    for caches in ("warm", "cold"):
        bouts = [bout for duel in duels for bout in duel.bouts if bout.caches == caches]
        if bouts:
            unresolved = sum(bout.faster is None for bout in bouts)
            within = sum(bout.faster is not None and abs(math.log(bout.ratio.estimate)) <= WITHIN for bout in bouts)
            parts = [f"{unresolved} unresolved", f"{within} resolved within 1 %"]
            for side, name in names.items():
                beyond = sum(bout.faster == side and abs(math.log(bout.ratio.estimate)) > WITHIN for bout in bouts)
                parts.append(f"{beyond} with {name} faster by more")
            lines.append(f"{caches} caches, {len(bouts)} duels: {', '.join(parts)}")
    refused = sum(bool(duel.refused) for duel in duels)
    return [*lines, *([f"{refused} refused"] if refused else [])]

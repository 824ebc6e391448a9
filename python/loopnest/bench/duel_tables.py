"""What `loopnest duel` prints, made from its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ..output.text import duration, three_digits
from ..timing.interval import Interval
from ..timing.turns import Caches, Timing
from .duel import Bout, Duel


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
    for name, what in rows:
        table.add_row(Text(name), Text(what))
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
            share = f"{duel.limit / timing.best:.0%}" if bout.caches == "warm" else ""
            rate = three_digits(amount / timing.best / 1e9)
            cells = duration(timing.best), _median(timing), rate, share, _samples(timing)
            table.add_row(Text(f"{timing.name}, {bout.caches}"), *map(Text, cells))
    return table


def _median(timing: Timing) -> str:
    interval = timing.median_interval()
    return f"{duration(timing.median)} ±{max(interval.width, 0.001):.1%}"


def _samples(timing: Timing) -> str:
    return f"{len(timing.seconds)} × {timing.calls}"


def _conditions(duel: Duel) -> list[tuple[str, str]]:
    found = duel.conditions
    itself = f"fixed work is {_interval(found.floor)} as fast as itself; its times spread by {found.spread:.1%}"
    rows = [("noise floor", itself), ("clock rate", f"a fixed loop ran at {found.drift:.3f} of its rate at the start")]
    if found.steal is not None:
        rows.append(("stolen", f"{found.steal:.1%} of the processors' busy time, by the hypervisor"))
    if found.share is not None:
        rows.append(("own time", f"{found.share:.0%} of the time that was measured; the rest other processes had"))
    clocks = {
        "processor": "processor time: one thread that never waits, so what other processes take is not in it",
        "elapsed": "the time that passed",
    }
    for bout in duel.bouts:
        rows.append((f"{bout.caches} clock", f"{clocks[bout.a.clock]}; {_end(bout)}"))
    return [*rows, *(("note", note) for note in duel.notes)]


def _end(bout: Bout) -> str:
    why = "the interval was narrow enough" if bout.ended == "narrow" else "the time was up"
    return f"{bout.rounds} rounds, until {why}"


def line(number: int, duel: Duel) -> str:
    """One duel of several, on a line."""
    if duel.refused:
        return f"{number:>3}  refused: {duel.refused}"
    answers = (f"{bout.caches} {_interval(bout.ratio)} {_verdict(bout, duel)}" for bout in duel.bouts)
    return f"{number:>3}  {'; '.join(answers)}"


def _interval(ratio: Interval) -> str:
    return f"{ratio.estimate:.3f}× ({ratio.low:.3f}–{ratio.high:.3f})"


def _verdict(bout: Bout, duel: Duel) -> str:
    if bout.faster is None:
        return "unresolved"
    return f"{duel.a if bout.faster == 'a' else duel.b} is faster" if duel.a != duel.b else "resolved"


def tally(duels: Sequence[Duel]) -> list[str]:
    """How often each answer came, for each kind of caches; and which ended within 1 % or unresolved."""
    lines = []
    kinds: list[Caches] = ["warm", "cold"]
    for caches in kinds:
        bouts = [(fought, bout) for fought in duels for bout in fought.bouts if bout.caches == caches]
        if not bouts:
            continue
        unresolved = sum(bout.faster is None for _, bout in bouts)
        within = sum(bout.faster is not None and _within(bout) for _, bout in bouts)
        fought = duels[0]
        parts = [f"{unresolved} unresolved", f"{within} resolved within 1 %"]
        for side, name in (("a", fought.a), ("b", fought.b)):
            beyond = sum(bout.faster == side and not _within(bout) for _, bout in bouts)
            who = {"a": "the first", "b": "the second"}[side] if fought.a == fought.b else name
            parts.append(f"{beyond} with {who} faster by more")
        lines.append(f"{caches} caches, {len(bouts)} duels: {', '.join(parts)}")
    refused = sum(bool(fought.refused) for fought in duels)
    return [*lines, *([f"{refused} refused"] if refused else [])]


def _within(bout: Bout, share: float = 0.01) -> bool:
    return 1 / (1 + share) <= bout.ratio.estimate <= 1 + share


def not_told_apart(duels: Sequence[Duel], caches: Caches) -> int:
    """How many duels ended unresolved or within 1 %, as those of an implementation against itself are to."""
    bouts = [bout for fought in duels for bout in fought.bouts if bout.caches == caches]
    return sum(bout.faster is None or _within(bout) for bout in bouts)

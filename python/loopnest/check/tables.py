"""Verdicts as text for the terminal, made from their records."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..output.notebook import shows
from ..output.tables import headed
from ..output.text import counted, duration
from .inside import Inside
from .judge import per_cent
from .records import Placing, Verdict
from .verify import KINDS


@shows(Verdict)
def report(verdict: Verdict) -> Iterator[RenderableType]:
    """A verdict as it is printed: it builds, it is right, how fast, what next; then the verdict itself."""
    yield Text(f"{Path(verdict.file).name} as {verdict.operation}", style="bold")
    build = verdict.build
    if build is not None:
        failed = verdict.outcome == "does-not-build"
        built = f"{build.command}{f' ({build.seconds:.2f} s)' if build.seconds else ''}"
        if build.language == "python":
            built = "it cannot be imported" if failed else "it imports"
        yield _row("builds", "red" if failed else "green", built)
        if build.messages and not failed:
            yield Padding(Text(build.messages, style="yellow"), (0, 0, 0, 10))
    if verdict.accepted and verdict.checked is not None:
        checked = verdict.checked
        kinds = ", ".join(f"{count} {KINDS[kind]}" for kind, count in checked.cases.items())
        count, style = sum(checked.cases.values()), "yellow" if checked.left else "green"
        yield _row("right", style, f"{count} calls in {' and '.join(verdict.dtypes)}, each with new values: {kinds}")
        yield from (_row("", "", f"declined with an error, which is honest: {line}") for line in checked.declined)
        yield from (_row("", "", f"not looked at: {line}") for line in checked.skipped)
    if verdict.timing is not None:
        yield _row("fast", "green", verdict.sentence)
        yield Padding(races(verdict.timing), (0, 0, 0, 10))
    if not verdict.accepted:
        yield _row("verdict", "bold red", _refused(verdict))
        if not (verdict.outcome == "does-not-build" and verdict.details and verdict.build and verdict.build.command):
            yield _row("", "", verdict.sentence)  # else the compiler's own words follow
        for line in verdict.details:
            code = line.startswith(" ") or "|" in line[:12]  # a compiler's picture of a line: no line breaks in it
            yield Padding(Text(line, no_wrap=code, overflow="ellipsis"), (0, 0, 0, 10))
    for note in verdict.notes:
        yield _row("note", "yellow", note)
    if verdict.output:
        yield _row("printed", "yellow", verdict.output)
    for step in verdict.next_steps:
        yield _row("next", "cyan", step)
    if verdict.timing is not None:
        threads = counted(verdict.timing.threads, "thread")
        text = "times from go to done by the judge's clock, less what other processes took"
        nothing = f"a call that does nothing takes {duration(verdict.timing.round_trip)}"
        yield Text(f"{text}; {threads}; {nothing}", style="dim")


def _refused(verdict: Verdict) -> str:
    return f"{verdict.outcome} ({verdict.fault})" if verdict.fault else verdict.outcome


def _row(word: str, style: str, text: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9)
    grid.add_column()
    grid.add_row(Text(word, style=style), Text(text))
    return grid


def races(placing: Placing) -> Table:
    """Who reached what: best and median times, and the share of the machine's limit."""
    table = headed(placing.own.workload, "best", "median", "of the limit")
    for name, seconds in sorted(placing.predicted.items(), key=lambda item: -item[1]):
        table.add_row(Text(name), Text(f"about {duration(seconds)}"), Text("not timed", style="dim"), "")
    for r in sorted(placing.races, key=lambda r: -r.best):
        name, style = ("this file", "bold") if r.name == "it" else (r.name, "")
        share = per_cent(r.share) if r.share else ""
        cells = (name, duration(r.best), duration(statistics.median(r.seconds)), share)
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def builds(found: Sequence[Inside]) -> Table:
    """Builds of one file side by side: how fast each is, what its hot loop is made of, and what bounds that."""
    timing = next((one.verdict.timing for one in found if one.verdict.timing), None)
    rows = [_build(one) for one in found]
    table = headed(timing.own.workload if timing else "", *(one.name for one in found))
    for name in rows[0]:
        table.add_row(Text(name), *(Text(row[name]) for row in rows))
    return table


def _build(one: Inside) -> dict[str, str]:
    """The facts of one build, by their names; "" for what is not known."""
    own, loop = one.verdict.timing.own if one.verdict.timing else None, one.loop
    bound = loop.bound if loop else None
    vectors = (f"{loop.vector_bits} bits" if loop.vector_bits else "scalar") if loop else ""
    return {
        "verdict": one.verdict.outcome if one.verdict.accepted else _refused(one.verdict),
        "best": duration(own.best) if own else "not timed",
        "of the limit": per_cent(own.share) if own and own.share else "",
        "vectors": vectors,
        "instructions": str(len(loop.instructions)) if loop else "",
        **{name: str(loop.counts.get(name.lower(), 0)) if loop else "" for name in ("FMA", "loads", "stores")},
        "flops": str(loop.flops) if loop else "",
        "bound by": bound.name if bound else "",
        "cycles": f"{bound.cycles:.3g}" if bound else "",
        "of the peak, at most": f"{100 * bound.share:.3g} %" if bound and bound.share is not None else "",
    }


def ranking(verdicts: Sequence[Verdict]) -> RenderableType:
    """The table of a folder's submissions, in the order of `rank`."""
    table = headed("", "file", "workload", "best", "of the limit", "verdict", words=(1, 2, 5))
    for number, v in enumerate(verdicts, 1):
        own = v.timing.own if v.timing else None
        words = v.sentence if v.accepted else f"{_refused(v)}: {v.sentence}"
        words += "".join(f"; it promises no more than {promise}" for promise in v.promises)
        times = (own.workload, duration(own.best), per_cent(own.share) if own.share else "") if own else ("", "", "")
        cells = (str(number) if v.accepted else "", Path(v.file).name, *times, words)
        table.add_row(*(Text(cell, style="" if v.accepted else "dim") for cell in cells))
    right, partly = (sum(v.outcome == outcome for v in verdicts) for outcome in ("right", "right-as-far-as-asked"))
    as_asked = f", {partly} as far as {'it was' if partly == 1 else 'they were'} asked" if partly else ""
    timed = [v.timing.own for v in verdicts if v.timing]
    several = ""
    if len({own.workload for own in timed}) > 1:
        smallest = min(timed, key=lambda own: math.prod(own.shape.values())).workload
        several = f"\nNot all are timed on one workload, so their ranks are rough: add --workload {smallest}"
    return Group(table, Text(f"\n{right} of {len(verdicts)} are right{as_asked}{several}"))

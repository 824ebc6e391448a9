"""Verdicts as text for the terminal, made from their records."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Iterator
from pathlib import Path

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ..output.text import duration
from .judge import per_cent
from .rank import Ranking
from .records import Placing, Raced, Verdict
from .verify import KINDS


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
        if build.messages and verdict.outcome != "does-not-build":
            yield Padding(Text(build.messages, style="yellow"), (0, 0, 0, 10))
    if verdict.accepted and verdict.checked is not None:
        checked = verdict.checked
        kinds = ", ".join(f"{count} {KINDS[kind]}" for kind, count in checked.cases.items())
        yield _row(
            "right", "green", f"{checked.calls} calls in {' and '.join(verdict.dtypes)}, each with new values: {kinds}"
        )
        yield from (_row("", "", f"declined with an error, which is honest: {line}") for line in checked.declined)
        yield from (_row("", "", f"not looked at: {line}") for line in checked.skipped)
    if verdict.timing is not None:
        yield _row("fast", "green", verdict.timing.sentence)
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
        yield _row("next", "cyan", step.text)
        if step.command:
            yield _row("", "", step.command)


def _refused(verdict: Verdict) -> str:
    return f"{verdict.outcome} ({verdict.trick})" if verdict.trick else verdict.outcome


def _row(word: str, style: str, text: str) -> RenderableType:
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=9)
    grid.add_column()
    grid.add_row(Text(word, style=style), Text(text))
    return grid


def races(placing: Placing) -> Table:
    """Who reached what: best and median times, and the share of the machine's limit."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("workload", "", "best", "median", "of the limit"):
        table.add_column(name, justify="left" if name in ("workload", "") else "right", no_wrap=name != "")
    for workload in dict.fromkeys(r.workload for r in placing.races):
        shown = workload
        for r in sorted((r for r in placing.races if r.workload == workload), key=lambda r: -r.best):
            name, style = ("this file", "bold") if r.name == "it" else (r.name, "")
            share = per_cent(r.share) if r.share else ""
            cells = (shown, name, duration(r.best), duration(statistics.median(r.seconds)), share)
            table.add_row(*(Text(cell, style=style) for cell in cells))
            shown = ""
    return table


def footer(placing: Placing) -> str:
    """How the times were taken."""
    threads = f"{placing.threads} thread{'s' if placing.threads > 1 else ''}"
    return (
        f"times from go to done by the judge's clock, less what other processes took; {threads}; "
        f"a call that does nothing takes {duration(placing.round_trip)}"
    )


def _placed(ranked: Ranking) -> Iterator[tuple[str, Verdict, Raced | None]]:
    """Each verdict with its place and its times."""
    for number, v in enumerate(ranked.verdicts, 1):
        yield str(number) if v.accepted else "", v, ranked.race_of(v)


def ranking(ranked: Ranking) -> RenderableType:
    """The table of a folder's submissions."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("", "file", "best", "of the limit", "verdict"):
        table.add_column(
            name, justify="right" if name in ("", "best", "of the limit") else "left", no_wrap=name == "file"
        )
    for place, v, own in _placed(ranked):
        words = v.sentence if v.accepted else f"{_refused(v)}: {v.sentence}"
        share = per_cent(own.share) if own and own.share else ""
        cells = (place, Path(v.file).name, duration(own.best) if own else "", share, words)
        table.add_row(*(Text(cell, style="" if v.accepted else "dim") for cell in cells))
    right = sum(v.accepted for v in ranked.verdicts)
    where = f", timed on {ranked.workload}" if ranked.workload else ""
    return Group(table, Text(f"\n{right} of {len(ranked.verdicts)} are right{where}"))


def as_csv(ranked: Ranking) -> str:
    """The same as comma-separated values, a line for each submission."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        ("place", "file", "outcome", "trick", "accepted", "workload", "seconds", "share of the limit", "sentence")
    )
    for place, v, own in _placed(ranked):
        share = f"{own.share.estimate:.4f}" if own and own.share else ""
        seconds = (own.workload, f"{own.best:.9f}") if own else ("", "")
        writer.writerow((place, Path(v.file).name, v.outcome, v.trick or "", v.accepted, *seconds, share, v.sentence))
    return file.getvalue()

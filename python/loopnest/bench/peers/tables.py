"""A comparison's tables, made from its records: for the terminal, and as Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ...output.text import three_digits
from ..tables import about
from .bars import MEAN, TITLES, Verdict, verdicts
from .records import OURS, PEERS, Item, PeerResults

HOW = (
    "Every figure is the best of many rounds in which all contenders and the machine's limit have a turn each, on one "
    "thread pinned to one processor where nothing else is said."
)

BARS_TITLE = "The bars"


@dataclass(frozen=True)
class Grid:
    """A table as text: its first column to the left, the others to the right."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]


def report(results: PeerResults) -> Iterator[RenderableType]:
    """All that `loopnest bench peers` prints."""
    if results.environment:
        yield about(results.environment, HOW)
    for grid in grids(results):
        yield _terminal_table(grid)
    yield from map(Text, remarks(results))


def markdown(results: PeerResults, command: str) -> str:
    """The same as a Markdown document, with the lines of Python that were timed."""
    parts = [f"# loopnest beside its peers\n\nMade by `{command}` at {results.datetime}."]
    if results.environment:
        parts += ["\n".join(f"- {line}" for line in about(results.environment, HOW).plain.strip().splitlines())]
    parts += [_markdown_table(grid) for grid in (*grids(results), statements(results.items))]
    parts += ["\n".join(f"- {remark}" for remark in remarks(results))]
    return "\n\n".join(filter(None, parts)) + "\n"


def grids(results: PeerResults) -> list[Grid]:
    """A table for each part and unit, and the bars' verdicts at the end."""
    tables = [figures(same) for same in _together(results.items)]
    measured = {item.part for item in results.items}
    return [*tables, summary(verdicts(results.items, measured))] if measured else []


def figures(items: Sequence[Item]) -> Grid:
    """One row an item: everybody's figure; how many times as fast as the best peer we are, and our share of limits."""
    names = list(dict.fromkeys(name for item in items for name in item.costs))
    names.sort(key=lambda name: (OURS, *PEERS, name).index(name))
    limits = list(dict.fromkeys(name for item in items for name in item.floors))
    peers = any(item.best_peer() for item in items) and items[0].unit != "MB"
    head = ["", *names, *limits, *(["times peer"] if peers else []), *(f"of {name}" for name in limits)]
    rows = [
        [
            item.name,
            *(_figure(item, {**item.costs, **item.floors}.get(name)) for name in (*names, *limits)),
            *([_ratio(item.ratio("best peer"))] if peers else []),
            *(_ratio(item.ratio(limit)) for limit in limits),
        ]
        for item in items
    ]
    return Grid(f"{TITLES[items[0].part]}, {items[0].unit}", head, rows)


def summary(found: Iterable[Verdict]) -> Grid:
    """One row a bar; the mean is the geometric one."""
    rows = [
        [
            verdict.bar.work,
            verdict.bar.against + (", mean" if verdict.bar.rule == MEAN else ""),
            f"{'≤' if verdict.bar.cost else '≥'} {verdict.bar.bar:.2f}",
            _ratio(verdict.figure),
            verdict.word,
            verdict.where,
        ]
        for verdict in found
    ]
    return Grid(BARS_TITLE, ["work", "against", "bar", "figure", "", "lowest at"], rows)


def statements(items: Iterable[Item]) -> Grid:
    """What each contender was timed with, part by part."""
    seen = dict.fromkeys(
        (TITLES[item.part], name, f"`{code}`") for item in items for name, code in item.statements.items()
    )
    return Grid("What was timed", ["work", "contender", "statement"], [list(row) for row in sorted(seen)])


def remarks(results: PeerResults) -> Iterator[str]:
    """What could not be measured and why, and what is to be known about single figures."""
    for absent in results.absent:
        yield f"not measured: {absent.name}: {absent.reason}"
    noted: dict[tuple[str, str], list[str]] = {}
    for item in results.items:
        for name, note in item.notes.items():
            noted.setdefault((item.part, name), []).append(f"{item.name}: {note}")
    for (part, name), notes in noted.items():
        others = f", and likewise in {len(notes) - 1} more" if len(notes) > 1 else ""
        yield f"{TITLES[part]}: {name}: {notes[0]}{others}"
    for failure in results.failures:
        yield f"failed: {failure.name}: {failure.message}"
    if results.interrupted:
        yield "interrupted: the tables hold what was measured until then"


def _together(items: Iterable[Item]) -> list[list[Item]]:
    groups: dict[tuple[str, str], list[Item]] = {}
    for item in items:
        groups.setdefault((item.part, item.unit), []).append(item)
    return list(groups.values())


def _figure(item: Item, cost: float | None) -> str:
    """A cost in the item's unit."""
    if cost is None:
        return ""
    match item.unit:
        case "GFLOP/s" | "GB/s":
            return three_digits(item.amount / cost / 1e9)
        case "ns" | "ns/element":
            return three_digits(cost / item.amount * 1e9)
        case "MB":
            return three_digits(cost / 1e6)
    raise ValueError(f"unit is {item.unit!r}")


def _ratio(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.3f}" if ratio < 2 else three_digits(ratio)


def _terminal_table(grid: Grid) -> RenderableType:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(grid.head):
        if grid.title == BARS_TITLE:
            table.add_column(name, no_wrap=name not in ("work", "lowest at"))
        else:
            table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    for row in grid.rows:
        table.add_row(*map(Text, row), style="green" if "met" in row else "")
    return Group(Text(f"\n{grid.title}", style="bold"), table)


def _markdown_table(grid: Grid) -> str:
    lines = [f"## {grid.title}", "", _markdown_row(grid.head)]
    lines += [_markdown_row(["---"] * len(grid.head))]
    return "\n".join([*lines, *map(_markdown_row, grid.rows)])


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

"""A view as text: with colours for a terminal, without them for pipes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import NamedTuple

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .compare import Comparison
from .records import ARITHMETIC, KINDS, Listing, Loop, Measured, View
from .source import source_lines

STYLES = {
    **dict.fromkeys(ARITHMETIC, "bold green"),
    **dict.fromkeys(("compare", "convert", "logic"), "green"),
    **dict.fromkeys(("scalar", "branch", "prefetch", "comment"), "dim"),
    "special": "bold green",
    "barrier": "bold magenta",
    "shuffle": "magenta",
    "move": "cyan",
    "load": "blue",
    "store": "yellow",
    "spill": "bold red",
    "call": "red",
    "label": "bold",
}
"""Colours by the kind of a line."""

MACHINE = ("asm", "llvm", "ptx", "sass")
"""The languages whose lines are instructions, with a kind and a source line."""

WIDE = 110
"""Columns from which on two loops stand next to each other."""


class Row(NamedTuple):
    """A line of a listing as it is shown.

    place  its address, or its number
    about  the source line of an instruction, where it is another one than before; what became of a source line
    """

    place: str
    text: str
    kind: str
    about: str
    hot: bool


def rows_of(listing: Listing) -> list[Row]:
    """The lines of a listing; their marks, if only some of them are hot."""
    rows, before = [], None
    all_hot = all(line.hot for line in listing.lines)
    for n, line in enumerate(listing.lines):
        place, about = "", line.note
        if line.address is not None:
            place = f"{line.address:x}"
        elif listing.first is not None:
            place = str(listing.first + n)
        elif line.source is not None and line.kind != "comment" and listing.language not in MACHINE:
            place = str(line.source[1])
        if listing.language in MACHINE and line.source is not None and line.source != before:
            file, number = line.source
            code = source_lines(file)[number - 1 : number]
            about = "  ".join([f"{file.rpartition('/')[2]}:{number}", *(text.strip() for text in code)])
        before = line.source
        rows.append(Row(place, line.text, line.kind, about, line.hot and not all_hot))
    return rows


def show(view: View | Comparison, console: Console) -> None:
    """Print a view, or two compared, to a terminal or a file."""
    for part in _of_two(view, console.width) if isinstance(view, Comparison) else _of_view(view, console.width):
        console.print(part)


def text(view: View | Comparison, width: int = 160) -> str:
    """The same without colours: the same bytes for the same machine code, for pipes and diffs."""
    printed = io.StringIO()
    show(view, Console(file=printed, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def _of_view(view: View, width: int) -> list[RenderableType]:
    level = f" · {view.isa}" if view.isa else ""
    parts: list[RenderableType] = [Text(f"{view.operation} {view.impl}{level} · {view.dtype}", style="bold")]
    parts += [Text(view.headline)] if view.headline else []
    for listing in view.listings:
        parts += [Text(""), Text(listing.title, style="bold underline"), *map(Text, facts_of(listing))]
        parts.append(_lines(listing, width))
        if listing.loop is not None:
            parts += [Text(""), *map(Text, sums_of(listing.loop, listing.language))]
        parts += [Text(note, style="yellow") for note in listing.notes]
    if view.measured is not None:
        parts += [Text(""), Text(sentence_of(view.measured))]
    return parts


def _columns(*widths: int | None, gap: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=False)
    for width in widths:
        table.add_column(no_wrap=True, overflow="ellipsis", width=width)
    return table


def _lines(listing: Listing, width: int) -> Table:
    """Mark and address or number, the line, its kind, and its source line or its note as far as there is room."""
    machine = listing.language in MACHINE
    rows = [
        (("▌" if row.hot else "") + row.place, row.text, row.kind if machine else "", row.about, row.kind)
        for row in rows_of(listing)
    ]
    place, code, kind, about = (max((len(row[n]) for row in rows), default=0) for n in range(4))
    room = width - place - kind - 3
    about = max(0, min(about, room - min(code, 48)))
    widths = (place, max(8, min(code, room - about)), kind, about)
    table = _columns(*(width for width in widths if width))
    for *cells, name in rows:
        style = STYLES.get(name, "")
        styles = ("dim", style, style, "dim" if machine else "bold green")
        shown = zip(cells, styles, widths, strict=True)
        table.add_row(*(Text(cell, style) for cell, style, width in shown if width))
    return table


def facts_of(listing: Listing) -> list[str]:
    """A listing's facts as lines; the records among them are for readers of the JSON."""
    lines = [f"{name}: {value}" for name, value in listing.facts.items() if isinstance(value, str)]
    counted = listing.facts.get("instructions")
    if isinstance(counted, Mapping):
        where = "in the loop: " if listing.loop is not None else "in all: "
        lines.append(where + ", ".join(f"{n} {name}" for name, n in counted.items()))
    return lines


def sums_of(loop: Loop, language: str = "asm") -> list[str]:
    """The sums over a loop's instructions, in a few lines; the last one is its bound if that is known."""
    on_gpu = language in ("ptx", "sass")
    kinds = [f"{loop.counts[k]} {'FMA' if k == 'fma' else k}" for k in KINDS if k in loop.counts]
    width = f"{loop.vector_bits}-bit vectors" if loop.vector_bits else "scalar"
    if on_gpu:
        width = f"at most {max(one.vector_bits for one in loop.instructions)} bits an access"
    memory = [f"{loop.counts['loads']} read memory", f"{loop.counts['stores']} write it"]
    if loop.counts["spills"]:
        memory.append(f"{loop.counts['spills']} at the stack")
    chains = f", {loop.accumulators} accumulator{'s' * (loop.accumulators != 1)} in flight" if loop.accumulators else ""
    return [
        f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}",
        f"{', '.join(memory)}; {width}",
        f"{loop.flops} flops and {loop.bytes} bytes an iteration{' of a thread' if on_gpu else ''}{chains}",
        *([loop.bound.sentence] if loop.bound is not None else []),
    ]


def sentence_of(measured: Measured) -> str:
    """The measured speed, in the unit of its limit; flops as the operation's contract counts them."""
    rates = [f"{measured.flops_per_second / 1e9:.4g} GFLOP/s"] if measured.flops_per_second else []
    rates += [] if measured.limit == "peak flops" else [f"{measured.bytes_per_second / 1e9:.4g} GB/s"]
    share = f"{100 * measured.share:.3g} % of this machine's {measured.limit}"
    return f"Measured on {measured.workload}, one thread: {', '.join(rates)}: {share}."


def _of_two(both: Comparison, width: int) -> list[RenderableType]:
    """Two hot loops, next to each other if there is room, and their counts."""
    views = (both.left, both.right)
    left, right = (view.listings[0] for view in views)
    parts: list[RenderableType] = [Text(f"{both.left.operation}: {both.left.impl} and {both.right.impl}", style="bold")]
    if width < WIDE:
        for view, listing in zip(views, (left, right), strict=True):
            parts += [Text(""), Text(f"{view.impl}: {listing.title}", style="bold"), _lines(listing, width)]
    else:
        half = width // 2 - 2
        table = _columns(half, half, gap=2)
        table.add_row(*(Text(f"{view.impl}: {view.listings[0].title}", style="bold") for view in views))
        table.add_row(_lines(left, half), _lines(right, half))
        parts += [Text(""), table]
    counts = _columns(None, None, None, gap=2)
    counts.add_row("an iteration has", *(Text(view.impl, justify="right") for view in views))
    for row in both.rows:
        style = "" if row.left == row.right else "bold"
        counts.add_row(row.name, *(Text(figure(x), style, justify="right") for x in (row.left, row.right)))
    parts += [Text(""), counts, Text("")]
    for view, loop in zip(views, (left.loop, right.loop), strict=True):
        bound = [loop.bound.sentence] if loop and loop.bound else []
        measured = [sentence_of(view.measured)] if view.measured else []
        parts.append(Text(f"{view.impl}: {' '.join([*bound, *measured])}"))
    return parts


def figure(value: float | str) -> str:
    """A number of a comparison.

    >>> figure(192), figure(1.75), figure("FMA units")
    ('192', '1.75', 'FMA units')
    """
    return value if isinstance(value, str) else f"{value:.6g}"

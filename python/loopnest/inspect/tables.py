"""A view as text: with colours for a terminal, without them for pipes."""

from __future__ import annotations

import io
from collections.abc import Mapping

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from . import Comparison
from .records import ARITHMETIC, KINDS, Listing, Loop, View
from .source import source_lines

STYLES = {
    **dict.fromkeys((*ARITHMETIC, "special"), "bold green"),
    **dict.fromkeys(("compare", "convert", "logic"), "green"),
    **dict.fromkeys(("scalar", "branch", "prefetch", "comment"), "dim"),
    **dict.fromkeys(("shuffle", "barrier"), "magenta"),
    "label": "bold",
    "move": "cyan",
    "load": "blue",
    "store": "yellow",
    "spill": "bold red",
    "call": "red",
}
"""Styles by the kind of a line."""

MACHINE = ("asm", "ptx", "sass")
"""The languages whose lines are instructions, with a kind and a source line."""

WIDE = 110
"""Columns from which on two views stand next to each other."""


def show(shown: View | Comparison, console: Console) -> None:
    """Print a view, or two compared, to a terminal or a file."""
    if isinstance(shown, View):
        console.print(_view(shown, console.width))
        return
    views = (shown.left, shown.right)
    if console.width >= WIDE:
        table, half = Table.grid(padding=(0, 2), expand=True), console.width // 2 - 2
        table.add_row(*(_view(view, half) for view in views))
        console.print(table)
    else:
        console.print(*(_view(view, console.width) for view in views), sep="\n")
    counts = _columns(None, None, None, gap=2)
    counts.add_row("an iteration has", *(Text(view.impl, justify="right") for view in views))
    for name, both in shown.counts.items():
        style = "" if both[0] == both[1] else "bold"
        cells = (count if isinstance(count, str) else f"{count:.6g}" for count in both)
        counts.add_row(name, *(Text(cell, style, justify="right") for cell in cells))
    console.print("", counts, sep="\n")


def text(shown: View | Comparison, width: int = 160) -> str:
    """The same without colours: the same bytes for the same machine code, for pipes and diffs."""
    printed = io.StringIO()
    show(shown, Console(file=printed, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def _view(view: View, width: int) -> RenderableType:
    title = " · ".join(filter(None, (f"{view.operation} {view.impl}", view.isa, view.dtype)))
    parts: list[RenderableType] = [Text(title, "bold"), Text(view.headline)]
    for listing in view.listings:
        parts.append(Text(f"\n{listing.title}", "bold"))
        for name, value in listing.facts.items():
            if name == "instructions" and isinstance(value, Mapping):
                value = ", ".join(f"{n} {instruction}" for instruction, n in value.items())
            parts += [Text(f"{name}: {value}")] if isinstance(value, str) else []
        parts.append(_lines(listing, width))
        parts += [Text(line) for line in (sums_of(listing.loop) if listing.loop else ())]
        parts += [Text(note, "yellow") for note in listing.notes]
    return Group(*parts)


def _columns(*widths: int | None, gap: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=False)
    for width in widths:
        table.add_column(no_wrap=True, overflow="ellipsis", width=width)
    return table


def _lines(listing: Listing, width: int) -> Table:
    """The lines of a listing: place, text, kind, and as much of the source line as there is room for.

    A bar marks the hot lines, where others are not hot. A source line stands next to its first instruction.
    """
    rows, before, machine = [], None, listing.language in MACHINE
    marks = not all(line.hot for line in listing.lines)
    for n, line in enumerate(listing.lines):
        place, about = "", line.note
        if line.address is not None:
            place = f"{line.address:x}"
        elif listing.first is not None:
            place = str(listing.first + n)
        elif line.source is not None and line.kind != "comment" and not machine:
            place = str(line.source[1])
        if machine and line.source and line.source != before:
            file, number = line.source
            code = source_lines(file)[number - 1 : number]
            about = "  ".join([f"{file.rpartition('/')[2]}:{number}", *(text.strip() for text in code)])
        before = line.source
        rows.append((("▌" if line.hot and marks else "") + place, line.text, line.kind if machine else "", about))
    place_width, code_width, kind_width, about_width = (max((len(row[n]) for row in rows), default=0) for n in range(4))
    room = width - place_width - kind_width - 3
    about_width = max(0, min(about_width, room - min(code_width, 48)))
    widths = (place_width, max(8, min(code_width, room - about_width)), kind_width, about_width)
    table = _columns(*(width for width in widths if width))
    for cells, line in zip(rows, listing.lines, strict=True):
        style = STYLES.get(line.kind, "")
        styled = zip(cells, ("dim", style, style, "dim"), widths, strict=True)
        table.add_row(*(Text(cell, style) for cell, style, width in styled if width))
    return table


def sums_of(loop: Loop) -> list[str]:
    """The sums over a loop's instructions, in a few lines; the last one is its bound if that is known."""
    kinds = [f"{loop.counts[k]} {'FMA' if k == 'fma' else k}" for k in KINDS if k in loop.counts]
    width = f"{loop.vector_bits}-bit vectors" if loop.vector_bits else "scalar"
    stack = f", {loop.counts['spills']} at the stack" if loop.counts["spills"] else ""
    chains = f", {loop.accumulators} accumulator{'s' * (loop.accumulators != 1)} in flight" if loop.accumulators else ""
    return [
        f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}",
        f"{loop.counts['loads']} read memory, {loop.counts['stores']} write it{stack}; {width}",
        f"{loop.flops} flops and {loop.bytes} bytes an iteration{chains}",
        *([loop.bound.sentence] if loop.bound is not None else []),
    ]

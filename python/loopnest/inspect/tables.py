"""A view as text: with colours for a terminal, without them for pipes."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from ..output.notebook import WIDTH, shows
from ..output.text import counted
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


@shows(View)
def report(view: View, width: int = WIDTH) -> Iterator[RenderableType]:
    """What `loopnest inspect` prints, in lines of this width."""
    title = " · ".join(filter(None, (f"{view.operation} {view.impl}", view.isa, view.dtype)))
    yield Text(title, "bold")
    yield Text(view.headline)
    for listing in view.listings:
        yield Text(f"\n{listing.title}", "bold")
        for name, value in listing.facts.items():
            if name == "instructions" and isinstance(value, Mapping):
                value = ", ".join(f"{n} {instruction}" for instruction, n in value.items())
            if isinstance(value, str):
                yield Text(f"{name}: {value}")
        yield _lines(listing, width)
        for line in sums_of(listing.loop) if listing.loop else ():
            yield Text(line)
        for note in listing.notes:
            yield Text(note, "yellow")


def show(view: View, console: Console) -> None:
    """Print a view to a terminal or a file."""
    for part in report(view, console.width):
        console.print(part)


def show_in(view: View, console: Console) -> None:
    """Print a view to this terminal; in a pipe as `text`."""
    if console.is_terminal:
        show(view, console)
    else:
        print(text(view))


def text(view: View, width: int = 160) -> str:
    """The same without colours: the same bytes for the same machine code, for pipes and diffs."""
    printed = io.StringIO()
    show(view, Console(file=printed, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


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
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    for column in filter(None, widths):
        table.add_column(no_wrap=True, overflow="ellipsis", width=column)
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
    chains = f", {counted(loop.accumulators, 'accumulator')} in flight" if loop.accumulators else ""
    return [
        f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}",
        f"{loop.counts['loads']} read memory, {loop.counts['stores']} write it{stack}; {width}",
        f"{loop.flops} flops and {loop.bytes} bytes an iteration{chains}",
        *([loop.bound.sentence] if loop.bound is not None else []),
    ]

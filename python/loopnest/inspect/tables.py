"""A view as text: with colours for a terminal, without them for pipes. html.py makes a page of the same parts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from .compare import Comparison
from .records import ARITHMETIC, KINDS, Listing, Loop, Measured, View
from .source import source_lines

STYLES = {
    **dict.fromkeys((*ARITHMETIC, "special"), "bold green"),
    **dict.fromkeys(("compare", "convert", "logic"), "green"),
    **dict.fromkeys(("scalar", "branch", "prefetch", "comment"), "dim"),
    **dict.fromkeys(("shuffle", "barrier"), "magenta"),
    **dict.fromkeys(("label", "title", "listing"), "bold"),
    "move": "cyan",
    "load": "blue",
    "store": "yellow",
    "spill": "bold red",
    "call": "red",
    "note": "yellow",
}
"""Styles by the kind of a line of code, or of text."""

MACHINE = ("asm", "llvm", "ptx", "sass")
"""The languages whose lines are instructions, with a kind and a source line."""

WIDE = 110
"""Columns from which on two views stand next to each other."""


class Row(NamedTuple):
    """A line of a listing as it is shown.

    place  its address, or its number
    kind   of an instruction
    about  the source line of an instruction, where it is another one than before; what became of a source line
    hot    whether it is marked, if only some lines are hot
    """

    place: str
    text: str
    kind: str
    about: str
    hot: bool


def parts_of(view: View) -> Iterator[tuple[str, str] | Listing]:
    """What is shown of a view, in order: texts with their kind, and listings, whose lines are `rows_of`."""
    yield "title", " · ".join(filter(None, (f"{view.operation} {view.impl}", view.isa, view.dtype)))
    yield "", view.headline
    for listing in view.listings:
        yield "listing", listing.title
        yield from (("", f"{name}: {value}") for name, value in listing.facts.items() if isinstance(value, str))
        if isinstance(counted := listing.facts.get("instructions"), Mapping):
            where = "in the loop" if listing.loop is not None else "in all"
            yield "", f"{where}: {', '.join(f'{n} {name}' for name, n in counted.items())}"
        yield listing
        yield from (("", line) for line in (sums_of(listing.loop, listing.language) if listing.loop else ()))
        yield from (("note", note) for note in listing.notes)
    if view.measured is not None:
        yield "", sentence_of(view.measured)


def rows_of(listing: Listing) -> list[Row]:
    """The lines of a listing."""
    rows, before, machine = [], None, listing.language in MACHINE
    all_hot = all(line.hot for line in listing.lines)
    for n, line in enumerate(listing.lines):
        place, about = "", line.note
        if line.address is not None:
            place = f"{line.address:x}"
        elif listing.first is not None:
            place = str(listing.first + n)
        elif line.source is not None and line.kind != "comment" and not machine:
            place = str(line.source[1])
        if machine and line.source is not None and line.source != before:
            file, number = line.source
            code = source_lines(file)[number - 1 : number]
            about = "  ".join([f"{file.rpartition('/')[2]}:{number}", *(text.strip() for text in code)])
        before = line.source
        rows.append(Row(place, line.text, line.kind if machine else "", about, line.hot and not all_hot))
    return rows


def show(shown: View | Comparison, console: Console) -> None:
    """Print a view, or two compared, to a terminal or a file."""
    if isinstance(shown, View):
        console.print(_view(shown, console.width))
        return
    views = (shown.left, shown.right)
    if console.width >= WIDE:
        table, half = _columns(None, None, gap=2), console.width // 2 - 2
        table.add_row(*(_view(view, half) for view in views))
        console.print(table)
    else:
        console.print(*(_view(view, console.width) for view in views), sep="\n")
    counts = _columns(None, None, None, gap=2)
    counts.add_row("an iteration has", *(Text(view.impl, justify="right") for view in views))
    for name, both in shown.counts.items():
        style = "" if both[0] == both[1] else "bold"
        counts.add_row(name, *(Text(figure(count), style, justify="right") for count in both))
    console.print("", counts, sep="\n")


def text(shown: View | Comparison, width: int = 160) -> str:
    """The same without colours: the same bytes for the same machine code, for pipes and diffs."""
    printed = io.StringIO()
    show(shown, Console(file=printed, width=width, color_system=None))
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def _view(view: View, width: int) -> RenderableType:
    parts: list[RenderableType] = []
    for part in parts_of(view):
        if isinstance(part, Listing):
            parts.append(_lines(part, width))
        else:
            kind, words = part
            parts += [Text(f"\n{words}" if kind == "listing" else words, STYLES.get(kind, ""))] if words else []
    return Group(*parts)


def _columns(*widths: int | None, gap: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=False)
    for width in widths:
        table.add_column(no_wrap=True, overflow="ellipsis", width=width)
    return table


def _lines(listing: Listing, width: int) -> Table:
    """The lines of a listing; of the source line, or the note, as much as there is room for."""
    rows = [(("▌" if row.hot else "") + row.place, row.text, row.kind, row.about) for row in rows_of(listing)]
    place, code, kind, about = (max((len(row[n]) for row in rows), default=0) for n in range(4))
    room = width - place - kind - 3
    about = max(0, min(about, room - min(code, 48)))
    widths = (place, max(8, min(code, room - about)), kind, about)
    table = _columns(*(width for width in widths if width))
    for cells, line in zip(rows, listing.lines, strict=True):
        style = STYLES.get(line.kind, "")
        styled = zip(cells, ("dim", style, style, "dim"), widths, strict=True)
        table.add_row(*(Text(cell, style) for cell, style, width in styled if width))
    return table


def sums_of(loop: Loop, language: str = "asm") -> list[str]:
    """The sums over a loop's instructions, in a few lines; the last one is its bound if that is known."""
    on_gpu = language in ("ptx", "sass")
    kinds = [f"{loop.counts[k]} {'FMA' if k == 'fma' else k}" for k in KINDS if k in loop.counts]
    width = f"{loop.vector_bits}-bit vectors" if loop.vector_bits else "scalar"
    if on_gpu:
        width = f"at most {max(one.vector_bits for one in loop.instructions)} bits an access"
    stack = f", {loop.counts['spills']} at the stack" if loop.counts["spills"] else ""
    chains = f", {loop.accumulators} accumulator{'s' * (loop.accumulators != 1)} in flight" if loop.accumulators else ""
    return [
        f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}",
        f"{loop.counts['loads']} read memory, {loop.counts['stores']} write it{stack}; {width}",
        f"{loop.flops} flops and {loop.bytes} bytes an iteration{' of a thread' if on_gpu else ''}{chains}",
        *([loop.bound.sentence] if loop.bound is not None else []),
    ]


def sentence_of(measured: Measured) -> str:
    """The measured speed, in the unit of its limit; flops as the operation's contract counts them."""
    rates = [f"{measured.flops_per_second / 1e9:.4g} GFLOP/s"] if measured.flops_per_second else []
    rates += [] if measured.limit == "peak flops" else [f"{measured.bytes_per_second / 1e9:.4g} GB/s"]
    share = f"{100 * measured.share:.3g} % of this machine's {measured.limit}"
    return f"Measured on {measured.workload}, one thread: {', '.join(rates)}: {share}."


def figure(value: float | str) -> str:
    """A number of a comparison.

    >>> figure(192), figure(1.75), figure("FMA units")
    ('192', '1.75', 'FMA units')
    """
    return value if isinstance(value, str) else f"{value:.6g}"

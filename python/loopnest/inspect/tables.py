"""A view as text: with colours and two columns for a wide terminal, without them for pipes."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from .compare import Comparison
from .records import ARITHMETIC, KINDS, Line, Listing, Loop, Measured, SourceLine, View
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
"""Columns from which on source text stands next to the machine code, and two loops next to each other."""


def show(view: View | Comparison, console: Console) -> None:
    """Print a view, or two compared, to a terminal or a file."""
    width = console.width
    for part in _of_two(view, width) if isinstance(view, Comparison) else _of_view(view, width):
        console.print(part)


def text(view: View | Comparison, width: int = 160) -> str:
    """The same without colours: the same bytes for the same machine code, for pipes and diffs."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    show(view, console)
    printed = console.file
    assert isinstance(printed, io.StringIO)
    return "\n".join(line.rstrip() for line in printed.getvalue().splitlines())


def _of_view(view: View, width: int) -> list[RenderableType]:
    level = f" · {view.isa}" if view.isa else ""
    parts: list[RenderableType] = [Text(f"{view.operation} {view.impl}{level} · {view.dtype}", style="bold")]
    parts += [Text(view.headline)] if view.headline else []
    parts += [Text(note, style="yellow") for note in view.notes]
    for listing in view.listings:
        parts += [Text(""), Text(listing.title, style="bold underline"), *map(Text, facts_of(listing))]
        parts.append(_machine_code(listing, width) if listing.language in MACHINE else _source(listing))
        if listing.loop is not None:
            parts += [Text(""), *map(Text, sums_of(listing.loop, listing.language))]
        parts += [Text(note, style="yellow") for note in listing.notes]
    if view.measured is not None:
        parts += [Text(""), Text(sentence_of(view.measured))]
    return parts


def _columns(count: int, gap: int = 1) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), show_header=False)
    for _ in range(count):
        table.add_column(no_wrap=True, overflow="ellipsis")
    return table


def _source(listing: Listing) -> Table:
    """Text in another language: line numbers, an editor's colours, and below a line what became of it."""
    from rich.syntax import Syntax

    table = _columns(1)
    table.columns[0].justify = "right"
    table.add_column(overflow="fold")
    lexer = {"cpp": "cpp", "cuda": "cuda", "python": "python"}.get(listing.language)
    colours = Syntax("", lexer, theme="ansi_dark", background_color="default") if lexer else None
    for n, line in enumerate(listing.lines):
        if line.kind or colours is None or not line.text.strip():
            code = Text(line.text, style=STYLES.get(line.kind, ""))
        else:
            code = colours.highlight(line.text)
            code.rstrip()
            code.no_wrap = False
        table.add_row(Text(number_of(listing, n), "dim"), code)
        if line.note:
            indent = len(line.text) - len(line.text.lstrip())
            table.add_row("", Text(f"{' ' * indent}↳ {line.note}", style="bold green"))
    return table


def number_of(listing: Listing, n: int) -> str:
    """The number of a line, if it has one."""
    line = listing.lines[n]
    if listing.first is not None:
        return str(listing.first + n)
    return str(line.source[1]) if line.source is not None and line.kind != "comment" else ""


def _machine_code(listing: Listing, width: int) -> Table:
    """A mark at the hot loop, the address, the instruction, its kind and its source line: the text too if it fits."""
    all_hot = all(line.hot for line in listing.lines)
    rows, before = [], None
    for line in listing.lines:
        mark = "" if all_hot else "▌" if line.hot else " "
        place = f"{line.address:x}" if line.address is not None else ""
        source = "" if line.source == before else _source_text(line.source, width >= WIDE)
        rows.append((mark + place, line.text, line.kind, source))
        before = line.source
    widths = [max(map(len, column), default=0) for column in zip(*rows, strict=True)] or [0] * 4
    room = width - widths[0] - widths[2] - 3
    widths[3] = max(0, min(widths[3], room - min(widths[1], 48)))
    widths[1] = max(8, min(widths[1], room - widths[3]))
    table = _columns(4)
    for column, size in zip(table.columns, widths, strict=True):
        column.width = size
    for place, code, kind, source in rows:
        style = STYLES.get(kind, "")
        table.add_row(Text(place, "dim"), Text(code, style), Text(kind, style), Text(source, "dim"))
    return table


def _source_text(source: SourceLine | None, with_text: bool) -> str:
    if source is None:
        return ""
    file, number = source
    lines = source_lines(file) if with_text else ()
    code = f"  {lines[number - 1].strip()}" if 0 < number <= len(lines) else ""
    return f"{file.rpartition('/')[2]}:{number}{code}"


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
    each = " of a thread" if on_gpu else ""
    return [
        f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}",
        f"{', '.join(memory)}; {width}",
        f"{loop.flops} flops and {loop.bytes} bytes an iteration{each}{chains}",
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
    sides = [(view, view.listings[0]) for view in (both.left, both.right)]
    parts: list[RenderableType] = [
        Text(f"{both.left.operation}: {both.left.impl} and {both.right.impl}", style="bold"),
        Text(""),
    ]
    if width < WIDE:
        for view, listing in sides:
            parts += [Text(view.impl, style="bold"), Text(listing.title, style="underline")]
            parts += [_machine_code(listing, width), Text("")]
    else:
        table = _columns(2, gap=2)
        table.width = width
        for column in table.columns:
            column.ratio = 1
        table.add_row(*(Text(view.impl, style="bold") for view, _ in sides))
        table.add_row(*(Text(listing.title, style="underline") for _, listing in sides))
        for n in range(max(len(listing.lines) for _, listing in sides)):
            table.add_row(*(_instruction(listing.lines[n : n + 1]) for _, listing in sides))
        parts += [table, Text("")]
    counts = _columns(3, gap=2)
    counts.add_row("an iteration has", *(Text(view.impl, justify="right") for view, _ in sides))
    for row in both.rows:
        style = "" if row.left == row.right else "bold"
        counts.add_row(row.name, *(Text(figure(x), style, justify="right") for x in (row.left, row.right)))
    parts += [counts, Text("")]
    for view, listing in sides:
        bound = [listing.loop.bound.sentence] if listing.loop and listing.loop.bound else []
        measured = [sentence_of(view.measured)] if view.measured else []
        parts.append(Text(f"{view.impl}: {' '.join([*bound, *measured])}"))
    return parts


def _instruction(line: Sequence[Line]) -> Text:
    return Text(line[0].text, style=STYLES.get(line[0].kind, "")) if line else Text("")


def figure(value: float | str) -> str:
    """A number of a comparison.

    >>> figure(192), figure(1.75), figure("FMA units")
    ('192', '1.75', 'FMA units')
    """
    return value if isinstance(value, str) else f"{value:.6g}"

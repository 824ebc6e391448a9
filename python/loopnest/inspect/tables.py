"""A view as text: for the terminal with colours, side by side where it is wide enough; plain for pipes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ..backends.cpp import csrc
from .compare import Comparison
from .gpu_code import PACKAGE
from .records import ARITHMETIC, Line, Listing, Loop, Measured, SourceLine, View

STYLES = {
    **dict.fromkeys(ARITHMETIC, "bold green"),
    "compare": "green",
    "convert": "green",
    "logic": "green",
    "special": "bold green",
    "barrier": "bold magenta",
    "shuffle": "magenta",
    "move": "cyan",
    "load": "blue",
    "store": "yellow",
    "spill": "bold red",
    "prefetch": "dim",
    "scalar": "dim",
    "branch": "dim",
    "call": "red",
    "label": "bold",
    "comment": "dim",
}
"""Colours by the kind of a line."""

MACHINE = ("asm", "llvm", "ptx", "sass")
"""The languages of which a line is an instruction, of a kind and from a source line."""

BESIDE = 110
"""Columns from which on the source stands beside the machine code, and two loops beside each other."""


def report(view: View, width: int) -> list[Text | Table]:
    """The view, part by part."""
    level = f" · {view.isa}" if view.isa else ""
    parts: list[Text | Table] = [Text(f"{view.operation} {view.impl}{level} · {view.dtype}", style="bold")]
    parts += [Text(view.headline)] if view.headline else []
    parts += [Text(note, style="yellow") for note in view.notes]
    for listing in view.listings:
        parts += [Text(""), *of_listing(listing, width)]
    if view.measured is not None:
        parts += [Text(""), Text(sentence_of(view.measured))]
    return parts


def of_listing(listing: Listing, width: int) -> list[Text | Table]:
    """A listing: its title, its lines, what they add up to, and its notes."""
    parts: list[Text | Table] = [Text(listing.title, style="bold underline")]
    parts += [Text(fact) for fact in facts_of(listing)]
    parts.append(_code(listing, width) if listing.language in MACHINE else _plain(listing))
    if listing.loop is not None:
        parts += [Text(""), *(Text(line) for line in told_of(listing.loop, listing.language))]
    parts += [Text(note, style="yellow") for note in listing.notes]
    return parts


def _plain(listing: Listing) -> Table:
    """Text in another language: numbers where its lines have some, what became of each, and colours as an editor's."""
    from rich.syntax import Syntax

    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    numbers = [number_of(listing, n) for n in range(len(listing.lines))]
    numbered = any(numbers)
    if numbered:
        table.add_column(justify="right", no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    lexer = {"cpp": "cpp", "cuda": "cuda", "python": "python"}.get(listing.language)
    colours = Syntax("", lexer, theme="ansi_dark", background_color="default") if lexer else None
    for number, line in zip(numbers, listing.lines, strict=True):
        if line.kind or colours is None or not line.text.strip():
            text = Text(line.text, style=STYLES.get(line.kind, ""))
        else:
            text = colours.highlight(line.text)
            text.rstrip()
            text.no_wrap = False
        table.add_row(*([number] if numbered else []), text)
        if line.note:
            indent = len(line.text) - len(line.text.lstrip())
            table.add_row(*([""] if numbered else []), Text(f"{' ' * indent}↳ {line.note}", style="bold green"))
    return table


def number_of(listing: Listing, n: int) -> str:
    """The number of a line, where it has one."""
    line = listing.lines[n]
    if listing.first is not None:
        return str(listing.first + n)
    return str(line.source[1]) if line.source is not None and line.kind != "comment" else ""


def _code(listing: Listing, width: int) -> Table:
    """Machine code: a mark at the hot loop, the instruction, its kind, and its source line: the number, or the text too
    where there is room."""
    all_hot = all(line.hot for line in listing.lines)
    marks = ["" if all_hot else "▌" if line.hot else " " for line in listing.lines]
    places = [f"{line.address:x}" if line.address is not None else "" for line in listing.lines]
    befores = [None, *(line.source for line in listing.lines)]
    told = [
        "" if line.source == before else _source_text(line.source) if width >= BESIDE else _place(line.source)
        for line, before in zip(listing.lines, befores, strict=False)
    ]
    columns = [
        [mark + place for mark, place in zip(marks, places, strict=True)],
        [line.text for line in listing.lines],
        [line.kind for line in listing.lines],
        told,
    ]
    needed = [max(map(len, column), default=0) for column in columns]
    needed[3] = max(0, min(needed[3], width - needed[0] - needed[2] - min(needed[1], 48) - 3))
    needed[1] = max(8, min(needed[1], width - needed[0] - needed[2] - needed[3] - 3))
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    for size in needed:
        table.add_column(no_wrap=True, overflow="ellipsis", width=size)
    for place, text, kind, source in zip(*columns, strict=True):
        style = STYLES.get(kind, "")
        table.add_row(Text(place, "dim"), Text(text, style), Text(kind, style), Text(source, "dim"))
    return table


def _place(source: SourceLine | None) -> str:
    return f"{source[0].rpartition('/')[2]}:{source[1]}" if source is not None else ""


def _source_text(source: SourceLine | None) -> str:
    if source is None:
        return ""
    file, number = source
    lines = source_lines(file)
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"{_place(source)}  {text}"


def source_path(name: str) -> Path:
    """Where the project's own file lies: below csrc/, or the package's."""
    return PACKAGE.parent / name if name.startswith(PACKAGE.name + "/") else csrc() / name


@functools.cache
def source_lines(name: str) -> Sequence[str]:
    """The file of a SourceLine, line by line; empty where it is not here."""
    path = Path(name) if name.startswith("/") else source_path(name)
    return path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ()


def facts_of(listing: Listing) -> list[str]:
    """A listing's facts as lines, without the records among them, which are for who reads the JSON."""
    lines = [f"{name}: {value}" for name, value in listing.facts.items() if not isinstance(value, Mapping)]
    counted = listing.facts.get("instructions")
    if isinstance(counted, Mapping):
        lines.append("in the loop: " + ", ".join(f"{n} {name}" for name, n in counted.items()))
    return lines


def told_of(loop: Loop, language: str = "asm") -> list[str]:
    """What a loop's instructions add up to, in a few lines."""
    on_gpu = language in ("ptx", "sass")
    named = {"fma": "FMA"}
    kinds = [f"{n} {named.get(k, k)}" for k, n in loop.counts.items() if k not in ("loads", "stores", "spills")]
    width = f"{loop.vector_bits}-bit vectors" if loop.vector_bits else "scalar"
    width = f"{loop.vector_bits} bits at most in an access" if on_gpu else width
    lines = [f"{len(loop.instructions)} instructions an iteration: {', '.join(kinds)}"]
    memory = [f"{loop.counts['loads']} read memory", f"{loop.counts['stores']} write it"]
    if loop.counts["spills"]:
        memory.append(f"{loop.counts['spills']} at the stack")
    lines.append(f"{', '.join(memory)}; {width}")
    chains = f", {loop.accumulators} accumulator{'s' * (loop.accumulators != 1)} in flight" if loop.accumulators else ""
    each = " of a thread" if on_gpu else ""
    lines.append(f"{loop.flops} flops and {loop.bytes} bytes an iteration{each}{chains}")
    if loop.bound is not None:
        lines.append(loop.bound.sentence)
    return lines


def sentence_of(measured: Measured) -> str:
    """How fast it was, in the unit of its limit; flops as the operation's contract counts them."""
    by_flops = measured.limit == "peak flops"
    rates = [
        *([f"{measured.flops_per_second / 1e9:.4g} GFLOP/s"] if measured.flops_per_second else []),
        *([] if by_flops else [f"{measured.bytes_per_second / 1e9:.4g} GB/s"]),
    ]
    share = f"{100 * measured.share:.3g} % of this machine's {measured.limit}"
    return f"Measured on {measured.workload}, one thread: {', '.join(rates)}: {share}."


def plain(view: View) -> Iterable[str]:
    """The view without colours and tables: the same bytes for the same machine code, for pipes and diffs."""
    level = f" {view.isa}" if view.isa else ""
    yield f"{view.operation} {view.impl}{level} {view.dtype}"
    yield from ([view.headline] if view.headline else [])
    yield from view.notes
    for listing in view.listings:
        yield ""
        yield listing.title
        yield from facts_of(listing)
        yield from (_plain_line(listing, line, n) for n, line in enumerate(listing.lines))
        if listing.loop is not None:
            yield ""
            yield from told_of(listing.loop, listing.language)
        yield from listing.notes
    if view.measured is not None:
        yield ""
        yield sentence_of(view.measured)


def _plain_line(listing: Listing, line: Line, n: int) -> str:
    if listing.language not in MACHINE:
        number = number_of(listing, n)
        return "\t".join([*([number] if number else []), line.text, *([line.note] if line.note else [])])
    source = f"{line.source[0]}:{line.source[1]}" if line.source else ""
    mark = "*" if line.hot else ""
    place = f"{line.address:x}" if line.address is not None else ""
    return f"{place}\t{mark}\t{line.kind}\t{line.text}\t{source}".rstrip()


def report_of_two(both: Comparison, width: int) -> list[Text | Table]:
    """Two hot loops: beside each other where it is wide enough, else one below the other; and what they count."""
    parts: list[Text | Table] = [Text(f"{both.left.operation}: {both.left.impl} and {both.right.impl}", style="bold")]
    left, right = both.left.listings[0], both.right.listings[0]
    if width < BESIDE:
        for view, listing in ((both.left, left), (both.right, right)):
            parts += [Text(""), Text(view.impl, style="bold"), Text(listing.title, style="underline")]
            parts.append(_code(listing, width))
    else:
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for view in (both.left, both.right):
            table.add_column(view.impl, no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_row(Text(left.title, style="underline"), Text(right.title, style="underline"))
        for n in range(max(len(left.lines), len(right.lines))):
            table.add_row(*(_instruction(listing.lines[n : n + 1]) for listing in (left, right)))
        table.width = width
        parts += [Text(""), table]
    parts += [Text(""), _counted(both)]
    for view, listing in ((both.left, left), (both.right, right)):
        bound = [listing.loop.bound.sentence] if listing.loop and listing.loop.bound else []
        measured = [sentence_of(view.measured)] if view.measured else []
        parts += [Text(f"{view.impl}: {' '.join([*bound, *measured])}")]
    return parts


def _instruction(line: Sequence[Line]) -> Text:
    return Text(line[0].text, style=STYLES.get(line[0].kind, "")) if line else Text("")


def _counted(both: Comparison) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("an iteration has")
    for view in (both.left, both.right):
        table.add_column(view.impl, justify="right", no_wrap=True)
    for row in both.rows:
        differs = "" if row.left == row.right else "bold"
        table.add_row(row.name, Text(_figure(row.left), differs), Text(_figure(row.right), differs))
    return table


def _figure(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"


def plain_of_two(both: Comparison) -> Iterable[str]:
    """The same for pipes: a loop, the other, and the counts, with tabs between."""
    for view in (both.left, both.right):
        yield from plain(view)
        yield ""
    yield f"an iteration has\t{both.left.impl}\t{both.right.impl}"
    yield from (f"{row.name}\t{_figure(row.left)}\t{_figure(row.right)}" for row in both.rows)

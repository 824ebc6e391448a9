"""A view as text: for the terminal with colours, side by side where it is wide enough; plain for pipes."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from rich.table import Table
from rich.text import Text

from ...cpp import csrc
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


def _plain(listing: Listing) -> Text:
    """Lines as they are, with their numbers where they have some."""
    text = Text(no_wrap=False)
    digits = len(str((listing.first or 0) + len(listing.lines)))
    for n, line in enumerate(listing.lines):
        if listing.first is not None:
            text.append(f"{listing.first + n:{digits}} ", style="dim")
        text.append(line.text + "\n", style=STYLES.get(line.kind, "bold" if line.hot else ""))
    text.right_crop(1)
    return text


def _code(listing: Listing, width: int) -> Table:
    """Machine code: a mark at the hot loop, the instruction, its kind, and where there is room its source line."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), show_header=False)
    all_hot = all(line.hot for line in listing.lines)
    for _ in range(3):
        table.add_column(no_wrap=True)
    sources = any(line.source for line in listing.lines) and width >= BESIDE
    if sources:
        table.add_column(no_wrap=True, overflow="ellipsis")
    before: SourceLine | None = None
    for line in listing.lines:
        mark = "" if all_hot else "▌" if line.hot else " "
        place = f"{line.address:x}" if line.address is not None else ""
        row = [Text(f"{mark}{place}", style="dim"), Text(line.text, style=STYLES.get(line.kind, ""))]
        row.append(Text(line.kind, style=STYLES.get(line.kind, "")))
        if sources:
            row.append(Text("" if line.source == before else _source_text(line.source)))
        before = line.source
        table.add_row(*row)
    return table


def _source_text(source: SourceLine | None) -> str:
    if source is None:
        return ""
    file, number = source
    lines = source_lines(file)
    text = lines[number - 1].strip() if 0 < number <= len(lines) else ""
    return f"{file.rpartition('/')[2]}:{number}  {text}"


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
    rate = (
        f"{measured.flops_per_second / 1e9:.4g} GFLOP/s"
        if measured.flops_per_second
        else f"{measured.bytes_per_second / 1e9:.4g} GB/s"
    )
    return f"Measured on {measured.workload}: {rate}, {100 * measured.share:.0f} % of this machine's {measured.limit}."


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
        return f"{listing.first + n}\t{line.text}" if listing.first is not None else line.text
    source = f"{line.source[0]}:{line.source[1]}" if line.source else ""
    mark = "*" if line.hot else ""
    place = f"{line.address:x}" if line.address is not None else ""
    return f"{place}\t{mark}\t{line.kind}\t{line.text}\t{source}".rstrip()

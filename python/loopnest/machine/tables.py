"""The machine card for the terminal: `loopnest machine`."""

from __future__ import annotations

from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..output.text import duration, three_digits
from .card import FMA, KINDS, MachineCard
from .roofline import roofline_text

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512, "neon": 128}
"""Of a register, by ISA level."""


def report(card: MachineCard, width: int) -> Iterator[RenderableType]:
    """All that the command prints, one renderable after another.

    width  of the terminal, in characters
    """
    yield about(card)
    yield peaks(card)
    yield levels(card)
    for warning in card.warnings:
        yield Text(f"\nwarning: {warning}", style="yellow")
    yield Text()
    yield Text(roofline_text(card, width=min(width, 120)), no_wrap=True)


def about(card: MachineCard) -> RenderableType:
    """What it is, and what holds for all of its figures."""
    facts = {
        "processor": f"{card.cpu}, {card.cores} {'processor' if card.cores == 1 else 'processors'}, {card.system}",
        "ISA levels": ", ".join(f"{level} ({_vector(level)})" for level in card.isa_levels),
        "clock": f"{card.clock / 1e9:.2f} GHz, measured",
        "noise": f"a fixed piece of work takes {card.noise:.1%} longer than at best in a tenth of its runs",
        "timer": f"steps of {duration(card.timer)}",
        "a call": f"{duration(card.call)} of ln.matmul beside its work",
        "threads": ", ".join(map(str, card.pools)),
        "measured": f"{card.measured}, loopnest {card.version}",
    }
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    for name, fact in facts.items():
        table.add_row(name, Text(fact))
    return table


def _vector(level: str) -> str:
    return f"{VECTOR_BITS[level]}-bit vectors" if level in VECTOR_BITS else "the compiler's vectors"


def peaks(card: MachineCard) -> RenderableType:
    """GFLOP/s of multiply-adds in registers, by ISA level, dtype and threads, and flops in a cycle."""
    counts = sorted({peak.threads for peak in card.peaks})
    dtypes = list(dict.fromkeys(peak.dtype for peak in card.peaks))
    table = _table("ISA", *(f"{dtype}{_by(count)}" for count in counts for dtype in dtypes), "flops/cycle")
    for level in card.isa_levels:
        rates = [card.peak(dtype, count, level) for count in counts for dtype in dtypes]
        a_cycle = "/".join(f"{card.peak(dtype, 1, level) / card.clock:.3g}" for dtype in dtypes)
        table.add_row(level, *(three_digits(rate / 1e9) for rate in rates), a_cycle)
    cycles = f"{card.latency(FMA) * card.clock:.1f} cycles"
    note = f"A multiply-add, of two flops, takes {duration(card.latency(FMA))} ({cycles}) until its result can be used."
    return Group(Text("\nPeak, GFLOP/s: multiply-adds in registers", style="bold"), table, Text(note, style="dim"))


def levels(card: MachineCard) -> RenderableType:
    """GB/s and latency of each cache and of memory."""
    counts = sorted({b.threads for b in card.bandwidths})
    columns = [f"{kind}{_by(count)}" for count in counts for kind in KINDS]
    table = _table("level", "size", *columns, "latency", "cycles")
    sizes = {cache.name: cache for cache in card.caches}
    for level in card.levels():
        cache, latency = sizes.get(level), card.latency(level)
        rates = [card.bandwidth(level, kind, count) for count in counts for kind in KINDS]
        size = _size(cache.size) + ("*" if cache.shared else "") if cache else ""
        figures = [three_digits(rate / 1e9) for rate in rates]
        table.add_row(level, size, *figures, duration(latency), f"{latency * card.clock:.0f}")
    ways = ", ".join(f"{c.name} {c.ways}" for c in card.caches if c.ways)
    lines = "/".join(map(str, sorted({c.line for c in card.caches if c.line})))
    notes = [f"Lines of {lines} bytes." if lines else "", f"Ways: {ways}." if ways else ""]
    notes += ["* shared with other cores."] if any(cache.shared for cache in card.caches) else []
    return Group(
        Text("\nBandwidth, GB/s: bytes read and written", style="bold"),
        table,
        Text(" ".join(filter(None, notes)), style="dim"),
    )


def _table(*head: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    return table


def _by(threads: int) -> str:
    return "" if threads == 1 else f" ×{threads}"


def _size(size: int) -> str:
    return f"{size >> 20} MiB" if size >= 1 << 20 and size % (1 << 20) == 0 else f"{size >> 10} KiB"

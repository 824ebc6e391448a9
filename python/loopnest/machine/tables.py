"""The machine card for the terminal: `loopnest machine`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..output.text import duration, three_digits
from .records import FMA, KINDS, MachineCard
from .roofline import roofline

VECTOR_BITS = {"v1": 128, "v3": 256, "v4": 512, "neon": 128}
"""Of a register, by ISA level."""


def report(card: MachineCard) -> Iterator[RenderableType]:
    """All that the command prints, one renderable after another."""
    yield about(card)
    yield peaks(card)
    yield levels(card)
    yield roofline_table(card)
    for warning in card.warnings:
        yield Text(f"\nwarning: {warning}", style="yellow")


def about(card: MachineCard) -> RenderableType:
    """What it is, and what holds for all of its figures."""
    facts = {
        "processor": f"{card.cpu}, {card.cores} {'processor' if card.cores == 1 else 'processors'}, {card.system}",
        "ISA levels": ", ".join(f"{level} ({_vector(level)})" for level in card.isa_levels),
        "clock": f"{card.clock / 1e9:.2f} GHz, measured",
        "noise": f"a fixed piece of work takes {card.noise:.1%} longer than at best in a tenth of its runs",
        "timer": f"steps of {duration(card.timer)}",
        "a call": f"{duration(card.call)} of ln.matmul without its work",
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
    return _part("Peak, GFLOP/s: multiply-adds in registers", table, note)


def levels(card: MachineCard) -> RenderableType:
    """GB/s and latency of each cache and of memory."""
    counts = sorted({b.threads for b in card.bandwidths})
    table = _table("level", "size", *(f"{k}{_by(n)}" for n in counts for k in KINDS), "latency", "cycles")
    sizes = {cache.name: cache for cache in card.caches}
    for level in card.levels():
        cache, latency = sizes.get(level), card.latency(level)
        rates = [card.bandwidth(level, kind, count) for count in counts for kind in KINDS]
        size = cache.size_as_text + ("*" if cache.shared else "") if cache else ""
        figures = [three_digits(rate / 1e9) for rate in rates]
        table.add_row(level, size, *figures, duration(latency), f"{latency * card.clock:.0f}")
    ways = ", ".join(f"{c.name} {c.ways}" for c in card.caches if c.ways)
    lines = "/".join(map(str, sorted({c.line for c in card.caches if c.line})))
    notes = [f"Lines of {lines} bytes." if lines else "", f"Ways: {ways}." if ways else ""]
    notes += ["* shared with other cores."] if any(cache.shared for cache in card.caches) else []
    return _part("Bandwidth, GB/s: bytes read and written", table, " ".join(filter(None, notes)))


def roofline_table(card: MachineCard, points: Iterable[Sequence[Any]] = (), **which: Any) -> RenderableType:
    """The roofline: its roofs and ceilings, and points with their share of their limit. Arguments as for `roofline`."""
    line = roofline(card, points, **which)
    table = _table("", "GFLOP/s", "flops/byte", "of its limit")
    table.add_row("peak", three_digits(line.peak / 1e9), "", "")
    for ceiling in reversed(line.ceilings):
        table.add_row(ceiling.label, three_digits(ceiling.flops / 1e9), "", "")
    for roof in line.roofs:
        slope = f"{three_digits(roof.bandwidth / 1e9)} × flops/byte"
        table.add_row(f"from {roof.level}", slope, f"up to {three_digits(roof.ridge)}", "")
    for point, share in zip(line.points, line.shares, strict=True):
        rate, intensity = three_digits(point.rate / 1e9), three_digits(point.intensity)
        table.add_row(Text(point.label), rate, intensity, f"{share:.1%}")
    note = "Below a level's flops/byte its bandwidth decides; above, the peak."
    return _part(f"Roofline: {line.label}", table, note)


def _part(title: str, table: Table, note: str) -> RenderableType:
    return Group(Text(f"\n{title}", style="bold"), table, Text(note, style="dim"))


def _table(*head: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    for number, name in enumerate(head):
        table.add_column(name, justify="right" if number else "left", no_wrap=not number)
    return table


def _by(threads: int) -> str:
    return "" if threads == 1 else f" ×{threads}"

"""The machine card as tables: for the terminal (`loopnest machine`), and for the report's page."""

import functools
from collections.abc import Iterator

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ..output.tables import Sheet
from ..output.text import counted, duration, three_digits
from .records import FMA, KINDS, MachineCard


def report(card: MachineCard) -> Iterator[RenderableType]:
    """All that the command prints, one renderable after another."""
    for sheet in sheets(card):
        wide = bool(sheet.headings)
        table = Table(box=box.SIMPLE_HEAD if wide else None, show_header=wide, show_edge=False, pad_edge=False,
                      padding=(0, 1 if wide else 2, 0, 0))  # fmt: skip
        for number, heading in enumerate(sheet.headings or ("", "")):
            table.add_column(heading, justify="right" if number and wide else "left", no_wrap=not number)
        for row in sheet.rows:
            table.add_row(*map(Text, row))
        notes = [Text(" ".join(sheet.notes), style="dim")] if sheet.notes else []
        yield Group(Text(sheet.title, style="bold"), table, *notes, Text())
    for warning in card.warnings:
        yield Text(f"warning: {warning}", style="yellow")


def sheets(card: MachineCard) -> list[Sheet]:
    """All tables of a card."""
    if card.is_gpu:
        return [_gpu(card)]
    facts = {
        "processor": f"{card.cpu}, {counted(card.cores, 'processor')}, {card.system}",
        "ISA levels": ", ".join(card.isa_levels),
        "clock": f"{card.clock / 1e9:.2f} GHz, measured",
        "threads": ", ".join(map(str, card.pools)),
        "measured": f"{card.measured}, loopnest {card.version}",
    }
    return [Sheet("What it is", (), tuple(facts.items())), _peaks(card), *_reduced(card), _levels(card)]


def _gpu(card: MachineCard) -> Sheet:
    """What a GPU is and reaches, with the name of the loop that shows it."""
    rows = [
        ("GPU", f"{card.cpu}, compute capability {int(card.isa_levels[0].removeprefix('sm_')) / 10}, {card.system}"),
        *(("L2 cache", cache.size_as_text) for cache in card.caches),
        *((f"peak of {p.dtype}", f"{three_digits(p.flops / 1e12)} TFLOP/s") for p in card.peaks),
        *((f"{b.kind} bandwidth of {b.level}", f"{three_digits(b.bytes / 1e9)} GB/s") for b in card.bandwidths),
        *((what, duration(seconds)) for what, seconds in card.latencies.items()),
        ("measured", f"{card.measured}, loopnest {card.version}"),
    ]
    ridge = three_digits(card.peak() / card.bandwidth(kind=None))
    notes = [f"Float32 flops a byte of memory from which on the peak is the limit, not the bandwidth: {ridge}."]
    return Sheet("The GPU's limits, measured", (), rows, notes=notes)


def _peaks(card: MachineCard) -> Sheet:
    """GFLOP/s of multiply-adds in registers, by ISA level, dtype and threads, and flops in a cycle."""
    counts = sorted({peak.threads for peak in card.peaks})
    dtypes = list(dict.fromkeys(peak.dtype for peak in card.peaks if not peak.instruction))
    rows, notes = [], list[str]()
    for level in dict.fromkeys(peak.isa for peak in card.peaks):
        rates = [card.peak(dtype, count, level) for count in counts for dtype in dtypes]
        per_cycle = [f"{card.peak(dtype, 1, level) / card.clock:.3g}" for dtype in dtypes if card.clock]
        rows.append((level, *(three_digits(rate / 1e9) for rate in rates), "/".join(per_cycle)))
    if card.latencies:
        seconds = card.latency(FMA)
        cycles = f"{seconds * card.clock:.1f} cycles"
        notes = [f"A multiply-add, of two flops, takes {duration(seconds)} ({cycles}) until its result can be used."]
    headings = ("ISA", *(f"{dtype}{_by(count)}" for count in counts for dtype in dtypes), "flops/cycle")
    return Sheet("Peak, GFLOP/s: multiply-adds in registers", headings, rows, notes=notes)


def _reduced(card: MachineCard) -> list[Sheet]:
    """What the instructions of reduced precision reach, if there are any: two operations for each multiply-add."""
    rates = {(p.instruction, p.dtype, p.threads): p.flops for p in card.peaks if p.instruction}
    counts = sorted({threads for *_, threads in rates})
    rows = [
        (
            *what,
            *(three_digits(rates[*what, count] / 1e9) for count in counts),
            f"{rates[*what, 1] / card.peak('float32'):.2g}",
        )
        for what in dict.fromkeys((name, dtype) for name, dtype, _ in rates)
    ]
    headings = ("instruction", "dtype", *(f"10⁹ operations/s{_by(count)}" for count in counts), "of float32's")
    return [Sheet("Peak in reduced precision", headings, rows)] if rows else []


def _levels(card: MachineCard) -> Sheet:
    """GB/s and latency of each cache and of memory."""
    counts, rows = sorted({b.threads for b in card.bandwidths}), []
    caches = {cache.name: cache for cache in card.caches}
    for level in card.levels():
        rates = [card.bandwidth(level, kind, count) for count in counts for kind in KINDS]
        cache, latency = caches.get(level), card.latency(level) if card.latencies else 0.0
        rows.append(
            (
                level,
                cache.size_as_text + ("*" if cache.shared else "") if cache else "",
                *(three_digits(rate / 1e9) for rate in rates),
                duration(latency) if latency else "",
                f"{latency * card.clock:.0f}" if latency else "",
            )
        )
    ways = ", ".join(f"{c.name} {c.ways}" for c in card.caches if c.ways)
    lines = "/".join(map(str, sorted({c.line for c in card.caches if c.line})))
    notes = [f"Lines of {lines} bytes." if lines else "", f"Ways: {ways}." if ways else ""]
    notes += ["* shared with other cores."] if any(cache.shared for cache in card.caches) else []
    peak, bandwidth = card.peak(threads=card.cores), functools.partial(card.bandwidth, kind=None, threads=card.cores)
    ridges = ", ".join(f"{level} {three_digits(peak / bandwidth(level))}" for level in card.levels())
    notes += [f"Float32 flops a byte from which on the peak limits all processors, not the bandwidth: {ridges}."]
    headings = ("level", "size", *(f"{k}{_by(n)}" for n in counts for k in KINDS), "latency", "cycles")
    return Sheet("Bandwidth, GB/s: bytes read and written", headings, rows, notes=[*filter(None, notes)])


def _by(threads: int) -> str:
    return "" if threads == 1 else f" ×{threads}"

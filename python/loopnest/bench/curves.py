"""Rates over sizes: where the caches are full, and the table and the chart that `loopnest bench curve` prints."""

from __future__ import annotations

import itertools
import math
import string
from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.text import Text

from ..machine.records import MEMORY, MachineCard
from ..output.tables import Sheet
from ..output.text import three_digits
from .choices import groups, notes, rate, unit
from .records import Record, Results
from .tables import HOW, shown

HEIGHT = 16
"""Lines of the chart."""


def size_of(record: Record) -> tuple[float, str]:
    """A workload's size as a number, and what that is: n of n x n matrices, elements of an operand, or flops."""
    lengths = list(record.shape.values())
    if len(lengths) > 2 and len(set(lengths)) == 1:
        return lengths[0], "n"
    return (math.prod(lengths), "elements") if len(lengths) <= 2 else (record.flops, "flops of a call")


def filled(records: Sequence[Record], card: MachineCard | None) -> dict[str, float]:
    """By cache, the size at which operands and results fill it, if that lies between two measured sizes."""
    points = sorted({(size_of(r)[0], r.bytes) for r in records})
    found = {}
    for cache in card.caches if card else ():
        for (x, low), (next_x, high) in itertools.pairwise(points):
            if low < cache.size <= high:
                share = math.log(cache.size / low) / math.log(high / low)
                found[cache.name] = x * (next_x / x) ** share
    return found


def report(results: Results, width: int) -> Iterator[RenderableType]:
    """What `loopnest bench curve` prints: the rate of each rung at each size as a table, and as a chart."""
    records = [record for record in results.records if not record.beyond_limit]
    if not records:
        return
    marked = filled(records, results.machine)
    yield from shown(results.environment, HOW, _sheets(records, results.machine, width), notes(records), width)
    yield Text("\n" + "".join(_chart(records, marked, width)))


def _letters(records: Sequence[Record]) -> dict[str, str]:
    """By rung its letter in the chart."""
    return dict(zip(groups(records, lambda r: r.impl), string.ascii_letters, strict=False))


def _sheets(records: Sequence[Record], card: MachineCard | None, width: int) -> Iterator[Sheet]:
    """The rates, as many sizes in one table as fit the width; the last line is the smallest cache that holds all."""
    in_unit, sizes = unit(records), sorted({size_of(r)[0] for r in records})
    rates = {(r.impl, size_of(r)[0]): three_digits(rate(r, in_unit)) for r in records}
    fit = max(1, (width - 24) // 9)
    for start in range(0, len(sizes), fit):
        some = sizes[start : start + fit]
        rows = [[letter, impl, *(rates.get((impl, x), "") for x in some)] for impl, letter in _letters(records).items()]
        if card:
            caches = {cache.size: cache.name for cache in reversed(card.caches)}
            moved = {size_of(r)[0]: r.bytes for r in records}
            held = (min((size for size in caches if moved[x] <= size), default=0) for x in some)
            rows.append(["", "fits into", *(caches.get(size, MEMORY) for size in held)])
        title = f"{records[0].study}, {in_unit} by {size_of(records[0])[1]}"
        yield Sheet(title, ["", "", *(f"{x:,.0f}" for x in some)], rows, 2)


def _chart(records: Sequence[Record], marked: Mapping[str, float], width: int) -> Iterator[str]:
    """The rates on logarithmic scales, a letter a rung; where several meet, the first of the table. ┊ marks a cache."""
    in_unit, letters = unit(records), _letters(records)
    xs, ys = [math.log(size_of(r)[0]) for r in records], [math.log(rate(r, in_unit)) for r in records]
    across = min(width, 100) - 10

    def column(x: float) -> int:
        return round((math.log(x) - min(xs)) / ((max(xs) - min(xs)) or 1) * (across - 1))

    lines = [[" "] * across for _ in range(HEIGHT)]
    for line in lines:
        for size in marked.values():
            line[column(size)] = "┊"
    for r, y in sorted(zip(records, ys, strict=True), key=lambda pair: letters[pair[0].impl], reverse=True):
        down = round((max(ys) - y) / ((max(ys) - min(ys)) or 1) * (HEIGHT - 1))
        lines[down][column(size_of(r)[0])] = letters[r.impl]
    labels = {0: three_digits(math.exp(max(ys))), HEIGHT - 1: three_digits(math.exp(min(ys)))}
    for number, line in enumerate(lines):
        yield f"{labels.get(number, ''):>8} {''.join(line).rstrip()}\n"
    names = [" "] * across
    for cache, size in marked.items():
        names[column(size) : column(size) + len(cache)] = cache
    yield f"{in_unit:>8} {''.join(names).rstrip()}"

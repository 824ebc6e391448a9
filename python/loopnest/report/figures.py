"""The report's figures, drawn from records with matplotlib. A mark in a figure knows its record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..bench import explain
from ..bench.records import Record
from ..bench.tables import comparable, groups, highest, percent, rate, unit
from ..layout.traffic import CacheLevel
from ..layout.walk import LOOP_ORDERS as RUNGS_OF_ORDERS
from ..layout.walk import picture_svg, walk
from ..machine.records import MachineCard
from ..machine.roofline import roofline_svg
from ..output.pictures import CARD, FAINT, LIMIT, Picture, colour_of, marks, text_on
from ..output.text import duration, three_digits, times
from .findings import BLOCKS, LOOP_ORDERS, OPERANDS, POWERS_OF_TWO, STRIDES, SUM_BY

WIDTH = 5.6
"""Inches: readable on a telephone, and two fit next to each other on a desk."""

ROW = 0.19
"""Inches of a bar and the space below it."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    part     of PARTS: where it is shown
    caption  the same for all figures of one kind: the page shows it once
    note     about this figure alone
    """

    part: str
    title: str
    svg: str
    operation: str = ""
    caption: str = ""
    note: str = ""


PARTS = {
    "layout": (
        "Memory layout",
        "The same arithmetic in another order or on rows further apart. Times are multiples of the fastest in a group.",
    ),
    "roofline": (
        "The roofline",
        "How fast each rung is, by the flops that it does for each byte it has to move. On a slope, moving bytes from "
        "that cache decides; under the flat roof, arithmetic does. Each rung is on the largest workload that it ran.",
    ),
    "ladders": (
        "The ladders",
        "Each rung on the largest workload that its time allows. A tick is the machine's limit.",
    ),
    "vectorization": (
        "Vectorization",
        "The smaller arrays fit a cache and show the instructions. The larger ones (pale) show the memory.",
    ),
    "sizes": ("Speed by size", "The thick line is the machine's limit."),
    "calls": ("What a call costs", "Small inputs, where most of the time is Python's and not the kernel's."),
}
"""The parts of the page that have figures: id, heading, and what holds for all of the part's figures."""


class Indexed:
    """Records, with the numbers by which the page's script knows them. Times that cannot be true are not drawn."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [record for record in records if not record.beyond_limit]
        self._numbers = {id(record): number for number, record in enumerate(records)}

    def of(self, record: Record) -> int:
        return self._numbers[id(record)]

    def mark(self, *records: Record) -> str:
        """The gid of what is drawn of these records."""
        return marks(*map(self.of, records))


def figures(records: Indexed, card: MachineCard | None = None) -> list[Figure]:
    """All figures for which there are records.

    card  the machine's, for the roofline
    """
    every, made = records.records, list[Figure]()
    made += [_ladder(study, same, records) for study, same in _studies(every, lambda r: r.ladder)]
    made += [_heat_of_operands(same, records) for same in _complete_first(every, OPERANDS)]
    for study in (LOOP_ORDERS, SUM_BY, STRIDES, BLOCKS):
        made += [_bars(study, same, records) for same in _complete_first(every, study)]
    drawn = (OPERANDS, LOOP_ORDERS, SUM_BY, STRIDES, BLOCKS)
    for study, same in _studies(every, lambda r: r.suite == "layout" and r.study not in drawn):
        made.append(_bars(study, comparable(same), records))
    if any(r.suite == "layout" for r in every):
        made += _walks()
    for study, same in _studies(every, lambda r: r.suite == "vectorization"):
        made.append(_vectorization(study, same, records))
    for study, same in _studies(every, lambda r: r.ladder or r.suite == "vectorization"):
        # the name of a workload without its sizes: square, n, gpt2-small-mlp
        families = groups((r for r in same if not r.case), lambda r: re.sub(r"-[\dx]+$", "", r.workload))
        for family, of_family in families.items():
            if len({r.workload for r in of_family}) > 2:
                made.append(_sizes(study, family, of_family, records))
    made += [_bars(study, same, records, "calls") for study, same in _studies(every, lambda r: r.suite == "calls")]
    return made + (_roofline(card, records) if card else [])


def _walks() -> list[Figure]:
    """Loops over small matrices, through a cache that is too small for them."""
    small = CacheLevel(size=64, ways=4, line=16)
    walks = (walk("sum", "row_wise", cache=small), walk("sum", "column_wise", cache=small), walk("matmul", "ikj"))
    caption = "When each element is first touched, and how often it misses a cache too small for the matrix."
    return [Figure("layout", w.title, picture_svg(w), "", caption) for w in (*walks, walk("matmul", "jki"))]


def _studies(records: Sequence[Record], which: Callable[[Record], bool]) -> Iterable[tuple[str, list[Record]]]:
    """The studies of some records, each with all of its records."""
    wanted = {r.study for r in records if which(r)}
    return groups((r for r in records if r.study in wanted), lambda r: r.study).items()


def _complete_first(records: Sequence[Record], study: str) -> list[list[Record]]:
    """A study by workload: workloads that most rows ran come first, and of these the largest."""
    same_workload = groups((r for r in records if r.study == study), lambda r: r.workload).values()
    return sorted(same_workload, key=lambda same: (-len(same), -same[0].work))


# --- bars


@dataclass(frozen=True)
class Bar:
    """limit: where a tick crosses the bar; pale: a lighter colour; gap: an empty row before it."""

    label: str
    value: float
    text: str
    record: Record
    limit: float | None = None
    pale: bool = False
    gap: bool = False


def _rate_bar(record: Record, in_unit: str, pale: bool = False, gap: bool = False) -> Bar:
    value = rate(record, in_unit)
    text = " · ".join(filter(None, (three_digits(value), _percent(record))))
    limit = value * record.best / record.limit.seconds if record.limit else None
    return Bar(f"{record.impl} · {record.workload}", value, text, record, limit, pale, gap)


def _percent(record: Record) -> str:
    return f"{percent(record)} %" if record.percent else ""


def _bar_chart(bars: Sequence[Bar], records: Indexed, title: str, label: str, log: bool) -> str:
    """Horizontal bars from the top down."""
    at, places = 0.0, []
    for bar in bars:
        at += 0.5 * bar.gap
        places.append(at)
        at += 1
    values = [bar.value for bar in bars] + [bar.limit for bar in bars if bar.limit]
    low = 10 ** math.floor(math.log10(min(values)) - 0.05) if log else 0.0
    room = 1.28  # for the figures at the bars' ends
    high = low * (max(values) / low) ** room if log else max(values) * room
    picture = Picture(WIDTH, 0.62 + ROW * at, title=title)
    with picture as axes:
        ax = axes[0, 0]
        for place, bar in zip(places, bars, strict=True):
            alpha = 0.45 if bar.pale else 1.0
            colour = colour_of(bar.record.impl)
            (patch,) = ax.barh(place, bar.value - low, left=low, height=0.72, color=colour, alpha=alpha)
            patch.set_gid(records.mark(bar.record))
            end = max(bar.value, bar.limit or 0.0)
            ax.annotate(bar.text, (end, place), (4, 0), textcoords="offset points", va="center", size=7.5, color=FAINT)
            if bar.limit:
                ax.plot([bar.limit, bar.limit], [place - 0.46, place + 0.46], color=LIMIT, linewidth=1.6)
        if log:
            ax.set_xscale("log")
            ax.xaxis.set_major_formatter(lambda x, _: _tick(x))
            ax.minorticks_off()
        ax.set(xlim=(low, high), ylim=(at - 0.4, -0.6), xlabel=label)
        ax.set_yticks(places, [bar.label for bar in bars], size=8)
        ax.tick_params(axis="y", length=0)
        ax.spines["left"].set_visible(False)
        ax.grid(False, axis="y")
    return picture.svg


def _tick(x: float) -> str:
    return f"{x:,.0f}" if x >= 1 else f"{x:g}"


def _ladder(study: str, of_study: Sequence[Record], records: Indexed) -> Figure:
    top = highest(of_study)
    in_unit = unit(top)
    bars = [_rate_bar(r, in_unit) for r in top]
    svg = _bar_chart(bars, records, f"{study}: {in_unit} of each rung", in_unit, log=True)
    return Figure("ladders", study, svg, of_study[0].operation)


def _vectorization(study: str, of_study: Sequence[Record], records: Indexed) -> Figure:
    """Each rung on the smallest workload, and on the largest one that at least half of the rungs ran."""
    by_workload = sorted(groups(of_study, lambda r: r.workload).values(), key=lambda same: same[0].work)
    most = max(map(len, by_workload))
    able = [same for same in by_workload if 2 * len(same) >= most]
    chosen = able[:1] + able[-1:] if len(able) > 1 else able
    in_unit = unit(of_study)
    bars = [_rate_bar(r, in_unit, n > 0, n > 0 and r is same[0]) for n, same in enumerate(chosen) for r in same]
    title = f"{study}: {in_unit} with and without vector instructions"
    return Figure("vectorization", study, _bar_chart(bars, records, title, in_unit, log=True), of_study[0].operation)


def _bars(study: str, same: Sequence[Record], records: Indexed, part: str = "layout") -> Figure:
    """A study's rows as multiples of the fastest time in their section."""
    bars: list[Bar] = []
    for section in groups(same, lambda r: r.section).values():
        fastest = max(rate(r, unit(same)) for r in section)
        for r in section:
            factor = fastest / rate(r, unit(same))
            text = " · ".join(filter(None, (times(factor), duration(r.best), _percent(r))))
            label = f"{r.case} ({r.impl})" if study == LOOP_ORDERS else f"{r.impl} {r.case}".rstrip()
            bars.append(Bar(label, factor, text, r, gap=r is section[0] and bool(bars)))
    title = f"{study} · {' and '.join(dict.fromkeys(r.workload for r in same))}"
    log = max(bar.value for bar in bars) > 30
    svg = _bar_chart(bars, records, title, "time, as a multiple of the fastest in its group", log)
    caption = next((words for name, words in CAPTIONS.items() if study.endswith(name)), "")
    return Figure(part, title, svg, same[0].operation, caption, explain.sentence(same))


CAPTIONS = {
    LOOP_ORDERS: "The innermost loop decides. Over j it goes along rows of b and c: contiguous. Over k it goes down "
    "b's columns. Over i it goes down the columns of a and of c: a cache line for each element.",
    SUM_BY: "The same sum of the same row-major matrix. Down the columns each element costs a cache line of its own.",
    STRIDES: "The number of elements is the same, but they lie further apart: more cache lines for the same data.",
    "transpose, element by element or in blocks": "One side of a transpose goes down columns. In blocks, its cache "
    "lines are used again before they leave the cache.",
    BLOCKS: "cpp.blocked with blocks of inner x cols elements of b. If they are too small, the loops around them cost "
    "time; if they are too large, no cache holds them.",
    POWERS_OF_TWO: "When rows lie a power of two apart, the elements of a column map to the same few sets of a cache "
    "and evict each other. With 16 elements more they spread.",
}


# --- heat maps


def _heat_of_operands(same: Sequence[Record], records: Indexed) -> Figure:
    columns = list(dict.fromkeys(r.case for r in same))
    cells = {(ORDERS.get(r.impl, r.impl), r.case): r for r in same}
    rows = sorted(dict.fromkeys(row for row, _ in cells), key=lambda row: "·" not in row)
    title = f"loop order × layout · {same[0].workload}"
    caption = (
        "matmul: a and b are row-major (N) or column-major (T). Times are multiples of the fastest in the row. A loop "
        "order that is fast for one layout is slow for another; the packed and the tiled rungs hardly change."
    )
    fastest = {row: min(r.best for (of, _), r in cells.items() if of == row) for row in rows}
    return Figure("layout", title, _heat(rows, columns, cells, records, title, fastest), "matmul", caption)


ORDERS = {f"cpp.{rung}": f"{order} · cpp.{rung}" for order, rung in RUNGS_OF_ORDERS.items()}
"""The C++ rungs that are three plain loops, and their order."""


def _heat(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Record],
    records: Indexed,
    title: str,
    fastest: Mapping[str, float],
) -> str:
    """Cells whose colour is their time as a multiple of the row's `fastest`, up to 10."""
    from matplotlib import colormaps
    from matplotlib.colors import to_hex
    from matplotlib.patches import Rectangle

    picture = Picture(WIDTH, 0.55 + 0.26 * len(rows), title=title)
    with picture as axes:
        ax = axes[0, 0]
        for (row, column), record in cells.items():
            i, j = rows.index(row), columns.index(column)
            factor = record.best / fastest[row]
            shade = to_hex(colormaps["YlOrRd"](min(1.0, math.log10(max(factor, 1.0))) * 0.85))
            cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=shade, edgecolor=CARD, linewidth=1.5)
            cell.set_gid(records.mark(record))
            ax.add_patch(cell)
            text = f"{times(factor)} · {duration(record.best)}" if len(columns) <= 5 else times(factor)
            ax.text(j, i, text, ha="center", va="center", size=7.5, color=text_on(shade))
        ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(rows)), rows, size=8)
        ax.xaxis.tick_top()
        ax.tick_params(length=0)
        ax.grid(False)
        for spine in ax.spines.values():
            spine.set_visible(False)
    return picture.svg


# --- speed by size

DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (8, 2)))
MARKERS = "os^Dv<>P*X"


def _sizes(study: str, family: str, same: Sequence[Record], records: Indexed) -> Figure:
    from matplotlib.ticker import EngFormatter

    in_unit = unit(same)
    flops = in_unit == "GFLOP/s"
    by_size = sorted(same, key=lambda r: r.flops if flops else r.bytes)
    rungs = groups(by_size, lambda r: r.impl)
    limits: dict[float, float] = {}
    for record in by_size:
        if record.limit:
            size = record.flops if flops else record.bytes
            limits[size] = max(limits.get(size, 0.0), size / record.limit.seconds / 1e9)
    drawn: dict[str, int] = {}
    picture = Picture(WIDTH, 3.1 + 0.15 * math.ceil(len(rungs) / 3), title=f"{study}, {family}: {in_unit} by size")
    with picture as axes:
        ax = axes[0, 0]
        for impl, of_rung in rungs.items():
            backend = impl.partition(".")[0]
            nth = drawn[backend] = drawn.get(backend, -1) + 1
            x, y = [r.flops if flops else r.bytes for r in of_rung], [rate(r, in_unit) for r in of_rung]
            colour, gid = colour_of(impl), records.mark(*of_rung)
            ax.plot(x, y, color=colour, linewidth=1.1, linestyle=DASHES[nth % len(DASHES)])
            ax.plot(x, y, MARKERS[nth % len(MARKERS)], color=colour, markersize=4, gid=gid, clip_on=False, label=impl)
        if limits:
            ax.plot(*zip(*sorted(limits.items()), strict=True), color=LIMIT, linewidth=1.6)
        ax.set(xscale="log", yscale="log", ylabel=in_unit, xlabel="flops of a call" if flops else "bytes of a call")
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(lambda value, _: _tick(value))
        ax.xaxis.set_major_formatter(EngFormatter("" if flops else "B"))
        picture.figure.legend(loc="outside lower center", ncols=3, fontsize=7, handletextpad=0.2, columnspacing=1.0)
    title = study if family in ("square", "n", "mlp") else f"{study} · {family}"
    return Figure("sizes", title, picture.svg, same[0].operation)


# --- the roofline


def _roofline(card: MachineCard, records: Indexed) -> list[Figure]:
    shown = [r for r in _largest(records) if r.flops and r.bytes]
    if not shown:
        return []
    points = [(r.impl, r.flops, r.bytes, r.best, colour_of(r.impl), records.mark(r)) for r in shown]
    return [
        Figure("roofline", "Every rung under the machine's roofs", roofline_svg(card, points, dtype=shown[0].dtype))
    ]


def _largest(records: Indexed) -> list[Record]:
    """One record of each rung, on its largest workload; studies of layouts do not count."""
    plain = [r for r in records.records if not r.section and not r.case]
    tops = [record for _, same in _studies(plain, lambda r: True) for record in highest(same)]
    return list({(r.operation, r.impl): r for r in reversed(tops)}.values())[::-1]

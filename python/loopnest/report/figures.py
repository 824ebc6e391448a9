"""The report's figures, made from records by matplotlib: each is an SVG element in which a mark knows its record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..bench.records import Record
from ..bench.tables import comparable, highest, percent, rate, unit
from ..output.text import duration, three_digits, times
from . import touched
from .findings import BLOCKS, LOOP_ORDERS, OPERANDS, POWERS_OF_TWO, STRIDES, SUM_BY
from .svg import FAINT, LIMIT, PAPER, colour, figure, mark, marks, to_svg

WIDTH = 5.6
"""Inches: small enough to be read on a telephone, and two of them fit beside each other on a desk."""

ROW = 0.19
"""Inches of a bar, with the space below it."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page: which part of it shows it, what it is about, and the picture."""

    part: str  # "ladders", "layout", "vectorization", "sizes"
    title: str
    caption: str
    svg: str
    operation: str


class Indexed:
    """Records with the numbers by which the page's script knows them. Times that cannot be true are not drawn."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [record for record in records if not record.beyond_limit]
        self._numbers = {id(record): number for number, record in enumerate(records)}

    def of(self, record: Record) -> int:
        return self._numbers[id(record)]


def figures(records: Indexed) -> list[Figure]:
    """All figures for which there are records."""
    made: list[Figure] = []
    every = records.records
    for study in _studies(every, lambda r: r.ladder):
        of_study = [r for r in every if r.study == study]
        made.append(_ladder(study, of_study, records, len(made)))
    made += [
        _heat_of_operands(same, records, 100 + i)
        for i, same in enumerate(_complete_first([r for r in every if r.study == OPERANDS]))
    ]
    for study in (LOOP_ORDERS, SUM_BY, STRIDES):
        for i, same in enumerate(_complete_first([r for r in every if r.study == study])):
            made.append(_bars(study, same, records, 200 + 10 * len(made) + i))
    for i, same in enumerate(_complete_first([r for r in every if r.study == BLOCKS])):
        made += _heat_of_blocks(same, records, 300 + i)
    known = (OPERANDS, LOOP_ORDERS, SUM_BY, STRIDES, BLOCKS)
    for study in _studies(every, lambda r: r.suite == "layout" and r.study not in known):
        made.append(_bars(study, comparable([r for r in every if r.study == study]), records, 400 + 10 * len(made)))
    for study in _studies(every, lambda r: r.suite == "vectorization"):
        made.append(_vectorization(study, [r for r in every if r.study == study], records, 500 + len(made)))
    for study in _studies(every, lambda r: r.ladder or r.suite == "vectorization"):
        for family, same in _families([r for r in every if r.study == study and not r.case]).items():
            if len({r.workload for r in same}) > 2:
                made.append(_sizes(study, family, same, records, 600 + len(made)))
    for study in _studies(every, lambda r: r.suite == "calls"):
        made.append(_bars(study, [r for r in every if r.study == study], records, 700 + len(made), part="calls"))
    return made


def _studies(records: Iterable[Record], which: Callable[[Record], bool]) -> list[str]:
    return list(dict.fromkeys(r.study for r in records if which(r)))


def _complete_first(records: Sequence[Record]) -> list[list[Record]]:
    """By workload: those that most rows ran before the others, and of these the largest first."""
    return sorted(_by_workload(records), key=lambda same: (-len(same), -same[0].work))


def _by_workload(records: Sequence[Record]) -> list[list[Record]]:
    groups: dict[str, list[Record]] = {}
    for record in records:
        groups.setdefault(record.workload, []).append(record)
    return sorted(groups.values(), key=lambda same: same[0].work)


# --- bars


@dataclass(frozen=True)
class Bar:
    label: str
    value: float
    text: str
    record: Record
    limit: float | None = None
    pale: bool = False
    gap: bool = False  # before it


def _draw_bars(ax: Any, bars: Sequence[Bar], records: Indexed, log: bool) -> None:
    """Horizontal bars from the top down; a limit is a tick across its bar."""
    at, places = 0.0, []
    for bar in bars:
        at += 0.5 * bar.gap
        places.append(at)
        at += 1
    values = [bar.value for bar in bars] + [bar.limit for bar in bars if bar.limit]
    low = 10 ** math.floor(math.log10(min(values)) - 0.05) if log else 0.0
    span = math.log10(max(values) / low) if log else 0
    high = low * 10 ** (span * 1.28) if log else max(values) * 1.28  # room for the figures at the bars' ends
    for place, bar in zip(places, bars, strict=True):
        (patch,) = ax.barh(place, bar.value - low, left=low, height=0.72, color=colour(bar.record.impl),
                           alpha=0.45 if bar.pale else 1.0)  # fmt: skip
        patch.set_gid(mark(records.of(bar.record)))
        end = max(bar.value, bar.limit or 0.0)
        ax.annotate(bar.text, (end, place), (4, 0), textcoords="offset points", va="center", size=7.5, color=FAINT)
        if bar.limit:
            ax.plot([bar.limit, bar.limit], [place - 0.46, place + 0.46], color=LIMIT, linewidth=1.6)
    if log:
        ax.set_xscale("log")
        ax.xaxis.set_minor_locator(_nothing())
        ax.xaxis.set_major_formatter(lambda x, _: _tick(x))
    ax.set_xlim(low, high)
    ax.set_ylim(at - 0.4, -0.6)
    ax.set_yticks(places, [bar.label for bar in bars], size=8)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    ax.grid(axis="x")


def _nothing() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _tick(x: float) -> str:
    return f"{x:,.0f}" if x >= 1 else f"{x:g}"


def _height(bars: Sequence[Bar]) -> float:
    return 0.62 + ROW * (len(bars) + 0.5 * sum(bar.gap for bar in bars))


def _ladder(study: str, of_study: Sequence[Record], records: Indexed, number: int) -> Figure:
    top = highest(of_study)
    in_unit = unit(top)
    bars = [
        Bar(
            label=f"{r.impl} · {r.workload}",
            value=rate(r, in_unit),
            text=" · ".join(filter(None, (three_digits(rate(r, in_unit)), _percent(r)))),
            record=r,
            limit=rate(r, in_unit) * r.best / r.limit.seconds if r.limit else None,
        )
        for r in top
    ]
    with figure(WIDTH, _height(bars)) as (made, ax):
        _draw_bars(ax, bars, records, log=True)
        ax.set_xlabel(in_unit)
        svg = to_svg(made, f"f{number}", f"{study}: {in_unit} of each rung")
    limits = " The ticks are the machine's limit for each." if any(bar.limit for bar in bars) else ""
    return Figure(
        "ladders", study, f"Each rung on the largest workload that its time allows, in {in_unit}.{limits}", svg,
        of_study[0].operation,
    )  # fmt: skip


def _percent(record: Record) -> str:
    if record.percent is None:
        return ""
    return f"{percent(record)} %"


def _bars(study: str, same: Sequence[Record], records: Indexed, number: int, part: str = "layout") -> Figure:
    """A study's rows as times beside the fastest of their section."""
    bars: list[Bar] = []
    sections: dict[str, list[Record]] = {}
    for record in same:
        sections.setdefault(record.section, []).append(record)
    for section in sections.values():
        fastest = max(rate(r, unit(same)) for r in section)
        for i, r in enumerate(section):
            factor = fastest / rate(r, unit(same))
            text = f"{times(factor)} · {duration(r.best)}" + (f" · {_percent(r)}" if r.percent else "")
            label = f"{r.case} ({r.impl})" if study == LOOP_ORDERS else f"{r.impl} {r.case}".rstrip()
            bars.append(Bar(label, factor, text, r, gap=i == 0 and bool(bars)))
    wide = max(bar.value for bar in bars) > 30
    with figure(WIDTH, _height(bars)) as (made, ax):
        _draw_bars(ax, bars, records, log=wide)
        ax.set_xlabel("time, in times that of the fastest of its group")
        svg = to_svg(made, f"f{number}", f"{study}: times")
    workload = " and ".join(dict.fromkeys(r.workload for r in same))
    caption = " ".join(filter(None, (CAPTIONS.get(study, _caption(study)), touched.sentence(same))))
    return Figure(part, f"{study} · {workload}", caption, svg, same[0].operation)


def _caption(study: str) -> str:
    if study.endswith(POWERS_OF_TWO):
        return (
            "Elements of a column whose rows lie a power of two apart fall into the same few places of a cache, and "
            "push each other out; 16 elements more, and they spread."
        )
    return "How long each takes beside the fastest of its group."


CAPTIONS = {
    LOOP_ORDERS: "The innermost loop decides. Over j it goes along rows of b and c: contiguous. Over k it goes down "
    "b's columns. Over i it goes down the columns of a and of c: a cache line for each element.",
    SUM_BY: "The same sum of the same row-major matrix. Down the columns each element costs a cache line of its own.",
    STRIDES: "As many elements, further apart: the bytes that are used are the same, the cache lines are not.",
    "transpose, element by element or in blocks": "One side of a transpose goes down columns. In blocks, the cache "
    "lines that it touches are used again before they leave the cache.",
}


def _vectorization(study: str, of_study: Sequence[Record], records: Indexed, number: int) -> Figure:
    """Each rung on the smallest workload and on the largest one that at least half of the rungs ran."""
    by_workload = _by_workload(of_study)
    most = max(map(len, by_workload))
    able = [same for same in by_workload if 2 * len(same) >= most]
    chosen = able[:1] + able[-1:] if len(able) > 1 else able
    in_unit = unit(of_study)
    bars: list[Bar] = []
    for which, same in enumerate(chosen):
        for i, r in enumerate(same):
            text = " · ".join(filter(None, (three_digits(rate(r, in_unit)), _percent(r))))
            limit = rate(r, in_unit) * r.best / r.limit.seconds if r.limit else None
            gap = i == 0 and bool(bars)
            bars.append(Bar(f"{r.impl} · {r.workload}", rate(r, in_unit), text, r, limit, which > 0, gap))
    with figure(WIDTH, _height(bars)) as (made, ax):
        _draw_bars(ax, bars, records, log=True)
        ax.set_xlabel(in_unit)
        svg = to_svg(made, f"f{number}", f"{study}: {in_unit} with and without vector instructions")
    caption = (
        f"In {in_unit}. The smaller arrays fit a cache, and show the instructions; the larger (pale) show the memory."
    )
    return Figure("vectorization", study, caption, svg, of_study[0].operation)


# --- heat maps


def _heat_of_operands(same: Sequence[Record], records: Indexed, number: int) -> Figure:
    columns = list(dict.fromkeys(r.case for r in same))
    rows = [ORDERS.get(impl, impl) for impl in dict.fromkeys(r.impl for r in same)]
    cells = {(ORDERS.get(r.impl, r.impl), r.case): r for r in same}
    ordered = [row for row in rows if "·" in row] + [row for row in rows if "·" not in row]
    title = f"loop order × layout · {same[0].workload}"
    caption = (
        "matmul, times beside the fastest of the row: a and b row-major (N) or column-major (T). An order of loops "
        "that is fast for one layout is slow for another; the packed and the tiled rungs care little."
    )
    svg = _heat(ordered, columns, cells, records, number, title, relative_to="row")
    return Figure("layout", title, caption, svg, "matmul")


ORDERS = {
    "cpp.naive": "ijk · cpp.naive",
    "cpp.jik": "jik · cpp.jik",
    "cpp.reordered": "ikj · cpp.reordered",
    "cpp.kij": "kij · cpp.kij",
    "cpp.jki": "jki · cpp.jki",
    "cpp.kji": "kji · cpp.kji",
}
"""C++ rungs that are three plain loops, in this order."""


def _heat_of_blocks(same: Sequence[Record], records: Indexed, number: int) -> list[Figure]:
    cells = {}
    for record in same:
        size = re.match(r"(\d+) x (\d+)", record.case)
        if size:
            cells[size[1], size[2]] = record
    if len(cells) < 2:
        return []
    rows, columns = (sorted({key[axis] for key in cells}, key=int) for axis in (0, 1))
    title = f"block sizes · {same[0].workload}"
    own = next((r for r in same if r.case == "its own choice"), None)
    chosen = f" cpp.blocked's own choice takes {times(own.best / min(r.best for r in cells.values()))}." if own else ""
    caption = f"cpp.blocked with blocks of b of inner (down) × cols (across): times beside the fastest.{chosen}"
    svg = _heat(rows, columns, cells, records, number, title, relative_to="all", x="cols", y="inner")
    return [Figure("layout", title, caption, svg, "matmul")]


def _heat(
    rows: Sequence[str],
    columns: Sequence[str],
    cells: Mapping[tuple[str, str], Record],
    records: Indexed,
    number: int,
    title: str,
    relative_to: str,
    x: str = "",
    y: str = "",
) -> str:
    """A cell's colour is how many times as long as the fastest one of its row, or of all, it takes, up to 10."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    shades = colormaps["YlOrRd"]
    fastest = min(r.best for r in cells.values())
    with figure(WIDTH, 0.55 + 0.26 * len(rows)) as (made, ax):
        for i, row in enumerate(rows):
            of_row = {column: cells[row, column] for column in columns if (row, column) in cells}
            base = min((r.best for r in of_row.values()), default=0.0) if relative_to == "row" else fastest
            for j, column in enumerate(columns):
                if column not in of_row:
                    continue
                record = of_row[column]
                factor = record.best / base
                shade = shades(min(1.0, math.log10(max(factor, 1.0))) * 0.85)
                cell = Rectangle((j - 0.5, i - 0.5), 1, 1, facecolor=shade, edgecolor=PAPER, linewidth=1.5)
                cell.set_gid(mark(records.of(record)))
                ax.add_patch(cell)
                dark = 0.3 * shade[0] + 0.6 * shade[1] + 0.1 * shade[2] < 0.5
                text = f"{times(factor)} · {duration(record.best)}" if len(columns) <= 5 else times(factor)
                ax.text(j, i, text, ha="center", va="center", size=7.5, color="#fff" if dark else "#222")
        ax.set_xlim(-0.5, len(columns) - 0.5)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xticks(range(len(columns)), columns)
        ax.set_yticks(range(len(rows)), rows, size=8)
        ax.xaxis.tick_top()
        ax.xaxis.set_label_position("top")
        ax.set_xlabel(x)
        ax.set_ylabel(y)
        ax.tick_params(length=0)
        for spine in ax.spines.values():
            spine.set_visible(False)
        return to_svg(made, f"f{number}", title)


# --- speed by size

DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (8, 2)))
MARKERS = "os^Dv<>P*X"


def _families(records: Sequence[Record]) -> dict[str, list[Record]]:
    """The records by what their workloads are called but for the sizes: square, n, gpt2-small-mlp."""
    families: dict[str, list[Record]] = {}
    for record in records:
        families.setdefault(re.sub(r"-[\dx]+$", "", record.workload), []).append(record)
    return families


def _sizes(study: str, family: str, of_study: Sequence[Record], records: Indexed, number: int) -> Figure:
    in_unit = unit(of_study)
    flops = in_unit == "GFLOP/s"
    rungs: dict[str, list[Record]] = {}
    for record in of_study:
        rungs.setdefault(record.impl, []).append(record)
    seen: dict[str, int] = {}
    with figure(WIDTH, 3.1 + 0.15 * math.ceil(len(rungs) / 3)) as (made, ax):
        for impl, same in rungs.items():
            backend = impl.partition(".")[0]
            nth = seen[backend] = seen.get(backend, -1) + 1
            same = sorted(same, key=lambda r: r.flops if flops else r.bytes)
            x, y = [r.flops if flops else r.bytes for r in same], [rate(r, in_unit) for r in same]
            style: dict[str, Any] = {"color": colour(impl), "linewidth": 1.1, "linestyle": DASHES[nth % len(DASHES)]}
            ax.plot(x, y, **style)
            style = {"color": colour(impl), "linestyle": "none", "marker": MARKERS[nth % len(MARKERS)], "markersize": 4}
            ax.plot(x, y, gid=marks([records.of(r) for r in same]), clip_on=False, label=impl, **style)
        limits: dict[float, float] = {}
        for r in of_study:
            if r.limit:
                size = r.flops if flops else r.bytes
                limits[size] = max(limits.get(size, 0.0), size / r.limit.seconds / 1e9)
        if limits:
            ax.plot(*zip(*sorted(limits.items()), strict=True), color=LIMIT, linewidth=1.6)
        ax.set_xscale("log")
        ax.set_yscale("log")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_minor_locator(_nothing())
        ax.yaxis.set_major_formatter(lambda value, _: _tick(value))
        ax.xaxis.set_major_formatter(lambda value, _: _with_prefix(value, "" if flops else "B"))
        ax.grid()
        ax.set_xlabel("operations of a call" if flops else "bytes of a call")
        ax.set_ylabel(in_unit)
        made.legend(loc="outside lower center", ncols=3, fontsize=7, handletextpad=0.2, columnspacing=1.0)
        svg = to_svg(made, f"f{number}", f"{study}: {in_unit} by size")
    limit = " The thick line is the machine's limit." if limits else ""
    title = study if family in ("square", "n", "mlp") else f"{study} · {family}"
    return Figure("sizes", title, f"{in_unit} by the size of the work.{limit}", svg, of_study[0].operation)


def _with_prefix(x: float, unit: str) -> str:
    for scale, prefix in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if x >= scale:
            return f"{x / scale:g} {prefix}{unit}".strip()
    return f"{x:g} {unit}".strip()

"""The report's figures, drawn from records with matplotlib. A mark in a figure knows its record."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from ..bench import explain
from ..bench.choices import comparable, groups, highest, notes, one_size, rate, unit
from ..bench.curves import filled, size_of
from ..bench.records import Record
from ..bench.tables import percent
from ..machine.records import MachineCard
from ..machine.roofline import roofline_svg
from ..output.pictures import FAINT, LIMIT, Picture, colour_of, marks
from ..output.text import duration, three_digits, times
from .findings import BLOCKS, LOOP_ORDERS, OPERANDS, STRIDES, SUM_BY

WIDTH = 5.6
"""Inches: readable on a telephone, and two fit next to each other on a desk."""

ROW = 0.19
"""Inches of a bar and the space below it."""


@dataclass(frozen=True)
class Figure:
    """A figure of the page.

    part  of PARTS: where it is shown
    note  a sentence about it
    """

    part: str
    title: str
    svg: str
    operation: str = ""
    note: str = ""


PARTS = ("layout", "roofline", "ladders", "vectorization", "sizes", "calls")
"""The parts of the page that have figures; report.html has their headings."""


class Indexed:
    """Records, with the numbers by which the page's script knows them. Times that cannot be true are not drawn."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = [record for record in records if not record.beyond_limit]
        self._numbers = {id(record): number for number, record in enumerate(records)}

    def mark(self, *records: Record) -> str:
        """The gid of what is drawn of these records."""
        return marks(*(self._numbers[id(record)] for record in records))


def figures(records: Indexed, card: MachineCard | None = None) -> list[Figure]:
    """All figures for which there are records.

    card  the machine's, for the roofline
    """
    every, made = records.records, list[Figure]()
    for study, same in _studies(every, lambda r: r.ladder):
        workload, rungs = one_size(same)
        made.append(_rates("ladders", study, [rungs], records, workload))
    for study in IN_FULL:
        # workloads that most rows ran come first, and of these the largest
        by_workload = groups((r for r in every if r.study == study), lambda r: r.workload).values()
        complete_first = sorted(by_workload, key=lambda same: (-len(same), -same[0].work))
        made += [_bars(study, same, records) for same in complete_first]
    for study, same in _studies(every, lambda r: r.suite == "layout" and r.study not in IN_FULL):
        made.append(_bars(study, comparable(same), records))
    for study, same in _studies(every, lambda r: r.suite == "vectorization"):
        made.append(_rates("vectorization", study, _smallest_and_largest(same), records))
    for study, same in _studies(every, lambda r: r.ladder or r.suite in ("vectorization", "curve")):
        # the name of a workload without its sizes: square, n, gpt2-small-mlp
        families = groups((r for r in same if not r.case), lambda r: re.sub(r"-?[\dx]+$", "", r.workload))
        for family, of_family in families.items():
            if len({r.workload for r in of_family}) > 2:
                made.append(_sizes(study, family, of_family, records, card))
                if of_family[0].suite == "curve":
                    made.append(_sizes(study, family, of_family, records, card, seconds=True))
    made += [_bars(study, same, records, "calls") for study, same in _studies(every, lambda r: r.suite == "calls")]
    return _said_once(made + (_roofline(card, records) if card else []))


def _said_once(figures: Sequence[Figure]) -> list[Figure]:
    """The figures without the sentences that a figure above has too."""
    said, kept = set[str](), []
    for figure in figures:
        sentences = re.split(r"(?<=\.) ", figure.note)
        kept.append(replace(figure, note=" ".join(s for s in sentences if s not in said)))
        said.update(sentences)
    return kept


def _studies(records: Sequence[Record], which: Callable[[Record], bool]) -> Iterable[tuple[str, list[Record]]]:
    """The studies of some records, each with all of its records."""
    wanted = {r.study for r in records if which(r)}
    return groups((r for r in records if r.study in wanted), lambda r: r.study).items()


IN_FULL = OPERANDS, LOOP_ORDERS, SUM_BY, STRIDES, BLOCKS
"""Studies with a figure for each workload."""

# --- bars


@dataclass(frozen=True)
class Bar:
    """limit: where a tick crosses the bar; gap: an empty row before it."""

    label: str
    value: float
    text: str
    record: Record
    limit: float | None = None
    gap: bool = False


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
            colour = colour_of(bar.record.impl)
            (patch,) = ax.barh(place, bar.value - low, left=low, height=0.72, color=colour)
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


def _rates(part: str, study: str, charts: Sequence[Sequence[Record]], records: Indexed, workload: str = "") -> Figure:
    """The rates of rungs, one workload after another; a tick is the machine's limit.

    workload  stands in the title and not at each rung
    """
    in_unit, bars = unit([r for same in charts for r in same]), list[Bar]()
    for same in charts:
        for r in same:
            value = rate(r, in_unit)
            text = " · ".join(filter(None, (three_digits(value), _percent(r))))
            limit = value * r.best / r.limit.seconds if r.limit else None
            label = r.impl if r.workload == workload else f"{r.impl} · {r.workload}"
            bars.append(Bar(label, value, text, r, limit, gap=r is same[0] and bool(bars)))
    svg = _bar_chart(bars, records, f"{part}, {study}: {in_unit} of each rung", in_unit, log=True)
    title = " · ".join(filter(None, (study, workload)))
    return Figure(part, title, svg, bars[0].record.operation, " ".join(notes([bar.record for bar in bars])))


def _smallest_and_largest(of_study: Sequence[Record]) -> list[list[Record]]:
    """The records of the smallest workload, and of the largest one, that at least half of the rungs ran."""
    by_workload = sorted(groups(of_study, lambda r: r.workload).values(), key=lambda same: same[0].work)
    able = [same for same in by_workload if 2 * len(same) >= max(map(len, by_workload))]
    return able[:1] + able[1:][-1:]


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
    svg = _bar_chart(bars, records, title, "× the fastest", log)
    return Figure(part, title, svg, same[0].operation, explain.sentence(same))


# --- speed by size

DASHES = ("-", "--", ":", "-.", (0, (5, 1)), (0, (1, 1)), (0, (3, 1, 1, 1)), (0, (8, 2)))
MARKERS = "os^Dv<>P*X"


def _sizes(
    study: str,
    family: str,
    same: Sequence[Record],
    records: Indexed,
    card: MachineCard | None,
    seconds: bool = False,
) -> Figure:
    """A line a rung: its rate, or its seconds, over the size. Dotted lines mark where operands fill the caches."""
    from matplotlib.ticker import EngFormatter

    in_unit, label = unit(same), size_of(same[0])[1]

    def height(r: Record, taken: float) -> float:
        return taken if seconds else rate(r, in_unit) * r.best / taken

    by_size = sorted(same, key=size_of)
    rungs = groups(by_size, lambda r: r.impl)
    limits = [(size_of(r)[0], height(r, r.limit.seconds)) for r in by_size if r.limit]
    best_limits = dict(sorted(limits, reverse=seconds))  # of one size the last is the best
    drawn: dict[str, int] = {}
    title = f"{study}, {family}: {'seconds' if seconds else in_unit} by size"
    picture = Picture(WIDTH, 3.1 + 0.15 * math.ceil(len(rungs) / 3), title=title)
    with picture as axes:
        ax = axes[0, 0]
        for impl, of_rung in rungs.items():
            backend = impl.partition(".")[0]
            nth = drawn[backend] = drawn.get(backend, -1) + 1
            x, y = [size_of(r)[0] for r in of_rung], [height(r, r.best) for r in of_rung]
            colour, gid = colour_of(impl), records.mark(*of_rung)
            ax.plot(x, y, color=colour, linewidth=1.1, linestyle=DASHES[nth % len(DASHES)])
            ax.plot(x, y, MARKERS[nth % len(MARKERS)], color=colour, markersize=4, gid=gid, clip_on=False, label=impl)
        limit_line = sorted(best_limits.items())
        ax.plot([x for x, _ in limit_line], [y for _, y in limit_line], color=LIMIT, linewidth=1.6)
        ax.set(xscale="log", yscale="log", ylabel="time of a call" if seconds else in_unit, xlabel=label)
        for name, size in filled(same, card).items():
            ax.axvline(size, color=FAINT, linewidth=0.8, linestyle=":")
            at_the_top = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points", "va": "top"}
            ax.annotate(name, (size, 1), (2, 0), size=7, color=FAINT, **at_the_top)
        ax.minorticks_off()
        ax.yaxis.set_major_formatter(EngFormatter("s") if seconds else lambda value, _: _tick(value))
        if label == "n":
            ax.set_xticks(ticks := sorted({size_of(r)[0] for r in same})[:: 1 + len(by_size) // (9 * len(rungs))])
            ax.set_xticklabels([f"{n:,.0f}" for n in ticks])
        else:
            ax.xaxis.set_major_formatter(EngFormatter())
        picture.figure.legend(loc="outside lower center", ncols=3, fontsize=7, handletextpad=0.2, columnspacing=1.0)
    name = study if family in ("square", "n", "mlp", "") else f"{study} · {family}"
    return Figure("sizes", f"{name}, time" if seconds else name, picture.svg, same[0].operation)


# --- the roofline


def _roofline(card: MachineCard, records: Indexed) -> list[Figure]:
    """Each rung on its largest workload; studies of layouts do not count, nor other dtypes than the first one's."""
    plain = [r for r in records.records if not r.section and not r.case and r.flops and r.bytes]
    plain = [r for r in plain if r.dtype == plain[0].dtype]
    tops = [record for _, same in _studies(plain, lambda r: True) for record in highest(same)]
    shown = list({(r.operation, r.impl): r for r in reversed(tops)}.values())[::-1]
    if not shown:
        return []
    one = len({r.operation for r in shown}) == 1
    names = [r.impl if one else f"{r.operation} {r.impl}" for r in shown]
    points = [
        (name, r.flops, r.bytes, r.best, colour_of(r.impl), records.mark(r))
        for name, r in zip(names, shown, strict=True)
    ]
    svg = roofline_svg(card, points, dtype=shown[0].dtype)
    return [Figure("roofline", "Every rung under the machine's roofs", svg)]

"""What a sweep showed: its summary, its bars, and the dips with the worst first, as data and as rows of tables."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import RenderableType

from ..output.tables import Sheet
from ..output.text import counted, three_digits
from .choices import groups
from .peers import OURS, PEERS, Item, remarks
from .sweep import DTYPES, Dtype, Group, Point, SweepResults
from .tables import ratio_text, shown, verdict

NEIGHBOURS = 9
"""How many points of the n sweep a point is compared with: those nearest in n, of the same dtype, of any stride."""

LEAST_MEAN, LEAST_OF_PEER, LEAST_SHARE, WORST_OF_PEER, LEAST_OF_NEIGHBOURS = 1.05, 0.95, 0.95, 0.80, 0.93
WORST_OF_OTHERS = 1.0
"""The bars. The last is for operations besides matmul: nowhere slower than the best peer."""

DIPS = 15
"""How many dips are listed."""

CLOSER = 5
"""How many dips are measured with other strides too."""

HOW = (
    "Every figure is the best of some rounds in which all contenders are timed in turn, each pinned to as many "
    "processors as it has threads."
)


@dataclass(frozen=True)
class Measured:
    """A point with its figures.

    speed          of loopnest in GFLOP/s; for other operations than matmul in GB/s
    of_peer        speed as a multiple of the best peer's; None if there is none
    of_neighbours  speed as a multiple of the median of NEIGHBOURS points of the n sweep; None for other points, and if
                   there are fewer
    """

    point: Point
    item: Item
    of_peer: float | None
    of_neighbours: float | None = None

    @property
    def speed(self) -> float:
        return self.rate(OURS)

    def rate(self, contender: str) -> float:
        return self.item.amount / self.item.costs[contender] / 1e9

    @property
    def best_peer(self) -> float | None:
        return None if self.of_peer is None else self.speed / self.of_peer

    @property
    def ratios(self) -> dict[str, float]:
        """The ratios that are below what they should be, by what they compare with."""
        each = (("best peer", self.of_peer, LEAST_OF_PEER), ("neighbours", self.of_neighbours, LEAST_OF_NEIGHBOURS))
        return {name: ratio for name, ratio, least in each if ratio is not None and ratio < least}


def measured(results: SweepResults) -> list[Measured]:
    """The points that have a time, in their order."""
    items = {item.name: item for item in results.items if OURS in item.costs}
    there = [(point, items[point.name]) for point in results.points if point.name in items]
    speeds = {point: item.amount / item.costs[OURS] / 1e9 for point, item in there}
    squares = [point for point in speeds if point.group == "n"]
    found = []
    for point, item in there:
        median = median_of_neighbours(point, squares, speeds.__getitem__) if point.group == "n" else None
        found.append(Measured(point, item, item.ratio("best peer"), speeds[point] / median if median else None))
    return found


def median_of_neighbours(point: Point, squares: Sequence[Point], speed: Callable[[Point], float]) -> float | None:
    """The median speed of the NEIGHBOURS points that are nearest in n; None if there are fewer."""
    others = [other for other in squares if other.dtype == point.dtype and other != point]
    others.sort(key=lambda other: (abs(math.log(other.n / point.n)), other.n, other.a_stride))
    return statistics.median(map(speed, others[:NEIGHBOURS])) if len(others) >= NEIGHBOURS else None


def dips(found: Sequence[Measured]) -> list[Measured]:
    """The points that are slower than the best peer or their neighbours, the worst first."""
    return sorted((one for one in found if one.ratios), key=lambda one: min(one.ratios.values()))


def worst_dips(results: SweepResults) -> list[Point]:
    """The points that `run_sweep` measures with other strides."""
    return [one.point for one in dips(measured(results))[:CLOSER] if one.point.op == "matmul"]


@dataclass(frozen=True)
class Summary:
    """Ratios to the best peer, and the lowest ratio to the neighbours' median; None if nothing has a ratio."""

    points: int
    mean: float | None = None
    share: float | None = None
    worst: float | None = None
    of_neighbours: float | None = None


def summary(found: Sequence[Measured]) -> Summary:
    ratios = [one.of_peer for one in found if one.of_peer is not None]
    neighbours = [one.of_neighbours for one in found if one.of_neighbours is not None]
    if not ratios:
        return Summary(len(found), of_neighbours=min(neighbours, default=None))
    mean = math.exp(math.fsum(map(math.log, ratios)) / len(ratios))
    share = sum(ratio >= LEAST_OF_PEER for ratio in ratios) / len(ratios)
    return Summary(len(found), mean, share, min(ratios), min(neighbours, default=None))


GROUPS: Mapping[Group, str] = {"random": "random shapes", "n": "n sweep", "sizes": "sizes"}


# --- rows of tables


def sheets(results: SweepResults) -> Iterator[Sheet]:
    """The summary, the bars, the worst dips, and their speeds with other strides."""
    found = measured(results)
    by_group = groups(found, lambda one: (one.point.group, one.point.dtype))
    each = {key: summary(by_group[key]) for key in itertools.product(GROUPS, DTYPES) if key in by_group}
    headings = ["points", "dtype", "number", "mean", f"≥ {LEAST_OF_PEER}", "worst", "worst of neighbours"]
    rows = []
    for (group, dtype), s in each.items():
        mean, worst, neighbours = map(ratio_text, (s.mean, s.worst, s.of_neighbours))
        share = "" if s.share is None else f"{100 * s.share:.0f} %"
        rows.append([GROUPS[group], dtype, str(s.points), mean, share, worst, neighbours])
    yield Sheet("loopnest as a multiple of the best peer", headings, rows, 2)
    yield Sheet("The bars", ["bar", "dtype", "least", "figure", ""], [*_bars(results.op, each)], 2)
    low = dips(found)
    if low:
        yield _dips(low, f"The {min(DIPS, len(low))} worst of {len(low)} dips, {low[0].item.unit}")
    closer = [*_closer(results)]
    if closer:
        headings = ["product", "as it is", "+ 64 B", "+ 4,096 B", "of peer", "+ 64 B", "+ 4,096 B"]
        yield Sheet("The worst dips with longer rows of both operands, loopnest's GFLOP/s", headings, closer)


def _bars(op: str, each: Mapping[tuple[Group, Dtype], Summary]) -> Iterator[list[str]]:
    bars: tuple[tuple[Group, str, float, Callable[[Summary], float | None]], ...] = (
        ("random", "geometric mean", LEAST_MEAN, lambda s: s.mean),
        ("random", f"share of points ≥ {LEAST_OF_PEER}", LEAST_SHARE, lambda s: s.share),
        ("random", "worst", WORST_OF_PEER, lambda s: s.worst),
        ("n", f"worst of the median of {NEIGHBOURS} neighbours", LEAST_OF_NEIGHBOURS, lambda s: s.of_neighbours),
        ("sizes", "worst", WORST_OF_OTHERS, lambda s: s.worst),
    )
    for group, name, least, figure in bars:
        if (group == "sizes") == (op == "matmul"):
            continue
        for dtype in DTYPES:
            value = figure(each.get((group, dtype), Summary(0)))
            yield [f"{GROUPS[group]}: {name}", dtype, f"{least:.2f}", ratio_text(value), verdict(value, least)]


def _dips(low: Sequence[Measured], title: str) -> Sheet:
    """Of the worst; a note is the path that the kernel took."""
    worst = low[:DIPS]
    peers = [name for name in PEERS if any(name in one.item.costs for one in worst)]
    rows, notes = [], []
    for number, one in enumerate(worst, 1):
        figures = [three_digits(one.rate(name)) if name in one.item.costs else "" for name in (OURS, *peers)]
        ratios = [ratio_text(one.of_peer), ratio_text(one.of_neighbours)]
        rows.append([str(number), *_words(one.point), *figures, *ratios])
        path = one.item.notes.get(OURS)
        notes += [f"{number}: {path}"] if path else []
    headings = ["", "dtype", "", "shape", "strides", OURS, *peers, "of peer", "of neighbours"]
    return Sheet(title, headings, rows, 5, notes)


def _words(point: Point) -> list[str]:
    return [point.dtype, point.layout, point.shape, f"{point.a_stride}, {point.b_stride}" if point.a_stride else ""]


def _closer(results: SweepResults) -> Iterator[list[str]]:
    measured = {item.name: item for item in results.items}
    for start in range(0, len(results.closer), 3):
        three = results.closer[start : start + 3]
        items = [measured.get(point.name) for point in three]
        speeds = [three_digits(item.amount / item.costs[OURS] / 1e9) if item else "" for item in items]
        ratios = [ratio_text(item.ratio("best peer") if item else None) for item in items]
        yield [" ".join(_words(three[0])), *speeds, *ratios]


def all_remarks(results: SweepResults) -> Iterator[str]:
    """What a reader should know besides the figures."""
    yield f"seed {results.seed}, {counted(results.threads, 'thread')}, {results.op}"
    yield from remarks(results)


def report(results: SweepResults, width: int) -> Iterator[RenderableType]:
    """What `loopnest bench sweep` prints on a terminal of this width."""
    return shown(results.environment, HOW, sheets(results), all_remarks(results), width)

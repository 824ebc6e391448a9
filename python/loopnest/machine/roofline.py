"""The roofline: the rate that a machine allows a loop, by the flops that the loop does for each byte it moves.

A loop of i flops a byte reaches at most min(peak, bandwidth · i). On logarithmic scales that is a slope for each level
of the memory, where bytes decide, under one flat roof, where flops do. Source: Williams, Waterman, Patterson,
*Roofline: an insightful visual performance model for multicore architectures*, CACM 52:4 (2009); with a roof for each
cache, Ilic, Pratas, Sousa, *Cache-aware roofline model*, IEEE Computer Architecture Letters 13:1 (2014).
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from ..output.pictures import CARD, INK, LIMIT, Picture
from ..output.text import counted, three_digits
from .records import MachineCard


class Point(NamedTuple):
    """What a kernel reached: flops and bytes in a number of seconds.

    colour, gid  of its mark in a picture
    """

    label: str
    flops: float
    bytes: float
    seconds: float
    colour: str = INK
    gid: str | None = None

    @property
    def intensity(self) -> float:
        """Flops a byte."""
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        """Flops a second."""
        return self.flops / self.seconds


def roofline_svg(card: MachineCard, points: Iterable[Sequence[Any]] = (), *, dtype: str = "float32") -> str:
    """The roofline of a card with all of its processors as SVG, made by matplotlib, with points in it.

    points  fields of Point: (label, flops, bytes, seconds). Points without flops have no place and are left out
    """
    from matplotlib.ticker import LogLocator

    width, height = 5.8, 4.6  # readable on a telephone
    placed = [point for point in (Point(*p) for p in points) if point.flops > 0 and point.bytes > 0]
    count = card.cores
    label = dtype if card.is_gpu else f"{dtype}, {counted(count, 'thread')}"
    peak, roofs = card.peak(dtype, count), {level: card.bandwidth(level, None, count) for level in card.levels()}
    ridges = {level: peak / bandwidth for level, bandwidth in roofs.items()}  # flops a byte at which a slope ends
    left = min([0.04 * min(ridges.values()), *(point.intensity / 1.5 for point in placed)])
    right = max([6 * max(ridges.values()), *(point.intensity * 1.5 for point in placed)])
    low = min([*(bandwidth * left for bandwidth in roofs.values()), *(point.rate / 1.5 for point in placed)])
    high = 1.4 * peak
    picture = Picture(width, height, title=f"Roofline: {label}")
    with picture as grid:
        axes = grid[0, 0]
        axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(low, high))
        axes.set(xlabel="flops a byte", ylabel="GFLOP/s")
        for axis, span in ((axes.xaxis, right / left), (axes.yaxis, high / low)):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5) if span < 1000 else (1,)))
        axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
        axes.yaxis.set_major_formatter(lambda y, _: f"{y / 1e9:g}")
        axes.minorticks_off()

        tilt = math.atan(math.log10(right / left) / math.log10(high / low) * height / width)  # of a line of slope 1
        taken = []  # by names, in points from the axes' lower left corner
        across, up = 72 * (width - 0.8), 72 * (height - 0.7)  # points of the axes
        for number, (level, bandwidth) in enumerate(roofs.items()):
            start, ridge = max(left, low / bandwidth), ridges[level]
            axes.plot([start, ridge, right], [bandwidth * start, peak, peak], color=LIMIT, linewidth=1.8)
            # on the line, and not next to the name of the roof below, which may be near
            middle = start * (min(ridges.values()) / start) ** ((0.5, 0.15, 0.5, 0.85)[number % 4])
            on_the_line = {"facecolor": CARD, "edgecolor": "none", "pad": 0.6}
            axes.text(
                middle,
                bandwidth * middle,
                f"{level} {three_digits(bandwidth / 1e9)} GB/s",
                size=NAME + 0.5,
                ha="center",
                va="center",
                rotation=math.degrees(tilt),
                rotation_mode="anchor",
                bbox=on_the_line,
            )
            x, y = across * _share(middle, left, right), up * _share(bandwidth * middle, low, high)
            taken += [(x - 30, x + 30, y + away) for away in (-NAME, 0, NAME)]
        at_the_right = {"textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{three_digits(peak / 1e9)} GFLOP/s: {label}", (right, peak), (0, 4), **at_the_right)
        if count > 1:
            one = card.peak(dtype)
            start = one / next(iter(roofs.values()))
            axes.plot([start, right], [one] * 2, color=INK, alpha=0.6, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(f"1 thread {three_digits(one / 1e9)}", (right, one), (0, 3), size=8, **at_the_right)
        for point in placed:
            axes.plot(point.intensity, point.rate, "o", color=point.colour, alpha=0.8, markeredgewidth=0, gid=point.gid)
        places = [
            (across * _share(point.intensity, left, right), up * _share(point.rate, low, high)) for point in placed
        ]
        for number, to_the_left in _named([point.label for point in placed], places, taken, across):
            point = placed[number]
            where = {"xytext": (-4 if to_the_left else 4, 0), "ha": "right" if to_the_left else "left"}
            at = point.intensity, point.rate
            axes.annotate(point.label, at, textcoords="offset points", va="center_baseline", size=NAME, **where)
    return picture.svg


NAME = 6.5
"""The size of a dot's name, in points."""


def _share(x: float, low: float, high: float) -> float:
    """Where x lies on a logarithmic axis, from 0 to 1."""
    return math.log(x / low) / math.log(high / low)


def _named(
    labels: Sequence[str],
    places: Sequence[tuple[float, float]],
    taken: Sequence[tuple[float, float, float]],
    across: float,
) -> Iterator[tuple[int, bool]]:
    """The dots that get a name, the highest first, and whether it stands to the left: where it covers no other name and
    no dot. A dot without room has none; the page shows its name under the pointer.

    places  of the dots, in points from the axes' lower left corner; the axes are `across` wide
    taken   left end, right end and height of what is there already
    """
    taken = [*taken, *((x - 3, x + 3, y) for x, y in places)]
    for number in sorted(range(len(labels)), key=lambda number: -places[number][1]):
        x, y = places[number]
        length = 0.56 * NAME * len(labels[number])
        for start, to_the_left in ((x + 3, False), (x - 3 - length, True)):
            free = all(
                abs(y - other) > 0.95 * NAME or end <= start or begin >= start + length for begin, end, other in taken
            )
            if free and start >= 0 and start + length <= across:
                taken.append((start, start + length, y))
                yield number, to_the_left
                break

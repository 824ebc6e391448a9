"""The roofline: the rate that a machine allows a loop, by the flops that the loop does for each byte it moves.

A loop of i flops a byte reaches at most min(peak, bandwidth · i). On logarithmic scales that is a slope for each level
of the memory, where bytes decide, under one flat roof, where flops do. Source: Williams, Waterman, Patterson,
*Roofline: an insightful visual performance model for multicore architectures*, CACM 52:4 (2009); with a roof for each
cache, Ilic, Pratas, Sousa, *Cache-aware roofline model*, IEEE Computer Architecture Letters 13:1 (2014).
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from ..output.pictures import INK, LIMIT, Picture
from ..output.text import three_digits
from .records import MachineCard


class Point(NamedTuple):
    """What a kernel reached: flops and bytes in a number of seconds.

    colour, gid  of its mark in a picture. A point with a gid has no label there: the page shows one
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


def roofline_svg(
    card: MachineCard, points: Iterable[Sequence[Any]] = (), *, dtype: str = "float32", threads: int | None = None
) -> str:
    """The roofline of a card as SVG, made by matplotlib, with points in it.

    points   fields of Point: (label, flops, bytes, seconds). Points without flops have no place and are left out
    threads  whose roofs these are; None: all processors
    """
    from matplotlib.ticker import LogLocator

    width, height = 9.0, 5.4
    placed = [point for point in (Point(*p) for p in points) if point.flops > 0 and point.bytes > 0]
    count = card.cores if threads is None else threads
    label = f"{dtype}, {count} thread{'s' if count > 1 else ''}"
    peak, roofs = card.peak(dtype, count), {level: card.bandwidth(level, None, count) for level in card.levels()}
    ridges = {level: peak / bandwidth for level, bandwidth in roofs.items()}  # flops a byte at which a slope ends
    left = min([0.15 * min(ridges.values()), *(point.intensity / 1.5 for point in placed)])
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
        before = math.inf
        for level, bandwidth in roofs.items():
            start, ridge = max(left, low / bandwidth), ridges[level]
            axes.plot([start, ridge, right], [bandwidth * start, peak, peak], color=LIMIT, linewidth=1.8)
            middle = math.sqrt(start * ridge)
            below = before < 1.6 * bandwidth  # no room between the two
            away, before = -4 if below else 4, bandwidth
            axes.annotate(
                f"{level} {three_digits(bandwidth / 1e9)} GB/s",
                (middle, bandwidth * middle),
                (-away * math.sin(tilt), away * math.cos(tilt)),
                textcoords="offset points",
                ha="center",
                va="top" if below else "baseline",
                rotation=math.degrees(tilt),
                rotation_mode="anchor",
            )
        at_the_right = {"textcoords": "offset points", "ha": "right"}
        axes.annotate(f"{three_digits(peak / 1e9)} GFLOP/s: {label}", (right, peak), (0, 4), **at_the_right)
        if count > 1:
            one = card.peak(dtype)
            start = one / next(iter(roofs.values()))
            axes.plot([start, right], [one] * 2, color=INK, alpha=0.6, linewidth=1, linestyle=(0, (4, 3)))
            axes.annotate(f"1 thread {three_digits(one / 1e9)}", (right, one), (0, 3), size=8, **at_the_right)
        for point in placed:
            axes.plot(point.intensity, point.rate, "o", color=point.colour, alpha=0.8, markeredgewidth=0, gid=point.gid)
            if not point.gid:
                axes.annotate(f"  {point.label}", (point.intensity, point.rate), va="center", size=8)
    return picture.svg

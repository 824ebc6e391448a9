"""The roofline: the rate that a machine allows a loop, by the flops that the loop does for each byte it moves.

A loop of i flops a byte reaches at most min(peak, bandwidth · i). On logarithmic scales that is a slope for each level
of the memory, where bytes decide, under one flat roof, where flops do. Source: Williams, Waterman, Patterson,
*Roofline: an insightful visual performance model for multicore architectures*, CACM 52:4 (2009); with a roof for each
cache, Ilic, Pratas, Sousa, *Cache-aware roofline model*, IEEE Computer Architecture Letters 13:1 (2014).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Roof:
    """A slope: bytes a second from a level. It meets the flat roof at the ridge, in flops a byte."""

    level: str
    bandwidth: float
    ridge: float


@dataclass(frozen=True)
class Roofline:
    """A roofline as data, in flops, bytes and seconds.

    one_thread   the peak of one thread, where the roofs are of several
    intensities  the ends of the horizontal axis, in flops a byte
    rates        the ends of the vertical axis, in flops a second
    """

    peak: float
    label: str
    roofs: tuple[Roof, ...]
    one_thread: float | None
    points: tuple[Point, ...]
    intensities: tuple[float, float]
    rates: tuple[float, float]

    def at(self, roof: Roof, intensity: float) -> float:
        """Flops a second under a roof at an intensity."""
        return min(self.peak, roof.bandwidth * intensity)


def roofline(
    card: MachineCard, points: Iterable[Sequence[Any]] = (), *, dtype: str = "float32", threads: int | None = None
) -> Roofline:
    """The roofline of a card, with points in it.

    points   fields of Point: (label, flops, bytes, seconds). Points without flops have no place and are left out
    threads  whose roofs these are; None: all processors
    """
    count = card.cores if threads is None else threads
    peak = card.peak(dtype, count)
    roofs = tuple(Roof(level, b, peak / b) for level in card.levels() if (b := card.bandwidth(level, None, count)))
    placed = tuple(point for point in (Point(*p) for p in points) if point.flops > 0 and point.bytes > 0)
    ridges = [roof.ridge for roof in roofs]
    left = min([0.15 * min(ridges), *(point.intensity / 1.5 for point in placed)])
    right = max([6 * max(ridges), *(point.intensity * 1.5 for point in placed)])
    low = min([*(roof.bandwidth * left for roof in roofs), *(point.rate / 1.5 for point in placed)])
    one_thread = card.peak(dtype) if count > 1 else None
    label = f"{dtype}, {count} thread{'s' if count > 1 else ''}"
    return Roofline(peak, label, roofs, one_thread, placed, (left, right), (low, 1.4 * peak))


def roofline_svg(
    card: MachineCard,
    points: Iterable[Sequence[Any]] = (),
    *,
    dtype: str = "float32",
    threads: int | None = None,
) -> str:
    """The roofline as SVG, made by matplotlib. Arguments as for `roofline`."""
    width, height = 9.0, 5.4
    line = roofline(card, points, dtype=dtype, threads=threads)
    picture = Picture(width, height, title=f"Roofline: {line.label}")
    with picture as axes:
        _draw(axes[0, 0], line, height / width)
    return picture.svg


def _draw(axes: Any, line: Roofline, steepness: float) -> None:
    """steepness: the axes' height by their width."""
    from matplotlib.ticker import LogLocator

    axes.set(xscale="log", yscale="log", xlim=line.intensities, ylim=line.rates)
    axes.set(xlabel="flops a byte", ylabel="GFLOP/s")
    for axis, (low, high) in ((axes.xaxis, line.intensities), (axes.yaxis, line.rates)):
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high / low < 1000 else (1,)))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y / 1e9:g}")
    axes.minorticks_off()

    left, right = line.intensities
    decades = math.log10(right / left) / math.log10(line.rates[1] / line.rates[0])
    tilt = math.atan(decades * steepness)  # of a line of slope 1
    for number, roof in enumerate(line.roofs):
        start = max(left, line.rates[0] / roof.bandwidth)
        corners = [start, roof.ridge, right]
        axes.plot(corners, [line.at(roof, x) for x in corners], color=LIMIT, linewidth=1.8)
        middle = math.sqrt(start * roof.ridge)
        below = number > 0 and line.roofs[number - 1].bandwidth < 1.6 * roof.bandwidth  # no room between the two
        away = -4 if below else 4
        axes.annotate(
            f"{roof.level} {three_digits(roof.bandwidth / 1e9)} GB/s",
            (middle, line.at(roof, middle)),
            (-away * math.sin(tilt), away * math.cos(tilt)),
            textcoords="offset points",
            ha="center",
            va="top" if below else "baseline",
            rotation=math.degrees(tilt),
            rotation_mode="anchor",
        )
    at_the_right = {"textcoords": "offset points", "ha": "right"}
    axes.plot([min(roof.ridge for roof in line.roofs), right], [line.peak] * 2, color=LIMIT, linewidth=1.8)
    axes.annotate(f"{three_digits(line.peak / 1e9)} GFLOP/s: {line.label}", (right, line.peak), (0, 4), **at_the_right)
    if line.one_thread:
        start = line.one_thread / line.roofs[0].bandwidth
        axes.plot([start, right], [line.one_thread] * 2, color=INK, alpha=0.6, linewidth=1, linestyle=(0, (4, 3)))
        label = f"1 thread {three_digits(line.one_thread / 1e9)}"
        axes.annotate(label, (right, line.one_thread), (0, 3), size=8, **at_the_right)
    for point in line.points:
        axes.plot(point.intensity, point.rate, "o", color=point.colour, alpha=0.8, markeredgewidth=0, gid=point.gid)
        if not point.gid:
            axes.annotate(f"  {point.label}", (point.intensity, point.rate), va="center", size=8)

"""The roofline: what a machine lets a loop reach, by how many flops it does for each byte that it moves.

A loop of i flops a byte reaches at most min(peak, bandwidth · i). On logarithmic scales that is a slope for each level
of the memory, where bytes decide, under one flat roof, where flops do. Source: Williams, Waterman, Patterson,
*Roofline: an insightful visual performance model for multicore architectures*, CACM 52:4 (2009); with a roof for each
cache, Ilic, Pratas, Sousa, *Cache-aware roofline model*, IEEE Computer Architecture Letters 13:1 (2014).

Here made from a machine card and points (label, flops, bytes, seconds): as SVG, and in characters for the terminal.
"""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..output.text import three_digits
from .card import MachineCard

INK = "#123456"
"""Stands for the colour of the text around it until the SVG is written."""

ROOFS = ("#e0443e", "#e08214", "#2ca02c", "#3a8bd0", "#9467bd")
"""Of the levels from the nearest on: seen well on white and on black."""


ALIKE = 1.12
"""Rates closer than this are one line to the eye."""


class Point(NamedTuple):
    """What a rung reached: so many flops and bytes in so many seconds."""

    label: str
    flops: float
    bytes: float
    seconds: float

    @property
    def intensity(self) -> float:
        return self.flops / self.bytes

    @property
    def rate(self) -> float:
        return self.flops / self.seconds


@dataclass(frozen=True)
class Roof:
    """A slope: bytes a second from a level; it meets the flat roof at the ridge, in flops a byte."""

    level: str
    bandwidth: float
    ridge: float


@dataclass(frozen=True)
class Ceiling:
    """A flat line under the flat roof: what a part of the machine reaches."""

    label: str
    flops: float


@dataclass(frozen=True)
class Roofline:
    """What is drawn: all in flops, bytes and seconds.

    shares       what each point reaches of its limit: the peak, or the bandwidth of the level that holds its bytes
    intensities  the ends of the horizontal axis, in flops a byte
    rates        those of the vertical one, in flops a second
    """

    peak: float
    label: str
    roofs: tuple[Roof, ...]
    ceilings: tuple[Ceiling, ...]
    points: tuple[Point, ...]
    shares: tuple[float, ...]
    intensities: tuple[float, float]
    rates: tuple[float, float]

    def at(self, roof: Roof, intensity: float) -> float:
        return min(self.peak, roof.bandwidth * intensity)


def roofline(
    card: MachineCard, points: Iterable[Sequence[Any]] = (), *, dtype: str = "float32", threads: int | None = None
) -> Roofline:
    """The roofline of a card, with points in it.

    points   of (label, flops, bytes, seconds); what does no flops has no place in it and is left out
    threads  whose roofs are drawn: as many as there are processors where it is None
    """
    count = card.cores if threads is None else threads
    peak = card.peak(dtype, count)
    roofs = tuple(Roof(level, b, peak / b) for level in card.levels() if (b := card.bandwidth(level, None, count)))
    placed = tuple(point for point in (Point(*p) for p in points) if point.flops > 0 and point.bytes > 0)
    ridges = [roof.ridge for roof in roofs]
    left = min([0.15 * min(ridges), *(point.intensity / 1.5 for point in placed)])
    right = max([6 * max(ridges), *(point.intensity * 1.5 for point in placed)])
    lowest = [roof.bandwidth * left for roof in roofs]
    low = min([*lowest, *(point.rate / 1.5 for point in placed)])
    return Roofline(
        peak,
        f"{dtype}, {_threads(count)}",
        roofs,
        tuple(_ceilings(card, dtype, count, peak)),
        placed,
        tuple(card.least_seconds(p.flops, p.bytes, dtype, count, level=None) / p.seconds for p in placed),
        (left, right),
        (low, 1.4 * peak),
    )


def _ceilings(card: MachineCard, dtype: str, threads: int, peak: float) -> Iterator[Ceiling]:
    """The peaks of one thread and of single ISA levels that the eye can tell from the peak; as one line those that it
    cannot tell from each other."""
    parts = {f"{level} only": card.peak(dtype, threads, level) for level in card.isa_levels}
    if threads > 1:
        parts = {"1 thread": card.peak(dtype), **parts}
    lower = sorted((flops, label) for label, flops in parts.items() if flops < peak / ALIKE)
    while lower:
        together = [(flops, label) for flops, label in lower if flops < lower[0][0] * ALIKE]
        yield Ceiling(", ".join(label for _, label in together), together[-1][0])
        lower = lower[len(together) :]


def _threads(count: int) -> str:
    return "1 thread" if count == 1 else f"{count} threads"


# --- as SVG


def roofline_svg(
    card: MachineCard,
    points: Iterable[Sequence[Any]] = (),
    *,
    dtype: str = "float32",
    threads: int | None = None,
    standalone: bool = False,
    width: float = 9.0,
    height: float = 5.4,
) -> str:
    """The roofline as an `<svg>` element, made by matplotlib.

    points         of (label, flops, bytes, seconds)
    standalone     with an XML head, and colours of its own for dark and for light: a file. Else lines and text have the
                   colour of the page around it (currentColor), so that it is seen on dark and on light
    width, height  in inches of 72 units; it fits itself to the width of the page

    Each point is a `<g class="point" data-point="0">` (1, 2 …, in the order of those that have flops) with a `<title>`,
    which browsers show where the mouse is on it; each roof a `<g class="roof" data-roof="L1">`.
    """
    line = roofline(card, points, dtype=dtype, threads=threads)
    return _finished(_drawn(line, width, height), line, standalone)


def _drawn(line: Roofline, width: float, height: float) -> str:
    """What matplotlib makes of it; the ids `roof-…` and `point-…` mark what the page may want to find."""
    import io

    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    styles: Any = {
        "svg.fonttype": "none",  # text stays text: small, and in the page's font
        "svg.hashsalt": "loopnest",  # the same file every time
        "font.size": 10,
        "axes.linewidth": 0.8,
        **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    }
    with matplotlib.rc_context(styles):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.add_subplot()
        FigureCanvasSVG(figure)
        _draw(axes, line, width, height)
        file = io.StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def _draw(axes: Any, line: Roofline, width: float, height: float) -> None:
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlim(line.intensities)
    axes.set_ylim(line.rates)
    axes.set_xlabel("flops a byte")
    axes.set_ylabel("GFLOP/s")
    axes.set_xticks(_steps(*line.intensities))
    axes.set_yticks(_steps(*line.rates))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.yaxis.set_major_formatter(lambda y, _: f"{y / 1e9:g}")
    axes.minorticks_off()
    axes.grid(True, color=INK, alpha=0.15, linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)

    left, right = line.intensities
    decades = math.log10(right / left) / math.log10(line.rates[1] / line.rates[0])
    tilt = math.degrees(math.atan(decades * height / width))  # of a line of slope 1
    for number, roof in enumerate(line.roofs):
        colour = ROOFS[number % len(ROOFS)]
        start = max(left, line.rates[0] / roof.bandwidth)
        corners = [start, roof.ridge, right]
        axes.plot(corners, [line.at(roof, x) for x in corners], color=colour, linewidth=1.8, gid=f"roof-{roof.level}")
        along = math.sqrt(start * roof.ridge)
        below = number > 0 and line.roofs[number - 1].bandwidth < 1.6 * roof.bandwidth  # no room between the two
        side = -1 if below else 1
        axes.annotate(
            f"{roof.level} {three_digits(roof.bandwidth / 1e9)} GB/s",
            (along, line.at(roof, along)),
            (-4 * side * math.sin(math.radians(tilt)), 4 * side * math.cos(math.radians(tilt))),
            textcoords="offset points",
            color=colour,
            ha="center",
            va="top" if below else "baseline",
            rotation=tilt,
            rotation_mode="anchor",
        )
    top = f"{three_digits(line.peak / 1e9)} GFLOP/s: {line.label}"
    axes.plot([min(r.ridge for r in line.roofs), right], [line.peak] * 2, color=INK, linewidth=1.8, gid="roof-peak")
    axes.annotate(top, (right, line.peak), (0, 4), textcoords="offset points", color=INK, ha="right")
    nearest = line.roofs[0]
    for ceiling in line.ceilings:
        start = ceiling.flops / nearest.bandwidth
        axes.plot([start, right], [ceiling.flops] * 2, color=INK, alpha=0.6, linewidth=1, linestyle=(0, (4, 3)))
        text = f"{ceiling.label} {three_digits(ceiling.flops / 1e9)}"
        axes.annotate(text, (right, ceiling.flops), (0, 3), textcoords="offset points", color=INK, ha="right", size=9)
    for number, point in enumerate(line.points):
        axes.plot(
            [point.intensity],
            [point.rate],
            marker="o",
            markersize=6,
            linestyle="none",
            color=INK,
            alpha=0.75,
            markeredgewidth=0,
            gid=f"point-{number}",
        )


def _finished(svg: str, line: Roofline, standalone: bool) -> str:
    """In the page's colours and font, with a name for screen readers and what the mouse shows."""
    head, body = svg.split("<svg ", 1)
    opened, body = body.split(">", 1)
    for pattern, replacement in (
        (r"(?s)<metadata>.*?</metadata>", ""),
        (r"<style type=\"text/css\">\*", "<style>svg.roofline *"),  # or it would be the whole page's
        (r"font: ([\d.]+px) [^;\"]*", r"font-size: \1"),
        (INK, "currentColor"),
        (r'<g id="(roof|point)-(\w+)">', r'<g class="\1" data-\1="\2">'),
    ):
        body = re.sub(pattern, replacement, body)
    for number, (point, share) in enumerate(zip(line.points, line.shares, strict=True)):
        mark = f'data-point="{number}">'
        body = body.replace(mark, f"{mark}<title>{html.escape(_told(point, share))}</title>", 1)
    opened = re.sub(r'\b(width|height)="[^"]*"\s*', "", opened)
    name = html.escape(f"Roofline: {line.label}")
    style = STANDALONE if standalone else ""
    return f'{head if standalone else ""}<svg class="roofline" role="img" aria-label="{name}" {opened}>{style}{body}'


STANDALONE = (
    "<style>svg.roofline{color:#222;background:#fff;font-family:sans-serif}"
    "@media(prefers-color-scheme:dark){svg.roofline{color:#ddd;background:#181818}}</style>"
)


def _told(point: Point, share: float) -> str:
    return (
        f"{point.label}: {three_digits(point.rate / 1e9)} GFLOP/s at {three_digits(point.intensity)} flops a byte, "
        f"{share:.0%} of its limit"
    )


# --- in the terminal

DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
"""The bits of a braille character's dots, from its top row to its lowest: U+2800 has none."""


class Canvas:
    """A picture of characters: braille dots, 2 x 4 in each, and texts over them."""

    def __init__(self, width: int, height: int) -> None:
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._text: dict[tuple[int, int], str] = {}

    def dot(self, x: float, y: float) -> None:
        """At x, y, from 0, 0 at the left and the top to 1, 1."""
        column, row = round(x * (2 * self.width - 1)), round(y * (4 * self.height - 1))
        if 0 <= column < 2 * self.width and 0 <= row < 4 * self.height:
            self._dots[row // 4][column // 2] |= DOTS[row % 4][column % 2]

    def line(self, start: tuple[float, float], end: tuple[float, float], every: int = 1) -> None:
        """Straight, of every dot or of every so many-th."""
        (x0, y0), (x1, y1) = start, end
        steps = max(1, round(abs(x1 - x0) * 2 * self.width), round(abs(y1 - y0) * 4 * self.height))
        for step in range(0, steps + 1, every):
            self.dot(x0 + (x1 - x0) * step / steps, y0 + (y1 - y0) * step / steps)

    def write(self, x: float, y: float, text: str, free: bool = True) -> bool:
        """A text that begins at a place; with `free` only where no other text is. Whether it was written."""
        row, column = round(y * (self.height - 1)), round(x * (self.width - 1))
        column = max(0, min(column, self.width - len(text)))
        places = [(row, column + n) for n in range(len(text))]
        if not 0 <= row < self.height or (free and any(place in self._text for place in places)):
            return False
        self._text.update(zip(places, text, strict=True))
        return True

    def rows(self) -> list[str]:
        return [
            "".join(self._text.get((r, c)) or (chr(0x2800 + bits) if bits else " ") for c, bits in enumerate(row))
            for r, row in enumerate(self._dots)
        ]


MARKS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"


def roofline_text(
    card: MachineCard,
    points: Iterable[Sequence[Any]] = (),
    *,
    dtype: str = "float32",
    threads: int | None = None,
    width: int = 80,
    height: int = 16,
) -> str:
    """The roofline in characters, with a letter for each point and below it what the letters are.

    width   columns of the whole
    height  rows of the picture, less the axis and the points' legend
    """
    line = roofline(card, points, dtype=dtype, threads=threads)
    marks = [MARKS[n % len(MARKS)] for n in range(len(line.points))]
    margin = 8
    canvas = Canvas(width - margin, height)
    x, y = _scale(*line.intensities), _scale(*line.rates)

    def place(intensity: float, rate: float) -> tuple[float, float]:
        return x(intensity), 1 - y(rate)

    left, right = line.intensities
    for roof in line.roofs:
        start = max(left, line.rates[0] / roof.bandwidth)
        canvas.line(place(start, roof.bandwidth * start), place(roof.ridge, line.peak))
    canvas.line(place(min(roof.ridge for roof in line.roofs), line.peak), place(right, line.peak))
    nearest = line.roofs[0].bandwidth
    for ceiling in line.ceilings:
        canvas.line(place(ceiling.flops / nearest, ceiling.flops), place(right, ceiling.flops), every=4)
    for mark, point in zip(marks, line.points, strict=True):
        canvas.write(*place(point.intensity, point.rate), mark, free=False)
    for number, roof in enumerate(line.roofs):  # beside its slope, each at a height of its own
        start = max(left, line.rates[0] / roof.bandwidth) * roof.bandwidth
        rate = start * (line.peak / start) ** (0.4 + 0.12 * (number % 3))
        across, down = place(rate / roof.bandwidth, rate)
        canvas.write(across - (len(roof.level) + 1) / canvas.width, down, roof.level)
    for ceiling in line.ceilings:
        _, down = place(right, ceiling.flops)
        canvas.write(1, down, f" {ceiling.label} {three_digits(ceiling.flops / 1e9)}")

    ticks = {round((1 - y(rate)) * (height - 1)): rate for rate in _steps(*line.rates)}
    top = f"{three_digits(line.peak / 1e9)} GFLOP/s: {line.label}"
    rows = [f"{'GFLOP/s':>{margin - 1}} {top:>{canvas.width}}"]
    for number, row in enumerate(canvas.rows()):
        label = f"{ticks[number] / 1e9:g}" if number in ticks else ""
        rows.append(f"{label:>{margin - 2}} {'┤' if label else '│'}{row}")
    rows += _axis(line.intensities, x, margin, canvas.width)
    rows += _legend(marks, line, width)
    return "\n".join(row.rstrip() for row in rows)


def _scale(low: float, high: float) -> Any:
    """From low to high, on a logarithmic scale, to from 0 to 1."""
    return lambda value: math.log(value / low) / math.log(high / low)


def _steps(low: float, high: float) -> list[float]:
    """The powers of ten between, and where these are few also 2 and 5 times them."""
    factors = (1, 2, 5) if high / low < 1000 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [step for power in powers for f in factors if low <= (step := f * 10.0**power) <= high]


def _axis(ends: tuple[float, float], x: Any, margin: int, width: int) -> list[str]:
    """The horizontal axis, and the figures under it."""
    line, figures = ["─"] * width, [" "] * (width + margin)
    for step in _steps(*ends):
        column = min(round(x(step) * (width - 1)), width - 1)
        text = f"{step:g}"
        start = margin + column - len(text) // 2
        line[column] = "┬"
        if (
            start + len(text) <= len(figures)
            and not "".join(figures[max(start - 1, 0) : start + len(text) + 1]).strip()
        ):
            figures[start : start + len(text)] = text
    name = "flops a byte"
    figures_text = "".join(figures).rstrip()
    named = f"{figures_text}  {name}" if len(figures_text) + 2 + len(name) <= width + margin else figures_text
    below = [] if named != figures_text else [f"{name:>{width + margin}}"]
    return [f"{'':{margin - 1}}└{''.join(line)}", named, *below]


def _legend(marks: Sequence[str], line: Roofline, width: int) -> list[str]:
    """What the letters are: label, GFLOP/s, flops a byte, share of the limit."""
    if not marks:
        return []
    longest = min(max(len(point.label) for point in line.points), max(10, width - 40))
    rows = [f"{'':5}{'':{longest}} {'GFLOP/s':>9} {'flops/byte':>11} {'of its limit':>13}"]
    for mark, point, share in zip(marks, line.points, line.shares, strict=True):
        label = point.label if len(point.label) <= longest else point.label[: longest - 1] + "…"
        rate, intensity = three_digits(point.rate / 1e9), three_digits(point.intensity)
        rows.append(f"  {mark}  {label:{longest}} {rate:>9} {intensity:>11} {share:>13.1%}")
    return rows

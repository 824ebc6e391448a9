"""The order in which a rung touches its operands' elements, as a picture for the terminal and as SVG.

>>> from loopnest.layout.walk import picture_svg, walk
>>> down = walk("matmul", "ijk", n=8)               # through a tiny cache, so that a small matrix does not fit
>>> [(step.operand, step.elements[0], step.miss) for step in down.steps[1:4]]
[('b', (0, 0), True), ('a', (0, 1), False), ('b', (1, 0), True)]
>>> down.misses("b") > down.misses("a")             # b is walked down its columns
True
>>> picture_svg(down)[:4]
'<svg'

The steps come from the rung's own template (layout/traffic.py).
"""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rich.columns import Columns
from rich.console import RenderableType
from rich.text import Text

from .. import _core
from ..arrays import Array
from ..operations import OPERATIONS
from ..output.pictures import CARD, FIRST_TO_LAST, GOOD_TO_BAD, Colour, Picture, on_scale, text_on
from ..output.tables import headed
from .traffic import OPERANDS, CacheLevel, Replay, Stream, stream_of

TOY = CacheLevel(size=256, ways=4, line=16)
"""The default cache of a picture: 16 lines of 4 floats, so that one matrix of 8 x 8 fills it."""

MOST = 32
"""The largest n: more elements would be too small to see."""

LOOP_ORDERS = {"ijk": "naive", "jik": "jik", "ikj": "reordered", "kij": "kij", "jki": "jki", "kji": "kji"}
"""The rungs of matmul's six loop orders."""

BLOCK = 4
"""The side of blocked's blocks in a picture: its own, made for real caches, are larger than the matrix."""

ITEM = 4
"""Bytes of a float32."""


@dataclass(frozen=True)
class Operand:
    """A matrix of the call; strides in elements."""

    name: str
    rows: int
    cols: int
    row_stride: int
    col_stride: int

    @property
    def order(self) -> str:
        """C, row-major, or F, column-major."""
        return "F" if self.col_stride > self.row_stride and self.rows > 1 else "C"

    def element(self, offset: int) -> tuple[int, int] | None:
        """Row and column of the element at an offset from the first one; None in the padding."""
        if self.order == "F":
            j, i = divmod(offset, self.col_stride)
        else:
            i, j = divmod(offset, self.row_stride)
        return (i, j) if i < self.rows and j < self.cols else None


@dataclass(frozen=True)
class Step:
    """An access to one line: to an element, or to a vector's elements.

    elements  of the operand; none where scratch memory is accessed, such as a packed copy
    """

    operand: str
    elements: tuple[tuple[int, int], ...]
    write: bool
    miss: bool


class Grid(NamedTuple):
    """For each element of an operand: when it was first touched (0 is the operand's first element; -1: never), how
    often it was touched, and how often its line was not there."""

    first: Array
    touched: Array
    missed: Array

    def cells(self, title: str) -> dict[tuple[int, int], tuple[int, float]]:
        """By row and column of the touched elements: a number, and its place on the scale of SCALES from 0 to 1."""
        numbers = self.missed if title == "misses" else self.first
        shares = numbers / (np.maximum(self.touched, 1) if title == "misses" else max(int(self.first.max()), 1))
        return {(int(i), int(j)): (int(numbers[i, j]), float(shares[i, j])) for i, j in np.argwhere(self.touched > 0)}


@dataclass(frozen=True)
class Walk:
    """A rung's way through its operands, and through a cache that was empty at first."""

    operation: str
    variant: str
    n: int
    operands: tuple[Operand, ...]
    steps: tuple[Step, ...]
    cache: CacheLevel
    note: str = ""

    def misses(self, operand: str | None = None) -> int:
        """The accesses, to one operand or to all, whose line was not in the cache."""
        return sum(step.miss for step in self.steps if operand in (None, step.operand))

    def touches(self, operand: str | None = None) -> int:
        return sum(operand in (None, step.operand) for step in self.steps)

    @property
    def title(self) -> str:
        orders = " ".join(f"{x.name}:{x.order}" for x in self.operands[:-1])
        note = f" · {self.note}" if self.note else ""
        return f"{self.operation} {self.variant}, {self.n} x {self.n}, {orders}{note}"

    @property
    def about_cache(self) -> str:
        lines, elements = self.cache.size // self.cache.line, self.cache.line // ITEM
        return f"a cache of {lines} lines of {elements} elements, {self.cache.ways} ways, empty at first"

    @property
    def drawn(self) -> list[Operand]:
        """The operands that are drawn: not the single number that is sum's result."""
        return [x for x in self.operands if x.rows * x.cols > 1] or list(self.operands)

    def grid(self, operand: Operand) -> Grid:
        shape = operand.rows, operand.cols
        first, touched, missed = np.full(shape, -1), np.zeros(shape, int), np.zeros(shape, int)
        elements = 0
        for step in self.steps:
            for at in step.elements if step.operand == operand.name else ():
                if first[at] < 0:
                    first[at], elements = elements, elements + 1
                touched[at] += 1
                missed[at] += step.miss
        return Grid(first, touched, missed)

    def main_stride(self, operand: Operand) -> tuple[int, float] | None:
        """The most frequent step in memory, in elements, from an element of an operand to the next one, and its share
        of all steps; None where only one element is touched."""
        at = [
            step.elements[0][0] * operand.row_stride + step.elements[0][1] * operand.col_stride
            for step in self.steps
            if step.operand == operand.name and step.elements
        ]
        taken = Counter(b - a for a, b in itertools.pairwise(at) if a != b)
        if not taken:
            return None
        stride, count = taken.most_common(1)[0]
        return stride, count / taken.total()

    def sentence(self) -> str:
        """Which operand misses the most, and how it is walked."""
        worst = max(self.operands, key=lambda x: self.misses(x.name))
        share = self.misses(worst.name) / self.touches(worst.name)
        stride = self.main_stride(worst)
        how = f", mostly {stride[0]:+d} elements from one to the next" if stride else ""
        return (
            f"{self.misses()} of {self.touches()} touches miss; {worst.name} misses the most, "
            f"{100 * share:.0f} % of its touches{how}."
        )


def walk(operation: str, variant: str | None = None, *, n: int = 8, layout: str = "C", cache: CacheLevel = TOY) -> Walk:
    """A call on matrices of n x n float32, through one cache, empty at first.

    operation  matmul, transpose, sum or add
    variant    of its C++ ladder, "naive" or "blocked"; for matmul also a loop order, "kij"; None: the first
    n          1 to 32
    layout     C (row-major) or F (column-major): of all inputs, or a letter for each, "CF"; the result is row-major
    cache      see CacheLevel

    Rows of sum and add lie twice as far apart as they are long: without a gap they would be one long row, without
    columns to go down. Raises ValueError, with what was expected, for anything else.
    """
    if operation not in OPERANDS:
        raise ValueError(f"operation: {operation!r} has no picture, expected one of {', '.join(OPERANDS)}")
    if not 1 <= n <= MOST:
        raise ValueError(f"n: {n}, expected 1 to {MOST}: more elements would be too small to see")
    if cache.line < ITEM:
        raise ValueError(f"line: {cache.line} bytes, expected at least one element's {ITEM}")
    stream = _stream(operation, variant)
    *names, result = OPERANDS[operation]
    letters = layout.upper() * len(names) if len(layout) == 1 else layout.upper()
    if len(letters) != len(names) or set(letters) - {"C", "F"}:
        raise ValueError(f"layout: {layout!r}, expected C or F, or {len(names)} of these letters, one for each input")
    gap = n if operation in ("sum", "add") else 0
    inputs = [np.ones((n, n + gap), np.float32)[:, :n] for _ in letters]
    inputs = [x.T if letter == "F" else x for x, letter in zip(inputs, letters, strict=True)]
    implementation = OPERATIONS[operation][f"cpp.{stream.variant.replace('blocked_with', 'blocked')}"]
    replay = Replay.of(implementation, inputs, (cache,), stream)
    arrays = dict(zip((*names, result), (*inputs, replay.operands[-1]), strict=True))
    operands = tuple(
        Operand(name, *x.shape, *(stride // ITEM for stride in x.strides)) if x.ndim > 1 else Operand(name, 1, 1, 1, 1)
        for name, x in arrays.items()
    )
    notes = [f"blocks of {BLOCK} x {BLOCK}"] if stream.variant == "blocked_with" else []
    notes += [f"rows {n + gap} elements apart"] if gap else []
    steps = tuple(_steps(replay.accesses(), operands, cache))
    return Walk(operation, variant or stream.variant, n, operands, steps, cache, ", ".join(notes))


def _stream(operation: str, variant: str | None) -> Stream:
    ladder = [k.variant for k in OPERATIONS[operation] if k.backend == "cpp" and stream_of(k)]
    known = {name: name for name in ladder} | (LOOP_ORDERS if operation == "matmul" else {})
    variant = ladder[0] if variant is None else variant.removeprefix("cpp.")
    if variant not in known:
        raise ValueError(f"variant: {operation} has no {variant!r}, expected one of {', '.join(known)}")
    if (operation, variant) == ("matmul", "blocked"):
        return Stream(operation, "blocked_with", (BLOCK, BLOCK, BLOCK))
    return Stream(operation, known[variant])


def _steps(accesses: Array, operands: Sequence[Operand], cache: CacheLevel) -> Iterator[Step]:
    """Each access, line by line: the simulator records an access to several lines as one."""
    lines = [
        (access, line)
        for access in accesses
        for line in range(access["address"] // cache.line, (access["address"] + access["bytes"] - 1) // cache.line + 1)
    ]
    simulator = _core.CacheSimulator([(cache.size, cache.ways, cache.line)])
    found = simulator.access(
        np.array([line * cache.line for _, line in lines]), np.array([access["write"] for access, _ in lines])
    )
    for (access, line), missed in zip(lines, found, strict=True):
        write, miss = bool(access["write"]), bool(missed)
        if access["region"] >= len(operands):
            yield Step("scratch", (), write, miss)
            continue
        x, moved = operands[access["region"]], int(access["offset"] - access["address"])
        begin = max(int(access["address"]), int(line) * cache.line)
        end = min(int(access["address"] + access["bytes"]), int(line + 1) * cache.line)
        touched = map(x.element, range((begin + moved) // ITEM, (end + moved) // ITEM))
        yield Step(x.name, tuple(at for at in touched if at is not None), write, miss)


# --- two pictures of each operand, each with a scale of colours

LARGEST_NUMBERED = 12
"""The side of the largest matrix whose elements have room for a number in the SVG."""

SCALES: Mapping[str, tuple[tuple[Colour, ...], str, str]] = {
    "order of the first touch": (FIRST_TO_LAST, "first", "last"),
    "misses": (GOOD_TO_BAD, "none", "every time"),
}


# --- in the terminal


def picture(walked: Walk, width: int = 80) -> Iterator[RenderableType]:
    """The picture as rich renderables: for each operand the order of the first touches, and the misses."""
    yield Text(walked.title, style="bold")
    yield Text(f"{walked.about_cache}\n")
    digits = len(str(walked.n * walked.n - 1)) + 1
    if max(x.cols for x in walked.operands) * digits > width:
        yield Text(f"The matrices are too wide for {width} columns; --svg draws them.\n")
    else:
        last = max(int(walked.grid(x).first.max()) for x in walked.drawn)
        for title, (stops, low, high) in SCALES.items():
            legend = Text(f"{title}: ", style="bold")
            numbers = ("0", f"{last}") if title != "misses" else ("0", "as many as touches")
            for end, share in zip((f"{numbers[0]}: {low}", f"{numbers[1]}: {high}"), (0.0, 1.0), strict=True):
                colour = on_scale(stops, share)
                legend.append(f" {end} ", style=f"{text_on(colour)} on {colour}")
            yield legend
            yield Columns([_text_grid(walked, x, title, digits) for x in walked.drawn], padding=(0, 2))
            yield Text()
    table = headed("operand", "order", "touches", "misses", "of them", "main step in memory", words=(0, 1))
    for x in walked.operands:
        touches, misses, stride = walked.touches(x.name), walked.misses(x.name), walked.main_stride(x)
        step = f"{stride[0]:+d} elements ({100 * stride[1]:.0f} %)" if stride else "none"
        table.add_row(x.name, x.order, str(touches), str(misses), f"{100 * misses / max(touches, 1):.0f} %", step)
    yield table
    yield Text(f"\n{walked.sentence()}", style="bold")


def _text_grid(walked: Walk, x: Operand, title: str, digits: int) -> Text:
    shown, text = walked.grid(x).cells(title), Text(f"{x.name} ({x.order})", no_wrap=True)
    for i, j in np.ndindex(x.rows, x.cols):
        text.append("\n" if j == 0 else "")
        if (i, j) not in shown:
            text.append(" " * digits)
            continue
        number, share = shown[i, j]
        colour = on_scale(SCALES[title][0], share)
        text.append(f"{number:>{digits - 1}} ", style=f"{text_on(colour)} on {colour}")
    return text


# --- as SVG


def picture_svg(walked: Walk) -> str:
    """The picture as SVG, made by matplotlib: a file, or with output.pictures.themed a part of a page.

    For each operand it shows the order in which its elements are first touched, with a line along it, and below that
    how often each misses.
    """
    side = 0.29 if walked.n <= LARGEST_NUMBERED else 3.5 / walked.n  # inches of an element
    shown = walked.drawn
    width, height = max(side * sum(x.cols for x in shown) + 1.3, 6.5), 2 * side * walked.n + 2.1
    picture = Picture(width, height, len(SCALES), len(shown), title=walked.title)
    with picture as axes:
        picture.figure.suptitle(f"{walked.title}\n{walked.about_cache}", size=9)
        picture.figure.supxlabel(textwrap.fill(walked.sentence(), int(13 * width)), size=9)
        colours = "violet: first, yellow: last", "green: none, red: every time"
        for row, title, about in zip(axes, SCALES, colours, strict=True):
            for ax, x in zip(row, shown, strict=True):
                _draw(ax, walked.grid(x), title)
                ax.set_title(f"{x.name}, {'column-major' if x.order == 'F' else 'row-major'}" if x.cols > 4 else x.name)
            row[0].set_ylabel(f"{title}\n{about}")
    return picture.svg


def _draw(ax: Any, grid: Grid, title: str) -> None:
    """A field for each touched element, its number where there is room, and a line in the order of first touches.

    Next to numbers the line is a dash between neighbours: it crosses no number.
    """
    from matplotlib.colors import to_rgb

    shown, (rows, columns) = grid.cells(title), grid.first.shape
    colours = np.ones((rows, columns, 3))
    for at, (number, share) in shown.items():
        colour = on_scale(SCALES[title][0], share)
        colours[at] = to_rgb(colour)
        if columns <= LARGEST_NUMBERED:
            ax.text(*reversed(at), number, ha="center", va="center", size=7.5, color=text_on(colour))
    ax.imshow(colours, interpolation="nearest")
    if title != "misses":
        order = sorted(shown, key=lambda at: grid.first[at])
        line: list[tuple[float, float]] = [*order]
        if columns <= LARGEST_NUMBERED:
            steps = [(np.array(at), np.array(to)) for at, to in itertools.pairwise(order)]
            dashes = [(at + 0.38 * (to - at), at + 0.62 * (to - at)) for at, to in steps if abs(to - at).sum() == 1]
            line = [(i, j) for start, end in dashes for i, j in (start, end, (np.nan, np.nan))]
        ax.plot([j for _, j in line], [i for i, _ in line], color=CARD, alpha=0.5, linewidth=1.2)
    ax.set(xticks=[], yticks=[])
    ax.set_xticks(np.arange(columns - 1) + 0.5, minor=True)
    ax.set_yticks(np.arange(rows - 1) + 0.5, minor=True)
    ax.tick_params(which="minor", length=0)
    ax.grid(which="minor", color=CARD, linewidth=1)
    ax.spines[:].set_visible(False)

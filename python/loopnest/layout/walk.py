"""The order in which a rung touches its operands' elements, as a picture: in the terminal, as SVG, and animated.

>>> from loopnest.layout.walk import picture_svg, walk
>>> down = walk("matmul", "ijk", n=8)               # through a toy's cache, so that a small matrix does not fit
>>> [str(step) for step in down.steps[:5]]
['a[0,0] miss', 'b[0,0] miss', 'a[0,1] hit', 'b[1,0] miss', 'a[0,2] hit']
>>> down.misses("b") > down.misses("a")             # b is walked down its columns
True
>>> picture_svg(down)[:4]
'<svg'

The steps are those of the rung's own template (layout/traffic.py).
"""

from __future__ import annotations

import itertools
import textwrap
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from ..arrays import Array
from .traffic import OPERANDS, CacheLevel, Replay, Stream, stream_of

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

TOY = CacheLevel(size=256, ways=4, line=16)
"""The usual cache of a picture: 16 lines of 4 floats, so that one matrix of 8 x 8 fills it."""

MOST = 32
"""The largest n: more elements could not be told apart."""

MOST_STEPS = 20_000
"""Of an animation, whose file is then about a megabyte."""

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

    def element(self, number: int) -> tuple[int, int] | None:
        """Row and column of the element so many from the first one in memory; None in the padding."""
        if self.order == "F":
            j, i = divmod(number, self.col_stride)
        else:
            i, j = divmod(number, self.row_stride)
        return (i, j) if i < self.rows and j < self.cols else None


@dataclass(frozen=True)
class Step:
    """What is touched of one line at a time: an element, or a vector's elements. `elements` are of the operand, or none
    where it is memory beside the operands: a packed copy, a buffer.

    dropped  the line, by its number, that had to go for this one; None where none had
    """

    operand: str
    elements: tuple[tuple[int, int], ...]
    line: int
    write: bool
    miss: bool
    dropped: int | None

    def __str__(self) -> str:
        i, j = self.elements[0] if self.elements else (0, 0)
        return f"{self.operand}[{i},{j}] {'miss' if self.miss else 'hit'}"


@dataclass(frozen=True)
class Grid:
    """Of each element of an operand: when it was first touched (0 is the first one of all), how often it was touched,
    and how often its line was not there."""

    first: Array
    touched: Array
    missed: Array


@dataclass(frozen=True)
class Walk:
    """A rung's way through its operands, and through a cache that was empty."""

    operation: str
    variant: str
    n: int
    operands: tuple[Operand, ...]
    steps: tuple[Step, ...]
    cache: CacheLevel
    note: str = ""

    def misses(self, operand: str | None = None) -> int:
        """The touches, of one operand or of all, whose line was not in the cache."""
        return sum(step.miss for step in self.steps if operand in (None, step.operand))

    def touches(self, operand: str | None = None) -> int:
        return sum(operand in (None, step.operand) for step in self.steps)

    @property
    def title(self) -> str:
        orders = " ".join(f"{x.name}:{x.order}" for x in self.operands[:-1])
        return f"{self.operation} {self.variant}, {self.n} x {self.n}, {orders}"

    @property
    def about_cache(self) -> str:
        cache = self.cache
        lines = cache.size // cache.line
        return f"{cache.size} bytes in {lines} lines of {cache.line // ITEM} elements, {cache.ways} ways"

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

    def usual_stride(self, operand: Operand) -> tuple[int, float] | None:
        """The step in memory, in elements, that is most often taken from one touch of an operand to the next of another
        element, and its share of these; None where only one element is touched."""
        strides = operand.row_stride, operand.col_stride
        at = [
            step.elements[0][0] * strides[0] + step.elements[0][1] * strides[1]
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
        usual = self.usual_stride(worst)
        how = f", mostly {usual[0]:+d} elements from one to the next" if usual else ""
        return (
            f"{self.misses()} of {self.touches()} touches miss; {worst.name} misses the most, "
            f"{100 * share:.0f} % of its touches{how}."
        )


def walk(operation: str, variant: str | None = None, *, n: int = 8, layout: str = "C", cache: CacheLevel = TOY) -> Walk:
    """A call on matrices of n x n float32, through one cache, empty at first.

    operation  matmul, transpose, sum or add
    variant    of its C++ ladder, "naive" or "blocked"; for matmul also a loop order, "kij"; its first where it is None
    n          1 to 32
    layout     C (row-major) or F (column-major): of all inputs, or a letter for each, "CF"; the result is row-major
    cache      see CacheLevel

    Rows of sum and add lie a cache line further apart than they are long: without a gap they would be one long row, and
    there would be no columns to go down. Raises ValueError, with what was expected, for what is none of these.
    """
    import loopnest as ln

    if operation not in OPERANDS:
        raise ValueError(f"operation: {operation!r} has no picture, expected one of {', '.join(OPERANDS)}")
    if not 1 <= n <= MOST:
        raise ValueError(f"n: {n}, expected 1 to {MOST}: more elements could not be told apart")
    if cache.line < ITEM:
        raise ValueError(f"line: {cache.line} bytes, expected at least one element's {ITEM}")
    stream = _stream(operation, variant)
    names = OPERANDS[operation]
    letters = layout.upper() * (len(names) - 1) if len(layout) == 1 else layout.upper()
    if len(letters) != len(names) - 1 or set(letters) - {"C", "F"}:
        raise ValueError(
            f"layout: {layout!r}, expected C or F, or {len(names) - 1} of these letters, one for each input"
        )
    gap = max(cache.line // ITEM, 1) if operation in ("sum", "add") else 0
    inputs = [_input(n, letter, gap) for letter in letters]
    implementation = ln.OPERATIONS[operation][f"cpp.{stream.variant.replace('blocked_with', 'blocked')}"]
    replay = Replay.of(implementation, inputs, (cache,), stream, None, {})
    result = list(replay.operands[-1:])
    operands = tuple(_operand(name, x) for name, x in zip(names, inputs + result, strict=True))
    notes = [f"blocks of {BLOCK} x {BLOCK}"] if stream.variant == "blocked_with" else []
    notes += [f"rows {n + gap} elements apart"] if gap else []
    steps = tuple(_steps(replay.accesses(), operands, cache))
    return Walk(operation, variant or stream.variant, n, operands, steps, cache, ", ".join(notes))


def _stream(operation: str, variant: str | None) -> Stream:
    import loopnest as ln

    ladder = [k for k in ln.OPERATIONS[operation] if k.backend == "cpp" and stream_of(k)]
    known = {k.variant: k.variant for k in ladder}
    if operation == "matmul":
        known |= LOOP_ORDERS
    variant = ladder[0].variant if variant is None else variant.removeprefix("cpp.")
    if variant not in known:
        raise ValueError(f"variant: {operation} has no {variant!r}, expected one of {', '.join(known)}")
    if (operation, variant) == ("matmul", "blocked"):
        return Stream(operation, "blocked_with", (BLOCK, BLOCK, BLOCK))
    return Stream(operation, known[variant])


def _input(n: int, order: str, gap: int) -> Array:
    x = np.ones((n, n + gap), np.float32)[:, :n]
    return x.T if order == "F" else x


def _operand(name: str, x: Array) -> Operand:
    if x.ndim < 2:
        return Operand(name, 1, 1, 1, 1)
    return Operand(name, *x.shape, *(stride // ITEM for stride in x.strides))


def _steps(accesses: Array, operands: Sequence[Operand], cache: CacheLevel) -> Iterator[Step]:
    """Each access, line by line, with what it does to the cache."""
    sets = cache.size // cache.line // cache.ways
    held: list[OrderedDict[int, None]] = [
        OrderedDict() for _ in range(sets)
    ]  # the least recently used line comes first
    for access in accesses:
        region, start, length = int(access["region"]), int(access["address"]), int(access["bytes"])
        for line in range(start // cache.line, (start + length - 1) // cache.line + 1):
            its_set, dropped = held[line % sets], None
            miss = line not in its_set
            its_set[line] = None
            its_set.move_to_end(line)
            if len(its_set) > cache.ways:
                dropped = its_set.popitem(last=False)[0]
            name, elements = "beside", tuple[tuple[int, int], ...]()
            if region < len(operands):
                x = operands[region]
                begin, end = max(start, line * cache.line), min(start + length, (line + 1) * cache.line)
                numbers = range(
                    (int(access["offset"]) + begin - start) // ITEM, (int(access["offset"]) + end - start) // ITEM
                )
                name, elements = x.name, tuple(at for at in map(x.element, numbers) if at is not None)
            yield Step(name, elements, line, bool(access["write"]), miss, dropped)


# --- colours: from the first to the last (viridis' ends and middle), and from no miss to nothing but misses

Colour = tuple[int, int, int]
FIRST_TO_LAST: tuple[Colour, ...] = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
HIT_TO_MISS: tuple[Colour, ...] = ((46, 139, 87), (240, 200, 60), (200, 40, 40))


def _between(stops: Sequence[Colour], share: float) -> Colour:
    place = min(max(share, 0.0), 1.0) * (len(stops) - 1)
    low = min(int(place), len(stops) - 2)
    r, g, b = (round(x + (place - low) * (y - x)) for x, y in zip(stops[low], stops[low + 1], strict=True))
    return r, g, b


def _hex(colour: Colour) -> str:
    return "#{:02x}{:02x}{:02x}".format(*colour)


def _ink(colour: Colour) -> str:
    """Black or white, whichever reads better on it."""
    r, g, b = colour
    return "#000000" if 0.299 * r + 0.587 * g + 0.114 * b > 140 else "#ffffff"


@dataclass(frozen=True)
class _Cell:
    """share: from 0 for the first touched, or one that never misses, to 1; no colour: never touched."""

    text: str
    share: float = 0.0
    colour: Colour | None = None


def _order_cells(grid: Grid) -> Callable[[int, int], _Cell]:
    last = max(int(grid.first.max()), 1)

    def cell(i: int, j: int) -> _Cell:
        number = int(grid.first[i, j])
        if number < 0:
            return _Cell("")
        return _Cell(str(number), number / last, _between(FIRST_TO_LAST, number / last))

    return cell


def _miss_cells(grid: Grid) -> Callable[[int, int], _Cell]:
    def cell(i: int, j: int) -> _Cell:
        touched, missed = int(grid.touched[i, j]), int(grid.missed[i, j])
        if not touched:
            return _Cell("")
        return _Cell(str(missed), missed / touched, _between(HIT_TO_MISS, missed / touched))

    return cell


PICTURES: Mapping[str, Callable[[Grid], Callable[[int, int], _Cell]]] = {
    "order of the first touch": _order_cells,
    "misses": _miss_cells,
}
"""What is drawn of each operand, one below the other."""


# --- in the terminal

SIGNS = ".:-=+*#%@"


def picture(walked: Walk, width: int = 80, coloured: bool = True) -> Iterator[RenderableType]:
    """The picture as rich renderables: for each operand the order of the first touches, and the misses.

    Without colours an element that has no room for its number has a sign: "." to "@" for the first to the last, and for
    none to every time.
    """
    from rich.columns import Columns
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    yield Text(f"{walked.title}" + (f" · {walked.note}" if walked.note else ""), style="bold")
    yield Text(f"a cache of {walked.about_cache}, empty at first\n")
    largest = max(x.cols for x in walked.operands)
    digits = len(str(walked.n * walked.n - 1)) + 1
    shown = [x for x in walked.operands if x.rows * x.cols > 1] or list(walked.operands)
    numbered = len(shown) * (largest * digits + 2) <= width or largest * digits <= width // 2 - 2
    cell_width = digits if numbered else 2
    for title, cells_of in PICTURES.items():
        grids = [_terminal_grid(walked, x, cells_of, cell_width, numbered, coloured) for x in shown]
        legend = Text(f"{title}: ", style="bold")
        legend.append_text(_legend(title, coloured))
        yield legend
        if sum(x.cols * cell_width + 2 for x in shown) <= width:
            row = Table.grid(padding=(0, 2, 0, 0))
            row.add_row(*grids)
            yield row
        else:
            yield Columns(grids, padding=(0, 2)) if len(grids) > 1 else Group(*grids)
        yield Text()
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("operand", "order", "touches", "misses", "of them", "usual step in memory"):
        table.add_column(name, justify="left" if name in ("operand", "order") else "right", no_wrap=True)
    for x in walked.operands:
        touches, misses, usual = walked.touches(x.name), walked.misses(x.name), walked.usual_stride(x)
        step = f"{usual[0]:+d} elements ({100 * usual[1]:.0f} %)" if usual else "none"
        table.add_row(x.name, x.order, str(touches), str(misses), f"{100 * misses / max(touches, 1):.0f} %", step)
    yield table
    yield Text()
    yield _first_steps(walked, width)
    yield Text(walked.sentence(), style="bold")


def _terminal_grid(
    walked: Walk,
    x: Operand,
    cells_of: Callable[[Grid], Callable[[int, int], _Cell]],
    cell_width: int,
    numbered: bool,
    coloured: bool,
) -> RenderableType:
    from rich.text import Text

    cell = cells_of(walked.grid(x))
    text = Text(f"{x.name} ({x.order})\n", no_wrap=True)
    for i in range(x.rows):
        for j in range(x.cols):
            drawn = cell(i, j)
            sign = "" if coloured or drawn.colour is None else SIGNS[round(drawn.share * (len(SIGNS) - 1))]
            content = f"{drawn.text if numbered else sign:>{cell_width - 1}} "
            text.append(content, style=f"{_ink(drawn.colour)} on {_hex(drawn.colour)}" if drawn.colour else "dim")
        text.append("\n" if i + 1 < x.rows else "")
    return text


def _legend(title: str, coloured: bool) -> Text:
    from rich.text import Text

    stops, ends = (HIT_TO_MISS, ("none", "every time")) if title == "misses" else (FIRST_TO_LAST, ("first", "last"))
    legend = Text(f"{ends[0]} ")
    for number in range(len(SIGNS)):
        colour = _between(stops, number / (len(SIGNS) - 1))
        legend.append("  " if coloured else SIGNS[number], style=f"on {_hex(colour)}")
    legend.append(f" {ends[1]}")
    return legend


def _first_steps(walked: Walk, width: int) -> RenderableType:
    from rich.text import Text

    text = Text("first: ")
    for step in walked.steps:
        if not step.elements:
            continue
        if len(text) + len(str(step)) + 4 > 2 * width - 8:
            break
        text.append(str(step), style=_hex(HIT_TO_MISS[2 if step.miss else 0]))
        text.append(", ")
    text.append("…")
    return text


# --- as SVG

CELL, GAP, MARGIN, TITLE = 24, 28, 16, 64
FONT = 'font-family="ui-sans-serif, system-ui, sans-serif"'


def picture_svg(walked: Walk, background: str | None = None) -> str:
    """The picture as one SVG element, in itself complete: for a page's HTML, or, with a background, for a file.

    Texts have the colour of the text around the picture. Of each operand there is the order in which its elements are
    first touched, with a line along it, and below it how often each misses.
    """
    side = _cell_side(walked)
    parts, height = [], float(TITLE)
    for title, cells_of in PICTURES.items():
        parts.append(_text(MARGIN, height + 12, title, 13, bold=True))
        parts.append(_svg_legend(title, MARGIN + 190, height + 2))
        top, left = height + 42, float(MARGIN)
        for x in walked.operands:
            grid = walked.grid(x)
            path = _svg_path(grid.first, left, top, side) if title != "misses" else ""
            parts.append(_text(left, top - 8, _label(x), 13))
            parts.append(_svg_cells(x, cells_of(grid), left, top, side, below_numbers=path))
            left += x.cols * side + GAP
        height = top + max(x.rows for x in walked.operands) * side + 22
    told, height = _paragraph(walked.sentence(), height + 6, _width(walked))
    return _svg(walked, height + 8, [*parts, told], background)


def animation_svg(walked: Walk, seconds: float | None = None, background: str | None = None) -> str:
    """The walk, step by step, as one SVG element that moves by itself, without a script and again and again.

    seconds  of one round; by default 40 ms a step, between 4 s and a minute

    An element is green when it is touched and its line is in the cache, red when it is not; blue while it lies there,
    grey while it does not. Raises ValueError for a walk of more than 20,000 steps.
    """
    if len(walked.steps) > MOST_STEPS:
        raise ValueError(
            f"n: {len(walked.steps)} steps are too many for an animation of at most {MOST_STEPS}; take a smaller n"
        )
    duration = min(max(0.04 * len(walked.steps), 4.0), 60.0) if seconds is None else seconds
    side, left, top = _cell_side(walked), float(MARGIN), float(TITLE) + 44
    history = _History(walked)
    parts = []
    at = float(MARGIN)
    for meaning, colour in (("hit", HIT), ("miss", MISS), ("in the cache", HELD), ("not in the cache", ABSENT)):
        parts.append(f'<rect x="{at:g}" y="{TITLE}" width="14" height="14" rx="2" fill="{colour}"/>')
        parts.append(_text(at + 20, TITLE + 12, meaning, 13))
        at += 44 + 7.5 * len(meaning)
    for x in walked.operands:
        parts.append(_text(left, top - 8, _label(x), 13))
        for i in range(x.rows):
            for j in range(x.cols):
                place = f'x="{left + j * side + 0.5:g}" y="{top + i * side + 0.5:g}"'
                size = f'width="{side - 1:g}" height="{side - 1:g}" rx="2"'
                changes = history.animate(x.name, i, j, duration)
                parts.append(f'<rect {place} {size} fill="{ABSENT}">{changes}</rect>')
        left += x.cols * side + GAP
    height = top + max(x.rows for x in walked.operands) * side + 14
    length = _width(walked) - 2 * MARGIN
    parts.append(
        f'<rect x="{MARGIN}" y="{height:g}" width="{length:g}" height="3" fill="{HELD}">'
        f'<animate attributeName="width" from="0" to="{length:g}" dur="{duration:g}s" repeatCount="indefinite"/></rect>'
    )
    told, height = _paragraph(walked.sentence(), height + 26, _width(walked))
    return _svg(walked, height + 8, [*parts, told], background)


HIT, MISS, HELD, ABSENT = "#2a5", "#d33", "#8bd", "#bbb"


class _History:
    """For each element the colours that it has, and from which step on."""

    def __init__(self, walked: Walk) -> None:
        self._steps = max(len(walked.steps), 1)
        self._changes: dict[tuple[str, int, int], list[tuple[int, str]]] = {}
        of_line: dict[int, list[tuple[str, int, int]]] = {}
        for step in walked.steps:
            for i, j in step.elements:
                cell = step.operand, i, j
                if cell not in self._changes:
                    self._changes[cell] = [(0, ABSENT)]
                    of_line.setdefault(step.line, []).append(cell)
        for time, step in enumerate(walked.steps):
            for cell in of_line.get(step.line, ()) if step.miss else ():
                self._change(cell, time, HELD)
            for cell in of_line.get(step.dropped, ()) if step.dropped is not None else ():
                self._change(cell, time, ABSENT)
            for i, j in step.elements:
                self._change((step.operand, i, j), time, MISS if step.miss else HIT)
                self._change((step.operand, i, j), time + 1, HELD)

    def _change(self, cell: tuple[str, int, int], time: int, colour: str) -> None:
        changes = self._changes[cell]
        while changes and changes[-1][0] >= time:
            changes.pop()
        if not changes or changes[-1][1] != colour:
            changes.append((time, colour))

    def animate(self, operand: str, i: int, j: int, duration: float) -> str:
        changes = self._changes.get((operand, i, j), [])
        changes = [(time, colour) for time, colour in changes if time < self._steps]
        if len(changes) < 2:
            return ""
        if changes[0][0] > 0:
            changes.insert(0, (0, ABSENT))
        times = ";".join(f"{time / self._steps:.5f}".rstrip("0").rstrip(".") for time, _ in changes)
        colours = ";".join(colour for _, colour in changes)
        return (
            f'<animate attributeName="fill" dur="{duration:g}s" repeatCount="indefinite" calcMode="discrete" '
            f'keyTimes="{times}" values="{colours}"/>'
        )


def _cell_side(walked: Walk) -> float:
    return CELL if walked.n <= 12 else max(CELL * 12 / walked.n, 8.0)


def _width(walked: Walk) -> float:
    grids = sum(x.cols * _cell_side(walked) + GAP for x in walked.operands) - GAP
    return max(grids + 2 * MARGIN, 640)


def _label(x: Operand) -> str:
    return f"{x.name}, {'column-major' if x.order == 'F' else 'row-major'}" if x.cols > 4 else x.name


def _svg(walked: Walk, height: float, parts: Sequence[str], background: str | None) -> str:
    width = _width(walked)
    paper = f'<rect width="{width:g}" height="{height:g}" fill="{escape(background)}"/>' if background else ""
    cache = f"a cache of {walked.about_cache}, empty at first"
    note = f" · {walked.note}" if walked.note else ""
    return "".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
            f'height="{height:g}" role="img" style="max-width:100%;height:auto">',
            f"<title>{escape(walked.title + note)}: {escape(walked.sentence())}</title>{paper}",
            _text(MARGIN, 24, walked.title + note, 15, bold=True),
            _text(MARGIN, 44, cache, 13),
            *parts,
            "</svg>",
        )
    )


def _text(x: float, y: float, content: str, size: int, bold: bool = False) -> str:
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" {FONT} font-size="{size}"{weight} fill="currentColor">{escape(content)}</text>'


def _paragraph(text: str, top: float, width: float) -> tuple[str, float]:
    """The text in lines as long as the picture is wide, and where the next line would stand."""
    lines = textwrap.wrap(text, int((width - 2 * MARGIN) / 7))
    parts = [_text(MARGIN, top + 18 * number, line, 13) for number, line in enumerate(lines)]
    return "".join(parts), top + 18 * len(lines)


def _svg_cells(
    x: Operand, cell: Callable[[int, int], _Cell], left: float, top: float, side: float, below_numbers: str
) -> str:
    fields, numbers = [], []
    for i in range(x.rows):
        for j in range(x.cols):
            drawn = cell(i, j)
            colour = _hex(drawn.colour) if drawn.colour else "none"
            x0, y0 = left + j * side, top + i * side
            place, size = f'x="{x0 + 0.5:g}" y="{y0 + 0.5:g}"', f'width="{side - 1:g}" height="{side - 1:g}"'
            fields.append(f'<rect {place} {size} rx="2" fill="{colour}"/>')
            if drawn.colour and side >= 20:
                place = f'x="{x0 + side / 2:g}" y="{y0 + side / 2 + 4:g}"'
                numbers.append(f'<text {place} fill="{_ink(drawn.colour)}">{drawn.text}</text>')
    style = f'{FONT} font-size="10" text-anchor="middle"'
    return "".join((*fields, below_numbers, f"<g {style}>", *numbers, "</g>"))


def _svg_path(first: Array, left: float, top: float, side: float) -> str:
    """A line from each element to the one that is first touched after it."""
    touched = np.argwhere(first >= 0)
    order = touched[np.argsort(first[first >= 0], kind="stable")]
    points = " ".join(f"{left + (j + 0.5) * side:g},{top + (i + 0.5) * side:g}" for i, j in order)
    return f'<polyline points="{points}" fill="none" stroke="#fff" stroke-opacity="0.55" stroke-width="1.5"/>'


def _svg_legend(title: str, left: float, top: float) -> str:
    stops, ends = (HIT_TO_MISS, ("none", "every time")) if title == "misses" else (FIRST_TO_LAST, ("first", "last"))
    parts = [_text(left, top + 10, ends[0], 12)]
    for number in range(16):
        colour = _hex(_between(stops, number / 15))
        parts.append(f'<rect x="{left + 36 + 6 * number:g}" y="{top:g}" width="6" height="12" fill="{colour}"/>')
    parts.append(_text(left + 140, top + 10, ends[1], 12))
    return "".join(parts)

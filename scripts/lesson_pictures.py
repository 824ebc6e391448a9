"""The lessons' pictures: `python scripts/lesson_pictures.py` draws them all into docs/lessons/pictures.

Curves and paths are computed by loopnest's own operations, walks through matrices by its cache simulator. Each picture
is a function that returns an SVG, on white, so that it reads on a dark page too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from html import escape
from pathlib import Path
from typing import Any

import loopnest as ln
import numpy as np
from loopnest.layout.walk import picture_svg, walk
from loopnest.output.pictures import FAINT, GRID, INK, SERIES

BLUE, AMBER, GREEN, _, RED, GREY, _ = SERIES


class Drawing:
    """An SVG picture; lengths are in pixels, from the upper left corner."""

    def __init__(self, width: int, height: int, title: str) -> None:
        self._parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
            'font-family="system-ui,Helvetica,Arial,sans-serif" role="img" style="max-width:100%;height:auto">\n'
            f"<title>{escape(title)}</title>\n"
        ]
        self._add("rect", width=width, height=height, fill="#fff")

    def _add(self, element: str, content: str = "", **attributes: float | str) -> None:
        """An element; lengths are rounded to a tenth of a pixel, so that the last bit of a result changes no file."""
        pairs = [
            f'{name.replace("_", "-")}="{x if isinstance(x, str) else _rounded(x)}"' for name, x in attributes.items()
        ]
        end = f">{escape(content)}</{element}>" if content else "/>"
        self._parts.append(f"<{element} {' '.join(pairs)}{end}\n")

    def text(self, x: float, y: float, content: str, size: int = 13, colour: str = INK, anchor: str = "start") -> None:
        self._add("text", content, x=x, y=y, font_size=size, fill=colour, text_anchor=anchor)

    def box(self, x: float, y: float, width: float, height: float, colour: str, edge: bool = False) -> None:
        """A box in a light tone of the colour, with an edge in the colour itself if asked for."""
        stroke = colour if edge else "none"
        self._add("rect", x=x, y=y, width=width, height=height, rx=2, fill=colour, fill_opacity=0.2, stroke=stroke)

    def line(self, x0: float, y0: float, x1: float, y1: float, colour: str = INK, width: float = 1.5) -> None:
        self._add("line", x1=x0, y1=y0, x2=x1, y2=y1, stroke=colour, stroke_width=width)

    def arrow(self, x0: float, y0: float, x1: float, y1: float, colour: str = INK, width: float = 2) -> None:
        """A line with a head at its end."""
        tip, along = np.array([x1, y1], float), np.array([x1 - x0, y1 - y0], float)
        along /= np.hypot(*along)
        neck = tip - along * min(9.0, np.hypot(x1 - x0, y1 - y0) / 2)
        side = 0.45 * np.hypot(*(tip - neck)) * np.array([-along[1], along[0]])
        self.line(x0, y0, *neck, colour, width)
        self._add("polygon", points=_points((tip, neck + side, neck - side)), fill=colour)

    def curve(self, points: Iterable[Sequence[float]], colour: str, width: float = 2) -> None:
        self._add("polyline", points=_points(points), fill="none", stroke=colour, stroke_width=width)

    def ellipse(self, x: float, y: float, rx: float, ry: float, colour: str) -> None:
        self._add("ellipse", cx=x, cy=y, rx=rx, ry=ry, fill="none", stroke=colour)

    def matrix(self, x: float, y: float, cells: Any, colour: Callable[[int, int], str], side: float = 30) -> None:
        """A grid of cells, each with its content as text."""
        for i, row in enumerate(cells):
            for j, content in enumerate(row):
                left, top = x + j * side, y + i * side
                self.box(left + 1, top + 1, side - 2, side - 2, colour(i, j))
                if content != "":
                    self.text(left + side / 2, top + side / 2 + 4, str(content), 12, anchor="middle")

    def svg(self) -> str:
        return "".join((*self._parts, "</svg>\n"))


def _rounded(x: float) -> str:
    return f"{round(float(x) + 0.0, 1):g}"


def _points(points: Iterable[Sequence[float]]) -> str:
    return " ".join(f"{_rounded(x)},{_rounded(y)}" for x, y in points)


def vectors() -> str:
    """Three pairs of arrows, and the signs of their dot products."""
    d = Drawing(660, 230, "The dot product's sign tells the angle: positive below 90°, zero at 90°, negative above")
    x = np.array([3.0, 1.0])
    pairs = (("alike: x·y > 0", [2.0, 2.0]), ("unrelated: x·y = 0", [-1.0, 3.0]), ("opposed: x·y < 0", [-2.0, 1.0]))
    for number, (name, other) in enumerate(pairs):
        y = np.array(other)
        cx, cy, scale = 110 + 220 * number, 150, 36
        d.arrow(cx, cy, cx + scale * x[0], cy - scale * x[1], BLUE)
        d.arrow(cx, cy, cx + scale * y[0], cy - scale * y[1], RED)
        d.text(cx + scale * x[0] - 8, cy - scale * x[1] + 20, "x", 15, BLUE)
        d.text(cx + scale * y[0] - 16, cy - scale * y[1] - 4, "y", 15, RED)
        cosine = x @ y / np.sqrt((x @ x) * (y @ y))
        d.text(cx, 190, name, 14, anchor="middle")
        d.text(cx, 212, f"x·y = {x @ y:g}, cosine {cosine:.2f}".replace("-", "−"), 13, FAINT, "middle")
    return d.svg()


def product() -> str:
    """A row of a meets a column of b, and makes one element of c."""
    d = Drawing(640, 250, "One element of the product is the dot product of a row of a and a column of b")
    a, b = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1, 0, 2, 1], [0, 1, 1, 2], [1, 1, 0, 3]])
    c, side, i, j = a @ b, 34, 1, 2
    d.text(40, 40, "a, 2 × 3", 14)
    d.matrix(40, 90, a, lambda r, _: BLUE if r == i else GREY, side)
    d.text(180, 130, "·", 24)
    d.text(210, 40, "b, 3 × 4", 14)
    d.matrix(210, 73, b, lambda _, q: RED if q == j else GREY, side)
    d.text(372, 130, "=", 20)
    d.text(410, 40, "c, 2 × 4", 14)
    d.matrix(410, 90, c, lambda r, q: GREEN if (r, q) == (i, j) else GREY, side)
    products = " + ".join(f"{u}·{v}" for u, v in zip(a[i], b[:, j], strict=True))
    d.text(40, 215, f"c[{i}, {j}] = Σ a[{i}, k]·b[k, {j}] = {products} = {c[i, j]}", 15, GREEN)
    return d.svg()


def strides() -> str:
    """One matrix in two orders in memory, and the steps that each axis takes."""
    d = Drawing(680, 345, "The same 3 x 4 matrix in C order, strides (4, 1), and in Fortran order, strides (1, 3)")
    matrix = np.arange(12).reshape(3, 4)
    side, colours = 34, (BLUE, GREEN, AMBER)
    d.text(30, 32, "the matrix", 14)
    d.matrix(30, 45, matrix, lambda i, j: colours[i], side)
    orders = (
        ("C order, strides (4, 1): a row down is 4 elements on, a column right is 1", "C", 4, 1),
        ("Fortran order, strides (1, 3): a row down is 1 element on, a column right is 3", "F", 1, 3),
    )
    for number, (about, order, down, right) in enumerate(orders):
        top = 190 + 80 * number
        d.text(30, top - 8, about, 13)
        memory = matrix.ravel(order=order)  # type: ignore[arg-type]
        d.matrix(30, top, [memory], lambda _, j, m=memory: colours[m[j] // 4], side)  # type: ignore[misc]
        for step, colour, height in ((down, RED, 44), (right, INK, 52)):
            y = top + height - 4
            d.arrow(30 + side / 2, y, 30 + side / 2 + step * side, y, colour, 1.5)
        d.text(30 + 12 * side + 16, top + 16, "red: one row down", 12, RED)
        d.text(30 + 12 * side + 16, top + 32, "black: one column right", 12)
    return d.svg()


def walk_of(order: str) -> str:
    """A product's walk through a small cache, as `loopnest layout` draws it."""
    return picture_svg(walk("matmul", order))


def lanes() -> str:
    """Eight additions: one after the other, in one vector, and in two chains of vectors."""
    d = Drawing(680, 300, "A chain of additions waits four cycles for each; several chains fill the waiting time")
    d.text(30, 30, "time, in cycles →", 13, FAINT)
    unit, left = 13, 200
    for tick in range(0, 37, 4):
        d.line(left + tick * unit, 38, left + tick * unit, 270, GRID, 1)
        d.text(left + tick * unit, 286, str(tick), 11, FAINT, "middle")
    rows = (
        ("one sum, 8 numbers", [(4 * i, BLUE, "+") for i in range(8)], 1),
        ("one sum of vectors, 64", [(4 * i, GREEN, "+8") for i in range(8)], 1),
        ("4 sums of vectors, 256", [(4 * i + s, AMBER, "+8") for i in range(8) for s in range(4)], 4),
    )
    top = 56
    for name, steps, chains in rows:
        d.text(30, top + 14 + 9 * (chains - 1), name, 13)
        for start, colour, label in steps:
            chain = start % 4
            d.box(left + start * unit + 1, top + 18 * chain, 4 * unit - 2, 16, colour, edge=True)
            d.text(left + start * unit + 2 * unit, top + 18 * chain + 12, label, 11, anchor="middle")
        top += 18 * chains + 26
    d.text(30, top + 10, "A box is an addition: begun in one cycle, done four later. +8 adds eight pairs at once.", 13)
    return d.svg()


def registers() -> str:
    """A tile of c in registers: what one step of k loads, and how much it multiplies."""
    d = Drawing(720, 290, "A 4 x 8 tile of c in registers: a step loads 4 + 8 elements and does 32 multiply-adds")
    side, rows, cols = 26, 4, 8
    d.text(30, 30, "one step of k", 14)
    d.matrix(200, 40, [["b"] * cols], lambda *_: RED, side)
    d.text(420, 58, "8 elements of a row of b: loaded", 13, RED)
    d.matrix(150, 80, [["a"]] * rows, lambda *_: BLUE, side)
    d.text(30, 130, "4 elements of", 13, BLUE)
    d.text(30, 147, "a column of a", 13, BLUE)
    d.matrix(200, 80, [["+="] * cols] * rows, lambda *_: GREEN, side)
    d.text(420, 130, "32 elements of c: in registers all the time", 13, GREEN)
    d.text(30, 220, f"{rows} + {cols} = {rows + cols} loads for {rows} · {cols} = {rows * cols} multiply-adds.", 14)
    d.text(
        30, 244, "One element at a time, 2 loads of a and b serve 1 multiply-add; a larger tile needs fewer still,", 14
    )
    d.text(30, 266, "until the tile no longer fits into the registers.", 14)
    return d.svg()


def threads() -> str:
    """Amdahl's law: what a part that runs on one thread does to many."""
    d = Drawing(700, 330, "Amdahl's law: the speed-up of n threads where a part of the work runs on one")
    left, bottom, width, height = 70, 270, 440, 230
    top = 16.0
    for n in (1, 2, 4, 8, 16):
        x, y = left + width * np.log2(n) / 4, bottom - height * n / top
        d.line(x, bottom, x, bottom - height, GRID, 1)
        d.line(left, y, left + width, y, GRID, 1)
        d.text(x, bottom + 18, str(n), 12, FAINT, "middle")
        d.text(left - 8, y + 4, str(n), 12, FAINT, "end")
    d.text(left + width / 2, bottom + 40, "threads", 13, anchor="middle")
    d.text(20, 28, "times as fast as one thread", 13)
    counts = 2 ** np.linspace(0, 4, 60)
    for serial, colour in ((0.0, GREEN), (0.01, BLUE), (0.05, AMBER), (0.2, RED)):
        gain = 1 / (serial + (1 - serial) / counts)
        d.curve(
            ((left + width * np.log2(n) / 4, bottom - height * g / top) for n, g in zip(counts, gain, strict=True)),
            colour,
        )
        about = f"{100 * serial:g} % on one thread: {gain[-1]:.1f}"
        d.text(left + width + 8, bottom - height * gain[-1] / top + 4, about, 12, colour)
    return d.svg()


def gpu() -> str:
    """A grid of blocks of threads, and the two tiles that one block brings into its shared memory."""
    d = Drawing(
        720, 335, "A block of threads computes a tile of c from tiles of a and b that it brings to shared memory"
    )
    side = 24
    d.text(250, 28, "b", 14)
    d.matrix(250, 36, [[""] * 6] * 4, lambda i, j: RED if j // 2 == 1 and i // 2 == 0 else GREY, side)
    d.text(90, 160, "a", 14)
    d.matrix(110, 150, [[""] * 4] * 6, lambda i, j: BLUE if i // 2 == 1 and j // 2 == 0 else GREY, side)
    d.text(250, 316, "c: a grid of 3 × 3 blocks", 14)
    d.matrix(250, 150, [[""] * 6] * 6, lambda i, j: GREEN if (i // 2, j // 2) == (1, 1) else GREY, side)
    for cut in range(4):
        d.line(250 + 2 * cut * side, 150, 250 + 2 * cut * side, 150 + 6 * side, FAINT, 1)
        d.line(250, 150 + 2 * cut * side, 250 + 6 * side, 150 + 2 * cut * side, FAINT, 1)
    d.text(420, 180, "green: one block of 2 × 2 threads, a thread", 13, GREEN)
    d.text(420, 197, "for each element of c", 13, GREEN)
    d.text(420, 60, "blue and red: the tiles of this step,", 13)
    d.text(420, 77, "each element loaded once by one thread,", 13)
    d.text(420, 94, "and used by two of them", 13)
    d.arrow(110 + 2 * side, 150 + 3 * side, 110 + 4 * side - 4, 150 + 3 * side, BLUE)
    d.arrow(250 + 3 * side, 36 + 2 * side, 250 + 3 * side, 36 + 4 * side - 4, RED)
    d.text(60, 316, "the tiles move on along k", 13, FAINT)
    return d.svg()


def activations() -> str:
    """The curves of relu, sigmoid, tanh and GELU, computed by loopnest's operations."""
    d = Drawing(660, 330, "relu, sigmoid, tanh and GELU between -4 and 4")
    x = np.linspace(-4, 4, 161)
    cx, cy, unit = 260, 230, 52
    d.line(cx - 4 * unit, cy, cx + 4 * unit, cy, FAINT, 1)
    d.line(cx, cy + 1.4 * unit, cx, cy - 4 * unit, FAINT, 1)
    for tick in (-4, -2, 2, 4):
        d.text(cx + tick * unit, cy + 18, str(tick).replace("-", "−"), 11, FAINT, "middle")
    for tick in (1, 2, 3):
        d.text(cx - 8, cy - tick * unit + 4, str(tick), 11, FAINT, "end")
    curves: tuple[tuple[str, Any, str, float], ...] = (
        ("relu: max(x, 0)", ln.relu, RED, 30), ("GELU: x · Φ(x)", ln.gelu, BLUE, 55),
        ("tanh", ln.tanh, GREEN, 175), ("sigmoid: 1 / (1 + e⁻ˣ)", ln.sigmoid, AMBER, 198),
    )  # fmt: skip
    for name, function, colour, height in curves:
        y = function(x, impl="python")
        d.curve(((cx + u * unit, cy - v * unit) for u, v in zip(x, y, strict=True)), colour)
        d.text(cx + 4 * unit + 14, height, name, 13, colour)
    return d.svg()


def graph() -> str:
    """Back-propagation: values go forward, gradients come back along the same edges."""
    d = Drawing(680, 220, "Values flow forward; each step sends back the gradient it got, times its own derivative")
    stops = (("x", "2"), ("z = w·x + b", "3·2 − 4 = 2"), ("h = z²", "4"), ("L = (h − 5)²", "1"))
    back = ("dL/dx = −8·3 = −24", "dL/dz = −2·2z = −8", "dL/dh = 2(h − 5) = −2", "dL/dL = 1")
    for number, ((name, value), gradient) in enumerate(zip(stops, back, strict=True)):
        x = 20 + 165 * number
        d.box(x, 70, 120, 56, GREY, edge=True)
        d.text(x + 60, 94, name, 14, anchor="middle")
        d.text(x + 60, 115, value, 13, BLUE, "middle")
        d.text(x + 60, 164, gradient, 12, RED, "middle")
        if number < 3:
            d.arrow(x + 122, 88, x + 163, 88, BLUE)
            d.arrow(x + 163, 110, x + 122, 110, RED)
    d.text(20, 38, "forward, w = 3 and b = −4: values →", 14, BLUE)
    d.text(20, 200, "← backward: gradients; and dL/dw = −8 · x = −16, dL/db = −8", 14, RED)
    return d.svg()


def ravine() -> str:
    """Four optimizers on f(x, y) = (x² + 25 y²) / 2, a ravine, by loopnest's own steps."""
    d = Drawing(700, 400, "SGD, momentum, RMSprop and Adam on a ravine, 40 steps each")
    states: dict[str, tuple[int, dict[str, Any], Any]] = {
        "sgd": (0, {"lr": 0.07}, ln.sgd),
        "momentum": (1, {"lr": 0.02, "mu": 0.9}, ln.momentum),
        "rmsprop": (1, {"lr": 0.1}, ln.rmsprop),
        "adam": (2, {"lr": 0.3}, ln.adam),
    }
    for number, (name, (count, options, step)) in enumerate(states.items()):
        cx, cy, unit = 175 + 345 * (number % 2), 110 + 195 * (number // 2), 31
        for level in (0.5, 2, 4.5, 8, 12.5):
            d.ellipse(cx, cy, unit * np.sqrt(2 * level), unit * np.sqrt(2 * level / 25) * 2.2, FAINT)
        at, path = np.array([-4.0, 1.0]), []
        state = [np.zeros(2) for _ in range(count)]
        for t in range(1, 41):
            path.append((cx + unit * at[0], cy - 2.2 * unit * at[1]))
            more = {"step": t} if name == "adam" else {}
            step(at, np.array([at[0], 25 * at[1]]), *state, impl="python", **options, **more)
        path.append((cx + unit * at[0], cy - 2.2 * unit * at[1]))
        d.curve(path, (RED, AMBER, GREEN, BLUE)[number], 1.5)
        for x, y in path:
            d.box(x - 1.5, y - 1.5, 3, 3, (RED, AMBER, GREEN, BLUE)[number])
        value = float(at[0] ** 2 + 25 * at[1] ** 2) / 2
        d.text(cx - 150, cy - 82, f"{name}, lr {options['lr']}: f = {value:.1g} after 40 steps", 13)
    return d.svg()


def transformer() -> str:
    """The MLP and attention as products of matrices, by their shapes."""
    d = Drawing(700, 330, "The MLP and attention are products of matrices, with one function between them")

    def block(x: float, y: float, wide: float, high: float, name: str, shape: str, colour: str) -> None:
        d.box(x, y, wide, high, colour, edge=True)
        d.text(x + wide / 2, y + high / 2 + 5, name, 14, anchor="middle")
        d.text(x + wide / 2, y + high + 15, shape, 11, FAINT, "middle")

    d.text(20, 30, "MLP", 15)
    block(20, 60, 50, 50, "x", "t × d", BLUE)
    d.text(78, 90, "·", 20)
    block(92, 60, 140, 50, "w1", "d × 4d", AMBER)
    d.text(244, 90, "→ gelu →", 13)
    block(312, 60, 140, 50, "h", "t × 4d", GREEN)
    d.text(460, 90, "·", 20)
    block(474, 45, 50, 90, "w2", "4d × d", AMBER)
    d.text(536, 90, "=", 18)
    block(560, 60, 50, 50, "y", "t × d", BLUE)
    d.text(20, 200, "attention", 15)
    block(20, 230, 50, 50, "q", "t × d", BLUE)
    d.text(78, 260, "·", 20)
    block(92, 230, 50, 50, "kᵀ", "d × t", AMBER)
    d.text(152, 260, "→ softmax of each row →", 13)
    block(322, 230, 50, 50, "p", "t × t", GREEN)
    d.text(382, 260, "·", 20)
    block(396, 230, 50, 50, "v", "t × d", AMBER)
    d.text(458, 260, "=", 18)
    block(482, 230, 50, 50, "y", "t × d", BLUE)
    return d.svg()


PICTURES: dict[str, Callable[[], str]] = {
    "01-vectors": vectors,
    "02-product": product,
    "03-strides": strides,
    "04-walk-ijk": lambda: walk_of("ijk"),
    "04-walk-ikj": lambda: walk_of("ikj"),
    "05-lanes": lanes,
    "06-registers": registers,
    "07-threads": threads,
    "08-gpu": gpu,
    "09-activations": activations,
    "10-graph": graph,
    "11-ravine": ravine,
    "12-transformer": transformer,
}
"""By the name of the file, less its .svg."""


def write(into: Path) -> None:
    """Write all pictures into a folder."""
    into.mkdir(parents=True, exist_ok=True)
    for name, draw in PICTURES.items():
        (into / f"{name}.svg").write_text(draw(), encoding="utf-8")


if __name__ == "__main__":
    write(Path(__file__).parents[1] / "docs" / "lessons" / "pictures")

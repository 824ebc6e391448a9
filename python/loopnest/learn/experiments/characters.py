"""Curves, bars and maps in characters, for terminals."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from ...arrays import Array

MARKS = "●○▲△■□"
SHADES = " ░▒▓█"


def chart(
    curves: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    width: int = 72,
    height: int = 14,
    *,
    log_x: bool = False,
    log_y: bool = False,
    x_label: str = "",
) -> list[str]:
    """Curves of (xs, ys) by name, each with a mark of its own; where two meet, the later one is seen.

    >>> for line in chart({"line": ([0, 1, 2], [0, 1, 2])}, width=18, height=3):
    ...     print(line)
         2 │         ●
           │    ●
         0 │●
           └──────────
            0        2
    ● line
    """
    points = [
        (x, y, mark)
        for mark, (xs, ys) in zip(MARKS, curves.values(), strict=False)
        for x, y in zip(xs, ys, strict=True)
        if math.isfinite(y) and (y > 0 or not log_y) and (x > 0 or not log_x)
    ]
    if not points:
        return ["nothing to draw"]
    room = max(width - 8, 8)
    to_x, (left, right) = _scale([x for x, _, _ in points], room, log_x)
    to_y, (low, high) = _scale([y for _, y, _ in points], height, log_y)
    cells = [[" "] * room for _ in range(height)]
    for x, y, mark in points:
        cells[height - 1 - to_y(y)][to_x(x)] = mark
    lines = []
    for row, line in enumerate(cells):
        label = number(high) if row == 0 else number(low) if row == height - 1 else ""
        lines.append(f"{label:>6} │{''.join(line)}".rstrip())
    lines.append(" " * 7 + "└" + "─" * room)
    ends = f"{number(left)}{'':{max(room - len(number(left)) - len(number(right)), 1)}}{number(right)}"
    if x_label and len(x_label) + 4 < room - len(number(left)) - len(number(right)):
        middle = (room - len(x_label)) // 2
        ends = ends[:middle] + x_label + ends[middle + len(x_label) :]
    lines.append(" " * 8 + ends)
    return lines + _legend([f"{mark} {name}" for mark, name in zip(MARKS, curves, strict=False)], width)


def _legend(names: Sequence[str], width: int) -> list[str]:
    """The names, as many on a line as it takes."""
    lines = [""]
    for name in names:
        longer = f"{lines[-1]}  {name}" if lines[-1] else name
        if len(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(name)
    return lines


def _scale(values: Sequence[float], cells: int, log: bool) -> tuple[Callable[[float], int], tuple[float, float]]:
    """A function from a value to its cell, and the ends."""
    low, high = min(values), max(values)
    begin, end = (math.log10(low), math.log10(high)) if log else (low, high)
    span = end - begin or 1.0

    def cell(value: float) -> int:
        at = math.log10(value) if log else value
        return min(cells - 1, round((at - begin) / span * (cells - 1)))

    return cell, (low, high)


def number(value: float) -> str:
    """Three digits of it, short.

    >>> number(0.000123), number(1234.0), number(0.5), number(2)
    ('1e-04', '1234', '0.5', '2')
    """
    if value and (abs(value) < 1e-3 or abs(value) >= 1e5):
        return f"{value:.0e}"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def shades(values: Array, low: float = 0.0, high: float = 1.0) -> list[str]:
    """A matrix as shaded cells, two characters wide.

    >>> import numpy as np
    >>> shades(np.array([[0.0, 1.0]]))
    ['  ██']
    """
    steps = len(SHADES) - 1
    return [
        "".join(SHADES[max(0, min(steps, round((v - low) / (high - low) * steps)))] * 2 for v in row) for row in values
    ]


def beside(*blocks: Sequence[str], gap: int = 3) -> list[str]:
    """Blocks of lines, one beside the other.

    >>> beside(["a", "b"], ["c"], gap=1)
    ['a c', 'b']
    """
    height = max(map(len, blocks))
    widths = [max(map(len, block)) for block in blocks]
    filled = [[*block, *[""] * (height - len(block))] for block in blocks]
    return [
        (" " * gap).join(f"{line:<{width}}" for line, width in zip(row, widths, strict=True)).rstrip()
        for row in zip(*filled, strict=True)
    ]

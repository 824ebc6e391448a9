"""Numbers and names as text: three digits, times, durations, and what a misspelt name may have meant."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable


def three_digits(x: float) -> str:
    """Three significant digits, without an exponent: 0.0152, 1.24, 12.4, 124, 12,400."""
    if not x:
        return "0"
    digits = 2 - math.floor(math.log10(abs(x)))
    return f"{round(x, digits):,.{max(digits, 0)}f}"


def times(factor: float) -> str:
    return f"{three_digits(factor) if factor >= 10 else f'{factor:.1f}'}×"


def counted(number: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "core"), counted(2, "core")
    ('1 core', '2 cores')
    """
    return f"{number} {noun}{'' if number == 1 else 's'}"


def duration(seconds: float) -> str:
    """Three significant digits, in the unit in which they read best."""
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{three_digits(seconds / scale)} {name}"
    return f"{three_digits(seconds / 1e-9)} ns"


def unknown(kind: str, name: str, known: Iterable[str], instead: str = "") -> str:
    """The message for a name that is not known, with the nearest ones, and all known ones or a text instead.

    >>> unknown("operation", "matmull", ["matmul", "gelu"])
    "no operation is called 'matmull'; did you mean matmul? Known: matmul, gelu."
    """
    names = list(known)
    near = difflib.get_close_matches(name, names, n=2)
    hint = f"; did you mean {' or '.join(near)}?" if near else "."
    return f"no {kind} is called {name!r}{hint} {instead or 'Known: ' + ', '.join(names)}."

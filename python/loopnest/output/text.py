"""Numbers as text: three digits, times, durations."""

from __future__ import annotations

import math


def three_digits(x: float) -> str:
    """Three significant digits, without an exponent: 0.0152, 1.24, 12.4, 124, 12,400."""
    if not x:
        return "0"
    digits = 2 - math.floor(math.log10(abs(x)))
    return f"{round(x, digits):,.{max(digits, 0)}f}"


def times(factor: float) -> str:
    return f"{three_digits(factor) if factor >= 10 else f'{factor:.1f}'}×"


def duration(seconds: float) -> str:
    """Three significant digits, in the unit in which they read best."""
    for scale, name in ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")):
        if seconds >= scale:
            return f"{three_digits(seconds / scale)} {name}"
    return f"{three_digits(seconds / 1e-9)} ns"

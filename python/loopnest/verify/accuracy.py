"""The error of the C++ kernels' float32 functions, measured over every float32 or a strided sample of them.

Errors are in ULP, units in the last place: the distance of float32's neighbours around the exact result y, 2^(e - 23)
for 2^e <= |y| < 2^(e+1), but at least 2^-149, for subnormal numbers. So a correctly rounded result is off by at most
0.5 ULP, also if it is subnormal or zero. If the formula gives NaN or rounds to infinity, so must the kernel; otherwise
its error is infinite. A gradient is a sum of terms that cancel at the function's extremum: its errors are in ULP of the
sum of their magnitudes. (csrc/measure/accuracy.hpp)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from .. import _core
from ..backends import threads

ALL = 2**32
BLOCK = 2**20  # Arguments at a time: 4 MiB, and their results the same


@dataclass(frozen=True)
class Accuracy:
    """What was measured of one function in one form."""

    function: str  # "gelu tanh": the kernel, and its form where it has two
    isa: str
    count: int  # how many arguments
    largest: float  # in ULP
    at: float  # an argument with the largest error
    above: dict[float, float]  # by number of ULP: the share of the arguments with larger errors


def functions(operations: Iterable[str] = (), variant: str = "simd") -> list[str]:
    """The functions that can be measured of a rung of the C++ ladder, or those that belong to the operations named.

    >>> functions(["gelu"])
    ['gelu tanh', 'gelu none']
    """
    kernels = {f: f.partition(" ")[0] for f in _core.functions_with_exact_results()}
    known = [f for f, kernel in kernels.items() if variant in _core.kernels[kernel]]
    wanted, names = list(operations), dict.fromkeys(kernels[f] for f in known)
    for name in wanted:
        if name not in names:
            expected = f"expected one of {', '.join(names)}" if names else f"and no operation has cpp.{variant}"
            raise ValueError(f"accuracy: operation is {name!r}, {expected}")
    return [f for f in known if not wanted or kernels[f] in wanted]


def measure(function: str, *, step: int = 1, variant: str = "simd") -> Accuracy:
    """The error of a C++ kernel over every `step`-th float32, on the ISA level that is set (`loopnest.set_isa`).

    function  one of functions(), "gelu tanh": a kernel, and its form where it has two
    step      1 for all of the 2^32 float32 numbers, NaNs included
    variant   the rung of the C++ ladder

    >>> measure("sigmoid", step=2**20 + 1).largest < 2
    True
    """
    name, _, form = function.partition(" ")
    kernel = _core.kernels[name][variant]
    backward = name.endswith("_backward")
    options = (form == "tanh",) if form else ()
    found: list[tuple[float, float, int, int, int]] = []

    def measure_block(start: int, stop: int) -> None:
        bits = np.arange(start * step, stop * step, step, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        y = np.empty_like(x)
        inputs = (x[None], np.ones_like(x)[None]) if backward else (x[None],)
        kernel(*inputs, y[None], *options)
        found.append(_core.errors_in_ulp(function, x, y))

    count = -(-ALL // step)
    threads.share(measure_block, count, BLOCK)
    largest, at = max(((error, at) for error, at, *_ in found), key=lambda worst: (worst[0], -abs(worst[1])))
    above = np.sum([counts for _, _, *counts in found], axis=0) / count
    return Accuracy(function, _core.isa(), count, largest, at, dict(zip((0.5, 1.0, 2.0), above.tolist(), strict=True)))

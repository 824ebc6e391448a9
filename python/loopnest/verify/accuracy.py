"""The error of the C++ kernels' float32 functions, measured over every float32 or a strided sample of them.

Errors are in ULP, units in the last place: the distance of float32's neighbours around the exact result y, 2^(e - 23)
for 2^e <= |y| < 2^(e+1), but at least 2^-149, for subnormal numbers. So a correctly rounded result is off by at most
0.5 ULP, also if it is subnormal or zero. Exact results are the formulas in float64, within 1e-6 of a float32's ULP. If
the formula gives NaN or rounds to infinity, so must the kernel; otherwise its error is infinite. A gradient is a sum of
terms that cancel at the function's extremum: its errors are in ULP of the sum of their magnitudes.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np

from .. import _core
from ..arrays import Array
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


LINEAR, CUBIC = 2 * math.sqrt(2 / math.pi), 0.044715


def _sigmoid(x: Array) -> Array:
    t = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, t, 1) / (1 + t))


def _tanh_argument(x: Array) -> Array:
    return LINEAR * x * (1 + CUBIC * x * x)


@numba.vectorize(["float64(float64)"], cache=True)  # type: ignore[untyped-decorator, unused-ignore]
def _distribution(x: Any) -> Any:
    return math.erfc(-x * math.sqrt(0.5)) / 2


def _slope_tanh(x: Array) -> tuple[Array, Array]:
    w = _tanh_argument(x)
    return _sigmoid(w), x * _sigmoid(w) * _sigmoid(-w) * LINEAR * (1 + 3 * CUBIC * x * x)


EXACT: dict[str, Callable[[Array], Array | tuple[Array, Array]]] = {
    "exp": np.exp,
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "gelu tanh": lambda x: x * _sigmoid(_tanh_argument(x)),
    "gelu none": lambda x: x * _distribution(x),
    "sigmoid_backward": lambda x: _sigmoid(x) * _sigmoid(-x),
    "tanh_backward": lambda x: 4 * _sigmoid(2 * x) * _sigmoid(-2 * x),
    "gelu_backward tanh": _slope_tanh,
    "gelu_backward none": lambda x: (_distribution(x), x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)),
}
"""The functions by name, of float64 arguments. Two terms are a sum that cancels."""


def errors_in_ulp(function: str, x: Array, y: Array) -> tuple[float, float, int, int, int]:
    """The largest error in ULP of y = function(x), the argument with it, and how many are above 0.5, 1 and 2 ULP.

    x, y  float32, of one shape

    >>> errors_in_ulp("exp", np.zeros(1, np.float32), np.float32([1 + 2**-23]))
    (1.0, 0.0, 1, 0, 0)
    """
    if function not in EXACT:
        raise ValueError(f"there are no exact results for {function!r}, expected one of {', '.join(EXACT)}")
    with np.errstate(all="ignore"):
        found = EXACT[function](x.astype(np.float64))
        terms = found if isinstance(found, tuple) else (found,)
        exact, size = sum(terms), sum(map(np.abs, terms))
        exponent = np.frexp(size)[1]  # size < 2**exponent
        error = np.abs(y - exact) * np.ldexp(1.0, 24 - np.maximum(exponent, -125))
        overflows = np.abs(exact) >= 2.0**128 - 2.0**103  # rounds to infinity
        right = np.isnan(y) & np.isnan(exact) | np.isinf(y) & overflows & ((y > 0) == (exact > 0))
        error = np.where(np.isfinite(y) & np.isfinite(exact), error, np.where(right, 0, np.inf))
    worst = int(error.argmax())
    largest = float(error[worst])
    above = [int((error > bound).sum()) for bound in (0.5, 1, 2)]
    return largest, float(x[worst]) if largest else 0.0, above[0], above[1], above[2]


def functions(operations: Iterable[str] = (), variant: str = "simd") -> list[str]:
    """The functions that can be measured of a rung of the C++ ladder, or those that belong to the operations named.

    >>> functions(["gelu"])
    ['gelu tanh', 'gelu none']
    """
    kernels = {f: f.partition(" ")[0] for f in EXACT}
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
        found.append(errors_in_ulp(function, x, y))

    count = -(-ALL // step)
    threads.share(measure_block, count, BLOCK)
    largest, at = max(((error, at) for error, at, *_ in found), key=lambda worst: (worst[0], -abs(worst[1])))
    above = np.sum([counts for _, _, *counts in found], axis=0) / count
    return Accuracy(function, _core.isa(), count, largest, at, dict(zip((0.5, 1.0, 2.0), above.tolist(), strict=True)))

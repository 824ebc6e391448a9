"""The error of the C++ kernels' float32 functions, measured over every float32 or a strided sample of them.

Errors are in ULP, units in the last place: the distance of float32's neighbours around the exact result y, 2^(e - 23)
for 2^e <= |y| < 2^(e+1), but at least 2^-149, for subnormal numbers. So a correctly rounded result is off by at most
0.5 ULP, also if it is subnormal or zero. Exact results are the formulas in float64, within 1e-6 of a float32's ULP. If
the formula gives NaN or rounds to infinity, so must the kernel; otherwise its error is infinite. A gradient is a sum of
terms that cancel at the function's extremum: its errors are in ULP of the sum of their magnitudes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .. import _core
from ..arrays import Array
from ..backends import threads
from ..operations.activations.contract import stable_sigmoid
from ..operations.gelu.contract import exact_gelu, slope_terms

ALL = 2**32
BOUNDS = (0.5, 1.0, 2.0)  # Numbers of ULP: how many arguments have larger errors is counted
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


EXACT: dict[str, Callable[[Array], Array | tuple[Array, ...]]] = {
    "exp": np.exp,
    "sigmoid": stable_sigmoid,
    "tanh": np.tanh,
    "gelu tanh": lambda x: exact_gelu(x, "tanh"),
    "gelu none": lambda x: exact_gelu(x, "none"),
    "sigmoid_backward": lambda x: stable_sigmoid(x) * stable_sigmoid(-x),
    "tanh_backward": lambda x: 4 * stable_sigmoid(2 * x) * stable_sigmoid(-2 * x),
    "gelu_backward tanh": lambda x: slope_terms(x, "tanh")[:2],
    "gelu_backward none": lambda x: slope_terms(x, "none")[:2],
}
"""The functions by name, of float64 arguments. Two terms are a sum that cancels."""


def errors_in_ulp(function: str, x: Array, y: Array) -> tuple[float, float, Array]:
    """The largest error in ULP of y = function(x), the argument with it, and how many are above each of BOUNDS.

    x, y  float32, of one shape

    >>> errors_in_ulp("exp", np.zeros(1, np.float32), np.float32([1 + 2**-23]))
    (1.0, 0.0, array([1, 0, 0]))
    """
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
    return largest, float(x[worst]) if largest else 0.0, np.array([(error > bound).sum() for bound in BOUNDS])


def functions(operation: str, variant: str = "simd") -> list[str]:
    """The functions that can be measured of an operation's rung of the C++ ladder.

    >>> functions("gelu")
    ['gelu tanh', 'gelu none']
    """
    known = {f: kernel for f in EXACT if variant in _core.kernels[kernel := f.partition(" ")[0]]}
    found = [f for f, kernel in known.items() if kernel == operation]
    if not found:
        names = ", ".join(dict.fromkeys(known.values())) or f"another rung, since none has cpp.{variant}"
        raise ValueError(f"accuracy: operation is {operation!r}, expected one of {names}")
    return found


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
    found: list[tuple[float, float, Array]] = []

    def measure_block(start: int, stop: int) -> None:
        bits = np.arange(start * step, stop * step, step, dtype=np.uint64)
        x = bits.astype(np.uint32).view(np.float32)
        y = np.empty_like(x)
        inputs = (x[None], np.ones_like(x)[None]) if backward else (x[None],)
        kernel(*inputs, y[None], *options)
        found.append(errors_in_ulp(function, x, y))

    count = -(-ALL // step)
    threads.share(measure_block, count, BLOCK)
    largest, at, _ = max(found, key=lambda worst: (worst[0], -abs(worst[1])))
    above = np.sum([counts for _, _, counts in found], axis=0) / count
    return Accuracy(function, _core.isa(), count, largest, at, dict(zip(BOUNDS, above.tolist(), strict=True)))

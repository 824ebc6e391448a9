"""GELU and its gradient in Numba: the C library's exp and erfc an element at a time, then polynomials in vectors.

    exact form   x · Φ(x)      Φ(x) = 1 - Q(x) for x >= 0, else Q(-x),   Q(t) = erfc(t/√2) / 2
    tanh form    x · σ(w)      w = 2√(2/π)(x + 0.044715 x³),   σ(w) = (1 for w >= 0, else t) / (1 + t),   t = exp(-|w|)

Neither cancels in its tail, and no exponential overflows.
"""

import math

import numpy as np

from ...arrays import Array
from ...backends import NUMBA
from ...backends.numba import compiled, helper, ufunc
from ...backends.numba_math import exp_of_minus
from ...backends.threads import share_elements
from .constants import CUBIC, DENSITY_AT_0, LINEAR, ROOT_HALF
from .erfc import CENTRE, FLOAT32, FLOAT64


@helper
def _gelu(x: float, tanh_form: bool) -> float:
    x = np.float64(x)
    if tanh_form:
        w = x * (LINEAR + LINEAR * CUBIC * (x * x))
        t = math.exp(-abs(w))
        return x * (t if w < 0.0 else 1.0) / (1.0 + t)
    q = 0.5 * math.erfc(abs(x) * ROOT_HALF)
    return x * (q if x < 0.0 else 1.0 - q)


@helper
def _gelu_backward(x: float, dy: float, tanh_form: bool) -> float:
    """dy · (σ(w) + x σ(w) σ(-w) w'), or dy · (Φ(x) + x φ(x)). Where x² is infinite t is 0; w' must stay finite."""
    x = np.float64(x)
    square = x * x
    if tanh_form:
        w = x * (LINEAR + LINEAR * CUBIC * square)
        dw = LINEAR + 3.0 * LINEAR * CUBIC * min(square, 1e6)
        t = math.exp(-abs(w))
        return dy * (((t if w < 0.0 else 1.0) + x * (t * dw) / (1.0 + t)) / (1.0 + t))
    q = 0.5 * math.erfc(abs(x) * ROOT_HALF)
    return dy * ((q if x < 0.0 else 1.0 - q) + x * (DENSITY_AT_0 * math.exp(-0.5 * square)))


@compiled
def scalar(x: Array, y: Array, tanh_form: bool) -> None:
    """One element at a time, with the C library's exp (tanh form) or erfc (exact form).

    LLVM cannot vectorize a call. An element takes some 5 ns for an exp and a division, and 18 ns for an erfc, whose
    branches are often mispredicted. float32 is computed in float64 and rounded once. The limit is the call; memory
    could feed it ten times over.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = _gelu(x[i, j], tanh_form)


def gelu_ufunc(x: Array, y: Array, tanh_form: bool) -> None:
    """The same formula for one number, made a NumPy ufunc by `@vectorize`: NumPy runs the loop.

    NumPy adds broadcasting, strides, `out=` and the two dtypes. The name promises no vector instructions, and there are
    none: the compiled loop calls the same exp and erfc, and takes as long as `scalar`.
    """
    with np.errstate(all="ignore"):
        ufunc(_gelu, x.dtype)(x, tanh_form, out=y)


# The formulas for `polynomial`, for a number of either type. T is its type and T(…) a constant of that type: a plain
# 0.5 is float64 and would make all arithmetic around it float64's.


@helper
def _exp_and_tail(x: float) -> tuple[float, float]:
    """exp(-x²/2), and Q(|x|) by the polynomial of erfc.py."""
    T = type(x)
    t = abs(x) if abs(x) < T(40) else T(40)  # the exponential is 0 from there on
    power = exp_of_minus(T(0.5) * (t * t))
    z = t * T(ROOT_HALF)
    s = (z - T(CENTRE)) / (z + T(CENTRE))
    if np.finfo(T).bits == 32:
        p = T(FLOAT32[len(FLOAT32) - 1])
        for k in range(len(FLOAT32) - 2, -1, -1):
            p = p * s + T(FLOAT32[k])
    else:
        p = T(FLOAT64[len(FLOAT64) - 1])
        for k in range(len(FLOAT64) - 2, -1, -1):
            p = p * s + T(FLOAT64[k])
    return power, power * p / (T(2) + T(4) * z)


@helper
def gelu_of(x: float, tanh_form: bool) -> float:
    """x · σ(w), or x · Φ(x)."""
    T = type(x)
    if tanh_form:
        w = x * (T(LINEAR) + T(LINEAR * CUBIC) * (x * x))
        t = exp_of_minus(abs(w))
        return x * (t if w < T(0) else T(1)) / (T(1) + t)
    _, q = _exp_and_tail(x)
    return x * (q if x < T(0) else T(1) - q)


@helper
def slope_of(x: float, tanh_form: bool) -> float:
    """σ(w) + x σ(w) σ(-w) w', or Φ(x) + x φ(x). Where x² is infinite t is 0, so w' must only stay finite."""
    T = type(x)
    if tanh_form:
        square = x * x
        w = x * (T(LINEAR) + T(LINEAR * CUBIC) * square)
        dw = T(LINEAR) + T(3 * LINEAR * CUBIC) * (square if square < T(1e6) else T(1e6))
        t = exp_of_minus(abs(w))
        return ((t if w < T(0) else T(1)) + x * (t * dw) / (T(1) + t)) / (T(1) + t)
    power, q = _exp_and_tail(x)
    return (q if x < T(0) else T(1) - q) + x * (T(DENSITY_AT_0) * power)


@compiled
def polynomial(x: Array, y: Array, tanh_form: bool) -> None:
    """exp and erfc as polynomials in the loop itself: nothing is called, so LLVM vectorizes it.

    exp(-s) is 2^-n times a Taylor series in r, |r| <= 0.35, of degree 7 for float32 and 13 for float64; the exact
    form's tail Q is one polynomial (erfc.py). Both sides of each case are computed and one is selected, and LLVM makes
    a loop for each form: no branch. An element of float32 takes 0.5 ns instead of 5 in the tanh form and 0.8 instead of
    18 in the exact form; in float64 1.4 and 2.9 (one core, AMD Zen 4). The limit is arithmetic, 35 to 60 operations and
    one or two divisions an element. Elements of a strided x go one by one.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = gelu_of(x[i, j], tanh_form)


_LEAST = 1 << 17  # elements that are worth another thread: 100 µs of polynomials, about the time it takes to wake one


def parallel(x: Array, y: Array, tanh_form: bool) -> None:
    """The polynomials on all cores, each over rows or columns of its own.

    At 0.6 ns an element one core reads and writes 13 GB/s of float32 already: memory is soon the limit. Up to a quarter
    of a million elements one thread does it all, since waking another takes some 100 µs.
    """
    share_elements(lambda x, y: polynomial(x, y, tanh_form), _LEAST, x, y)


@compiled
def gelu_backward_scalar(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """One element at a time, with the C library's exp and erfc. The calls are the limit, as in gelu."""
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = _gelu_backward(x[i, j], dy[i, j], tanh_form)


def gelu_backward_ufunc(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """The same formula for two numbers, made a NumPy ufunc by `@vectorize`. Calls of exp and erfc limit it."""
    with np.errstate(all="ignore"):
        ufunc(_gelu_backward, x.dtype)(x, dy, tanh_form, out=dx)


@compiled
def gelu_backward_polynomial(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """Vectorized polynomials, as in gelu: one exponential serves both terms of the derivative.

    So the gradient takes little longer than gelu itself. The limit is arithmetic, most of all the divisions.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = dy[i, j] * slope_of(x[i, j], tanh_form)


def gelu_backward_parallel(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """The polynomials on all cores, each over rows or columns of its own. The limit is memory."""
    share_elements(lambda x, dy, dx: gelu_backward_polynomial(x, dy, dx, tanh_form), _LEAST, x, dy, dx)


RUNGS = {
    "gelu": [
        NUMBA.rung(scalar),
        NUMBA.rung(gelu_ufunc, "ufunc"),
        NUMBA.rung(polynomial, faster_than=("numba.scalar", "numba.ufunc")),
        NUMBA.rung(parallel, faster_than=("numba.scalar", "numba.ufunc")),
    ],
    "gelu_backward": [
        NUMBA.rung(gelu_backward_scalar, "scalar"),
        NUMBA.rung(gelu_backward_ufunc, "ufunc"),
        NUMBA.rung(gelu_backward_polynomial, "polynomial", faster_than=("numba.scalar", "numba.ufunc")),
        NUMBA.rung(gelu_backward_parallel, "parallel", faster_than=("numba.scalar", "numba.ufunc")),
    ],
}

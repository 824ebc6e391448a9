"""GELU in NumPy: a Python function for each element, then whole arrays.

exact form   x · Φ(x)       Φ(x) = 1 - Q(x) for x > 0, else Q(-x);  Q by the polynomial of erfc.py
tanh form    x · σ(w)       w = 2√(2/π)(x + 0.044715 x³)
"""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY
from . import erfc
from .constants import CUBIC, DENSITY_AT_0, FARTHEST, LINEAR, ROOT_HALF
from .in_python import gelu_of, slope_of


def upper_tail(t: Array) -> Array:
    """Q(t) for 0 <= t <= FARTHEST: NumPy has no erfc."""
    z = t * t.dtype.type(ROOT_HALF)
    s = (z - erfc.CENTRE) / (z + erfc.CENTRE)
    coefficients = erfc.FLOAT32 if t.dtype == np.float32 else erfc.FLOAT64
    p = np.full_like(s, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        np.multiply(p, s, out=p)
        np.add(p, coefficient, out=p)
    return np.exp(-0.5 * (t * t)) * p / (2 + 4 * z)


def distribution(x: Array) -> Array:
    """Φ(x), with nothing cancelled on either side."""
    tail = upper_tail(np.minimum(np.abs(x), FARTHEST))
    return np.where(x > 0, 1 - tail, tail)


def exponent(x: Array) -> tuple[Array, Array]:
    """w, and exp(-|w|), of x within ±FARTHEST."""
    w = LINEAR * x * (1 + CUBIC * (x * x))
    return w, np.exp(-np.abs(w))


def gelu_scalar(x: Array, y: Array, tanh_form: bool) -> None:
    """np.frompyfunc: a Python function called for each element.

    It looks like a call for a whole array but is a loop: each element becomes a Python float, goes through the
    interpreter, and comes back. Vectorized code has a compiled loop; having no `for` is not enough.
    """
    y[...] = np.frompyfunc(gelu_of, 2, 1)(x.astype(object), tanh_form)


def gelu_vectorized(x: Array, y: Array, tanh_form: bool) -> None:
    """Whole arrays: a call, and a pass over memory, for each operation of the formula.

    Each pass is compiled and has vector instructions, exp too. The tanh form takes some 12 passes and the exact form 40
    (NumPy has no erf, so a polynomial of 12 or 25 terms stands in). Each pass reads and writes arrays: the limit is
    memory once they outgrow the caches. The next step is to do all operations in one pass.
    """
    with np.errstate(all="ignore"):
        if tanh_form:
            w, t = exponent(np.clip(x, -FARTHEST, FARTHEST))
            np.multiply(x, np.where(w >= 0, x.dtype.type(1), t) / (1 + t), out=y)
        else:
            np.multiply(x, distribution(x), out=y)


def gelu_backward_scalar(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """np.frompyfunc again: the slope by a Python function for each element. The interpreter limits it."""
    slope = np.frompyfunc(slope_of, 2, 1)(x.astype(object), tanh_form)
    with np.errstate(all="ignore"):
        np.multiply(dy, slope.astype(x.dtype), out=dx)


def gelu_backward_vectorized(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """A pass for each operation: some 20 in the tanh form, 45 in the exact one. The limit is memory."""
    with np.errstate(all="ignore"):
        near = np.clip(x, -FARTHEST, FARTHEST)
        if tanh_form:
            w, t = exponent(near)
            below = 1 + t
            slope = np.where(w >= 0, x.dtype.type(1), t) / below
            slope += x * (t / (below * below)) * (LINEAR * (1 + 3 * CUBIC * (near * near)))
        else:
            slope = distribution(x)
            slope += x * (np.exp(-0.5 * (near * near)) * DENSITY_AT_0)
        np.multiply(dy, slope, out=dx)


RUNGS = {
    "gelu": [NUMPY.rung(gelu_scalar, "scalar"), NUMPY.rung(gelu_vectorized, "vectorized", faster_than="numpy.scalar")],
    "gelu_backward": [
        NUMPY.rung(gelu_backward_scalar, "scalar"),
        NUMPY.rung(gelu_backward_vectorized, "vectorized", faster_than="numpy.scalar"),
    ],
}

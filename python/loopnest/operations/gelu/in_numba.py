"""GELU and its gradient in Numba: the C library's exp and erfc an element at a time, then polynomials in vectors.

    tanh form   x · σ(z),  z = 2√(2/π) (x + 0.044715 x³),  σ(z) = 1 / (1 + t) for z >= 0, else t / (1 + t),  t = exp(-|z|)
    erf form    x · Φ(x),  Φ(x) = 1 - Q(x) for x >= 0, else Q(-x),  Q(t) = erfc(t/√2) / 2

Neither cancels in its tail, and no exponential overflows.
"""

from __future__ import annotations

import math

import numpy as np

from ...arrays import Array
from ...numba_kernels import compiled, helper, ufunc
from ...operation import rung
from ...threads import share_elements

_LINEAR = 2 * math.sqrt(2 / math.pi)  # z = _LINEAR · x + _CUBIC · x³
_CUBIC = _LINEAR * 0.044715
_ROOT_HALF = math.sqrt(0.5)
_DENSITY_AT_0 = 1 / math.sqrt(2 * math.pi)  # φ(0)


@helper
def _gelu_by_exp(x: float) -> float:
    z = x * (_LINEAR + _CUBIC * (x * x))
    t = math.exp(-abs(z))
    return x * (t if z < 0.0 else 1.0) / (1.0 + t)


@helper
def _gelu_by_erfc(x: float) -> float:
    q = 0.5 * math.erfc(abs(x) * _ROOT_HALF)
    return x * (q if x < 0.0 else 1.0 - q)


@helper
def _gradient_by_exp(x: float, dy: float) -> float:
    """dy · (σ(z) + x σ(z) σ(-z) z'). Where x² is not finite t is 0, so z' only has to stay finite."""
    square = x * x
    z = x * (_LINEAR + _CUBIC * square)
    slope = _LINEAR + 3.0 * _CUBIC * min(square, 1e6)
    t = math.exp(-abs(z))
    return dy * (((t if z < 0.0 else 1.0) + x * (t * slope) / (1.0 + t)) / (1.0 + t))


@helper
def _gradient_by_erfc(x: float, dy: float) -> float:
    """dy · (Φ(x) + x φ(x))."""
    q = 0.5 * math.erfc(abs(x) * _ROOT_HALF)
    return dy * ((q if x < 0.0 else 1.0 - q) + x * (_DENSITY_AT_0 * math.exp(-0.5 * (x * x))))


@rung("gelu")
@compiled
def scalar(x: Array, out: Array, tanh_form: bool) -> None:
    """One element at a time, with the C library's exp (tanh form) or erfc (erf form).

    The loop is compiled, but a call is nothing that LLVM can vectorize: it stays at one element a turn, 4 ns for an exp and
    a division and 20 ns for an erfc, whose two or three ranges cost a mispredicted branch besides. float32 is computed
    in float64 and rounded once at the end. The limit is the call; memory could feed it ten times over.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if tanh_form:
                out[i, j] = _gelu_by_exp(float(x[i, j]))
            else:
                out[i, j] = _gelu_by_erfc(float(x[i, j]))


@rung("gelu")
def vectorize(x: Array, out: Array, tanh_form: bool) -> None:
    """The same formula for one number, made a NumPy ufunc by `@vectorize`: NumPy runs the loop.

    What it gives is convenience: the function is of one float, and broadcasting, strides, `out=` and the two dtypes
    come from NumPy. The name promises no vector instructions, and there are none here: the compiled loop inside calls
    the same exp and erfc, and takes as long as `scalar`. Where a function holds plain arithmetic only, LLVM does
    vectorize that loop.
    """
    formula = _gelu_by_exp if tanh_form else _gelu_by_erfc
    with np.errstate(all="ignore"):
        ufunc(formula, x.dtype)(x, out=out)


@rung("gelu_backward")
@compiled
def gelu_backward_scalar(x: Array, dy: Array, out: Array, tanh_form: bool) -> None:
    """One element at a time, with the C library's exp and erfc.

    The tanh form needs one exp, as gelu itself: σ(z), σ(-z) and both terms of the derivative come from the same t. The
    erf form needs erfc for Φ and exp for φ. The calls are the limit, as in gelu.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            if tanh_form:
                out[i, j] = _gradient_by_exp(float(x[i, j]), float(dy[i, j]))
            else:
                out[i, j] = _gradient_by_erfc(float(x[i, j]), float(dy[i, j]))


@rung("gelu_backward")
def gelu_backward_vectorize(x: Array, dy: Array, out: Array, tanh_form: bool) -> None:
    """The same formula for two numbers, made a NumPy ufunc by `@vectorize`.

    One pass, as a ufunc of two arguments, where a chain of NumPy's own ufuncs takes a dozen. The calls of exp and erfc
    inside are the limit, as in `scalar`.
    """
    formula = _gradient_by_exp if tanh_form else _gradient_by_erfc
    with np.errstate(all="ignore"):
        ufunc(formula, x.dtype)(x, dy, out=out)

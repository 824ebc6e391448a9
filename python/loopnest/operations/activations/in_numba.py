"""The activations in Numba: loops over elements, with the exponential as arithmetic so that LLVM vectorizes them."""

import math

import numpy as np

from ...arrays import Array
from ...backends import NUMBA
from ...backends.numba import compiled, helper
from ...backends.numba_math import exp_of_minus


@compiled
def relu_vectorized(x: Array, y: Array) -> None:
    """0 where x <= 0, else x: a vector comparison and a masked move. NaN passes. Bound by memory beyond L1."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = zero if x[i, j] <= zero else x[i, j]


@compiled
def relu_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """dy where x > 0 and 0 where x <= 0, in vector instructions. Bound by memory beyond L1."""
    zero = x.dtype.type(0)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            dx[i, j] = zero if x[i, j] <= zero else dy[i, j]


@compiled
def sigmoid_vectorized(x: Array, y: Array) -> None:
    """σ(x) = 1 / (1 + exp(-x)), from t = exp(-|x|), which cannot overflow: (1 or t) / (1 + t).

    The exponential is arithmetic (numba_math.py), both cases are computed and one is selected, so LLVM vectorizes the
    loop; with the C library's exp an element would take some 5 ns. The limit is arithmetic: 30 operations and a
    division.
    """
    T = x.dtype.type
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = exp_of_minus(abs(x[i, j]))
            y[i, j] = (t if x[i, j] < T(0) else T(1)) / (T(1) + t)


@compiled
def sigmoid_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """dy σ'(x) = dy t / (1 + t)², with t = exp(-|x|): σ (1 - σ) would cancel. Vectorized like sigmoid."""
    T = x.dtype.type
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = exp_of_minus(abs(x[i, j]))
            dx[i, j] = dy[i, j] * (t / ((T(1) + t) * (T(1) + t)))


@compiled
def tanh_scalar(x: Array, y: Array) -> None:
    """The C library's tanh for each element, in float64 for both dtypes.

    A call of some 10 ns that LLVM cannot vectorize: that is the limit. (1 - t) / (1 + t) with t = exp(-2|x|) would be
    arithmetic, as in the others, but cancels near 0, where tanh(x) is x.
    """
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            y[i, j] = math.tanh(np.float64(x[i, j]))


@compiled
def tanh_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """dy tanh'(x) = dy 4t / (1 + t)², with t = exp(-2|x|): 1 - tanh² would cancel near tanh = 1."""
    T = x.dtype.type
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            t = exp_of_minus(T(2) * abs(x[i, j]))
            dx[i, j] = dy[i, j] * (T(4) * t / ((T(1) + t) * (T(1) + t)))


@compiled(reorder_sums=True)
def softmax_vectorized(x: Array, y: Array) -> None:
    """exp(x - max) / Σ exp(x - max) over each row, in three passes: the maximum, exp and its sum, the quotient.

    Without the subtraction exp would overflow from x = 89 on (float32). A row stays in L1 through its three passes. The
    second and third are vectorized; the limit is arithmetic, and the first pass, which takes one comparison at a time.
    """
    for i in range(x.shape[0]):
        largest = largest_of(x[i])
        total = y.dtype.type(0)
        for j in range(x.shape[1]):
            e = exp_of_minus(largest - x[i, j])
            y[i, j] = e
            total += e
        for j in range(x.shape[1]):
            y[i, j] /= total


@helper
def largest_of(row: Array) -> float:
    """The largest element of a row that has elements. It may skip a NaN, which then shows in the row's differences."""
    largest = row[0]
    for j in range(1, row.size):
        largest = max(largest, row[j])
    return largest


RUNGS = {
    "relu": [NUMBA.rung(relu_vectorized, "vectorized")],
    "relu_backward": [NUMBA.rung(relu_backward_vectorized, "vectorized")],
    "sigmoid": [NUMBA.rung(sigmoid_vectorized, "vectorized")],
    "sigmoid_backward": [NUMBA.rung(sigmoid_backward_vectorized, "vectorized")],
    "tanh": [NUMBA.rung(tanh_scalar, "scalar")],
    "tanh_backward": [NUMBA.rung(tanh_backward_vectorized, "vectorized")],
    "softmax": [NUMBA.rung(softmax_vectorized, "vectorized")],
}

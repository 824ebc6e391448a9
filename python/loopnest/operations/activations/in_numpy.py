"""The activation functions in NumPy: a call, and a pass over memory, for each operation of the formula."""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY


def relu_vectorized(x: Array, y: Array) -> None:
    """One call: the larger of x and 0, with vector instructions; NaN passes. Bound by memory."""
    np.maximum(x, 0, out=y)


def relu_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """A comparison into a new array of booleans, then a selection: two passes, bound by memory."""
    dx[...] = np.where(x <= 0, x.dtype.type(0), dy)


def sigmoid_vectorized(x: Array, y: Array) -> None:
    """By exp(-|x|), which cannot overflow: seven passes, each with a new array. The limit is memory."""
    with np.errstate(under="ignore", invalid="ignore"):
        t = np.exp(-np.abs(x))
        np.divide(np.where(x >= 0, x.dtype.type(1), t), 1 + t, out=y)


def sigmoid_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """dy · t / (1 + t)² with t = exp(-|x|), σ(x) · σ(-x). Six passes; the limit is memory."""
    with np.errstate(under="ignore", invalid="ignore"):
        t = np.exp(-np.abs(x))
        slope = t / np.square(1 + t)
        np.multiply(dy, slope, out=dx)


def tanh_vectorized(x: Array, y: Array) -> None:
    """One call, with vector instructions; 1 to 5 ns an element, limited by arithmetic."""
    np.tanh(x, out=y)


def tanh_backward_vectorized(x: Array, dy: Array, dx: Array) -> None:
    """dy · 4t / (1 + t)² with t = exp(-2|x|): nothing cancels. Eight passes; the limit is memory."""
    with np.errstate(under="ignore", over="ignore", invalid="ignore"):
        t = np.exp(-2 * np.abs(x))
        slope = 4 * t / np.square(1 + t)
        np.multiply(dy, slope, out=dx)


def softmax_vectorized(x: Array, y: Array) -> None:
    """Five passes: maximum, difference, exp, sum, quotient. The limit is exp, beyond the caches memory."""
    with np.errstate(invalid="ignore", under="ignore"):  # infinite x: inf - inf is NaN, as it should be
        np.subtract(x, x.max(axis=1, keepdims=True), out=y)
        np.exp(y, out=y)
        np.divide(y, y.sum(axis=1, keepdims=True), out=y)


RUNGS = NUMPY.rungs(
    "vectorized",
    relu=relu_vectorized, relu_backward=relu_backward_vectorized, sigmoid=sigmoid_vectorized,
    sigmoid_backward=sigmoid_backward_vectorized, tanh=tanh_vectorized, tanh_backward=tanh_backward_vectorized,
    softmax=softmax_vectorized,
)  # fmt: skip

"""The losses and their gradients in NumPy: a call, and a pass over memory, for each operation of the formula."""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY


def mse_vectorized(y: Array, t: Array, loss: Array) -> None:
    """Three passes: the difference, its square in place, and the mean.

    The difference is a new array, written once and read and written again: for large arrays the limit is memory, and
    half of the traffic is that array's.
    """
    error = np.subtract(y, t)
    np.mean(np.square(error, out=error), out=loss)


def mse_backward_vectorized(y: Array, t: Array, dy: Array, count: int) -> None:
    """Two passes into `dy`: the difference, and its scaling by 2/N.

    Bound by memory: five arrays' worth of traffic where one fused pass would need three.
    """
    np.subtract(y, t, out=dy)
    np.multiply(dy, y.dtype.type(2 / count), out=dy)


def cross_entropy_vectorized(logits: Array, labels: Array, loss: Array) -> None:
    """A pass for each of maximum, difference, exp and sum; the labels' logits by one look-up.

    The difference is a new array, and exp is computed in its memory. exp has vector instructions in NumPy, about a
    nanosecond an element; the limit is the passes over memory.
    """
    with np.errstate(invalid="ignore"):  # infinite logits: inf - inf is NaN, as it should be
        shifted = logits - logits.max(axis=1, keepdims=True)
        label = shifted[np.arange(len(labels)), labels]
        np.exp(shifted, out=shifted)
        np.mean(np.log(shifted.sum(axis=1)) - label, out=loss)


def cross_entropy_backward_vectorized(logits: Array, labels: Array, dlogits: Array) -> None:
    """Softmax in `dlogits`, 1 subtracted at the labels, and the division by n, a pass for each step.

    Six passes, all in `dlogits`: the limit is memory as soon as the logits outgrow the caches.
    """
    n = len(labels)
    with np.errstate(invalid="ignore", under="ignore"):
        np.subtract(logits, logits.max(axis=1, keepdims=True), out=dlogits)
        np.exp(dlogits, out=dlogits)
        np.divide(dlogits, dlogits.sum(axis=1, keepdims=True), out=dlogits)
        dlogits[np.arange(n), labels] -= 1
        np.divide(dlogits, n, out=dlogits)


RUNGS = NUMPY.rungs(
    "vectorized",
    mse=mse_vectorized, mse_backward=mse_backward_vectorized, cross_entropy=cross_entropy_vectorized,
    cross_entropy_backward=cross_entropy_backward_vectorized,
)  # fmt: skip

"""The losses and their gradients in NumPy: a call, and a pass over memory, for each operation of the formula."""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY
from ..activations.in_numpy import softmax_vectorized


def mse_vectorized(y: Array, t: Array, loss: Array) -> None:
    """Three passes: the difference in a new array, its square in place, the mean. Bound by memory."""
    error = np.subtract(y, t)
    np.mean(np.square(error, out=error), out=loss)


def mse_backward_vectorized(y: Array, t: Array, dy: Array, count: int) -> None:
    """Two passes into `dy`: the difference, then its scaling by 2/N. Bound by memory."""
    np.subtract(y, t, out=dy)
    np.multiply(dy, y.dtype.type(2 / count), out=dy)


def cross_entropy_vectorized(logits: Array, labels: Array, loss: Array) -> None:
    """A pass for each of maximum, difference, exp and sum; one look-up of the labels. Bound by memory."""
    with np.errstate(invalid="ignore"):  # infinite logits: inf - inf is NaN, as it should be
        shifted = logits - logits.max(axis=1, keepdims=True)
        label = shifted[np.arange(len(labels)), labels]
        np.exp(shifted, out=shifted)
        np.mean(np.log(shifted.sum(axis=1)) - label, out=loss)


def cross_entropy_backward_vectorized(logits: Array, labels: Array, dlogits: Array) -> None:
    """Softmax in `dlogits`, 1 subtracted at the labels, the division by n. Six passes; the limit is memory."""
    n = len(labels)
    softmax_vectorized(logits, dlogits)
    dlogits[np.arange(n), labels] -= 1
    with np.errstate(under="ignore"):
        np.divide(dlogits, n, out=dlogits)


RUNGS = NUMPY.rungs(
    "vectorized",
    mse=mse_vectorized, mse_backward=mse_backward_vectorized, cross_entropy=cross_entropy_vectorized,
    cross_entropy_backward=cross_entropy_backward_vectorized,
)  # fmt: skip

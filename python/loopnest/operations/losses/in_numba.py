"""The losses in Numba. Their sums are float64, whatever the arrays' dtype."""

import math

import numpy as np

from ...arrays import Array
from ...backends import NUMBA
from ...backends.numba import compiled
from ...backends.numba_math import exp_of_minus
from ..activations.in_numba import largest_of


@compiled(reorder_sums=True)
def mse_vectorized(y: Array, t: Array, loss: Array) -> None:
    """The mean of (y - t)² in one pass; LLVM reorders and vectorizes the sum. Bound by memory beyond L2."""
    total = 0.0
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            difference = np.float64(y[i, j]) - np.float64(t[i, j])
            total += difference * difference
    loss[()] = total / (y.shape[0] * y.shape[1])


@compiled
def mse_backward_vectorized(y: Array, t: Array, dy: Array, count: int) -> None:
    """∂L/∂y = 2 (y - t) / count, for the mean over `count` elements, vectorized. Bound by memory."""
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            dy[i, j] = 2.0 * (np.float64(y[i, j]) - np.float64(t[i, j])) / count


@compiled(reorder_sums=True)
def cross_entropy_vectorized(logits: Array, labels: Array, loss: Array) -> None:
    """The mean over the rows of log Σ exp(logit) - logit[label].

    Softmax and logarithm are one formula: log(exp(a) / Σ) would be log(0) for unlikely labels. The row's maximum is
    subtracted, so the sum of exponentials is at least 1. Two passes over a row in L1. The limits are the exponentials,
    which are vectorized, and the maximum, which takes one comparison at a time.
    """
    mean = 0.0
    for i in range(logits.shape[0]):
        largest = largest_of(logits[i])
        total = 0.0
        for j in range(logits.shape[1]):
            total += exp_of_minus(largest - logits[i, j])
        mean += (math.log(total) + (np.float64(largest) - np.float64(logits[i, labels[i]]))) / logits.shape[0]
    loss[()] = mean


@compiled(reorder_sums=True)
def cross_entropy_backward_vectorized(logits: Array, labels: Array, dlogits: Array) -> None:
    """(softmax(logits) - onehot(labels)) / rows: as softmax, with the label's 1 and the scale in its passes."""
    rows = logits.shape[0]
    for i in range(rows):
        largest = largest_of(logits[i])
        total = 0.0
        for j in range(logits.shape[1]):
            e = exp_of_minus(largest - logits[i, j])
            dlogits[i, j] = e
            total += e
        dlogits[i, labels[i]] -= total
        for j in range(logits.shape[1]):
            dlogits[i, j] /= total * rows


RUNGS = NUMBA.rungs(
    "vectorized",
    mse=mse_vectorized, mse_backward=mse_backward_vectorized, cross_entropy=cross_entropy_vectorized,
    cross_entropy_backward=cross_entropy_backward_vectorized,
)  # fmt: skip

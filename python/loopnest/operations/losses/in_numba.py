"""The losses in Numba. The sums are float64, whatever the arrays' dtype."""

from __future__ import annotations

import math

from ...arrays import Array
from ...numba_kernels import compiled
from ...operation import rung
from ..activations.in_numba import largest_of


@rung("mse")
@compiled(reorder_sums=True)
def mse_loop(y: Array, t: Array, out: Array) -> None:
    """The mean of (y - t)² over all elements, in one pass.

    Nothing is stored on the way: where NumPy writes the differences and then their squares to memory and reads them
    again, here they stay in registers. With leave to reorder the sum LLVM vectorizes it. Two loads for three
    operations: beyond L2 the memory's bandwidth is the limit.
    """
    total = 0.0
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            difference = float(y[i, j]) - float(t[i, j])
            total += difference * difference
    out[()] = total / (y.shape[0] * y.shape[1])


@rung("mse_backward")
@compiled
def mse_backward_loop(y: Array, t: Array, out: Array, count: int) -> None:
    """∂L/∂y = 2 (y - t) / count, for the mean over `count` elements.

    Independent elements, so vector instructions; two loads and a store for three operations, so the memory's bandwidth
    is the limit, and before it the division.
    """
    for i in range(y.shape[0]):
        for j in range(y.shape[1]):
            out[i, j] = 2.0 * (float(y[i, j]) - float(t[i, j])) / count


@rung("cross_entropy")
@compiled
def cross_entropy_loop(logits: Array, labels: Array, out: Array) -> None:
    """The mean over the rows of log Σ exp(logit) - logit[label].

    Softmax and logarithm are never taken apart: log(exp(a) / Σ) would be log(0) for unlikely labels. With the row's
    maximum subtracted the sum of exponentials is at least 1. Two passes over a row that is still in L1, and one call
    of exp an element, which is the limit.
    """
    total = 0.0
    for i in range(logits.shape[0]):
        largest = largest_of(logits[i])
        total_of_row = 0.0
        for j in range(logits.shape[1]):
            total_of_row += math.exp(float(logits[i, j]) - largest)
        total += math.log(total_of_row) - (float(logits[i, labels[i]]) - largest)
    out[()] = total / logits.shape[0]


@rung("cross_entropy_backward")
@compiled
def cross_entropy_backward_loop(logits: Array, labels: Array, out: Array) -> None:
    """(softmax(logits) - onehot(labels)) / rows: the chain rule through logarithm and softmax leaves no more than this.

    As softmax, with the scale and the -1 at the label in the last pass. The calls of exp are the limit.
    """
    rows = logits.shape[0]
    for i in range(rows):
        largest = largest_of(logits[i])
        total = 0.0
        for j in range(logits.shape[1]):
            e = math.exp(float(logits[i, j]) - largest)
            out[i, j] = e
            total += e
        for j in range(logits.shape[1]):
            onehot = 1.0 if j == labels[i] else 0.0
            out[i, j] = (float(out[i, j]) / total - onehot) / rows

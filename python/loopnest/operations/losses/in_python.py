"""The losses and their gradients in pure Python, on lists; see linalg/in_python.py for what bounds such loops."""

import math

from ...arrays import Array
from ...backends import PYTHON
from ..activations.in_python import each, shifted_powers


def mse_scalar(y: Array, t: Array, loss: Array) -> None:
    """The mean of (y - t)², three operations an element. The limit is the interpreter."""
    total = 0.0
    for y_row, t_row in zip(y.tolist(), t.tolist(), strict=True):
        for y_i, t_i in zip(y_row, t_row, strict=True):
            total += (y_i - t_i) * (y_i - t_i)
    loss[()] = total / y.size


def mse_backward_scalar(y: Array, t: Array, dy: Array, count: int) -> None:
    """The definition: 2 (y - t) / N for every element. The limit is the interpreter, as in the loss."""
    dy[...] = each(lambda y_i, t_i: 2 * (y_i - t_i) / count, y, t)


def cross_entropy_scalar(logits: Array, labels: Array, loss: Array) -> None:
    """log Σ exp(l - max) - (l[label] - max) row by row, and the mean of these. The limit is the interpreter."""
    total = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        largest, powers = shifted_powers(row)
        total += math.log(sum(powers)) - (row[label] - largest)
    loss[()] = total / len(labels)


def cross_entropy_backward_scalar(logits: Array, labels: Array, dlogits: Array) -> None:
    """The definition row by row: (softmax - onehot) / n. The limit is the interpreter, as in the loss."""
    n = len(labels)
    for i, (row, label) in enumerate(zip(logits.tolist(), labels.tolist(), strict=True)):
        _, powers = shifted_powers(row)
        total = sum(powers)
        dlogits[i] = [(power / total - (j == label)) / n for j, power in enumerate(powers)]


RUNGS = PYTHON.rungs(
    "scalar",
    mse=mse_scalar, mse_backward=mse_backward_scalar, cross_entropy=cross_entropy_scalar,
    cross_entropy_backward=cross_entropy_backward_scalar,
)  # fmt: skip

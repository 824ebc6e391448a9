"""The optimizers' steps in pure Python: the papers' formulas, an element at a time.

Each step takes the arrays out as lists and writes the new numbers back. The limit is the interpreter throughout.
"""

import math
from collections.abc import Iterator

from ...arrays import Array
from ...backends import PYTHON


def _elements(*arrays: Array) -> Iterator[tuple[int, int, list[float]]]:
    """Row, column and the arrays' numbers there, one element after another."""
    lists = [array.tolist() for array in arrays]
    for i in range(arrays[0].shape[0]):
        for j in range(arrays[0].shape[1]):
            yield i, j, [rows[i][j] for rows in lists]


def _root(x: float) -> float:
    """√x, and NaN where x is negative, as IEEE 754 has it."""
    return math.sqrt(x) if x >= 0 else math.nan


def sgd_scalar(param: Array, grad: Array, lr: float) -> None:
    """One step against the gradient for each parameter."""
    for i, j, (p, g) in _elements(param, grad):
        param[i, j] = p - lr * g


def momentum_scalar(param: Array, grad: Array, velocity: Array, lr: float, mu: float) -> None:
    """The velocity first, a decaying sum of gradients; then a step along it."""
    for i, j, (p, g, v) in _elements(param, grad, velocity):
        new = mu * v + g
        velocity[i, j] = new
        param[i, j] = p - lr * new


def rmsprop_scalar(param: Array, grad: Array, square_average: Array, lr: float, rho: float, eps: float) -> None:
    """Each step is divided by the root of the decaying mean of the parameter's squared gradients."""
    for i, j, (p, g, s) in _elements(param, grad, square_average):
        new = rho * s + (1 - rho) * (g * g)
        square_average[i, j] = new
        param[i, j] = p - lr * g / (_root(new) + eps)


def adam_scalar(
    param: Array, grad: Array, m: Array, v: Array,
    lr: float, beta1: float, beta2: float, eps: float, correction1: float, correction2: float, eps_inside: bool,
) -> None:  # fmt: skip
    """The paper's algorithm line by line: two decaying means, their corrections, the step."""
    for i, j, (p, g, mean, square) in _elements(param, grad, m, v):
        mean = beta1 * mean + (1 - beta1) * g
        square = beta2 * square + (1 - beta2) * (g * g)
        m[i, j], v[i, j] = mean, square
        corrected = square / correction2
        divisor = _root(corrected + eps) if eps_inside else _root(corrected) + eps
        param[i, j] = p - lr * (mean / correction1) / divisor


RUNGS = PYTHON.rungs("scalar", sgd=sgd_scalar, momentum=momentum_scalar, rmsprop=rmsprop_scalar, adam=adam_scalar)

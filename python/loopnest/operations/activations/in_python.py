"""The activation functions in pure Python, an element at a time; see linalg/in_python.py for what bounds such loops."""

import math
from collections.abc import Callable

from ...arrays import Array
from ...backends import PYTHON


def each(f: Callable[..., float], *arrays: Array) -> list[list[float]]:
    """f of the elements of 2-D arrays, as nested lists."""
    return [
        [f(*numbers) for numbers in zip(*rows, strict=True)] for rows in zip(*(a.tolist() for a in arrays), strict=True)
    ]


def sigmoid(x: float) -> float:
    """1 / (1 + exp(-x)), by exp(-|x|), which cannot overflow."""
    t = math.exp(-abs(x))
    return (1.0 if x >= 0 else t) / (1 + t)


def relu_scalar(x: Array, y: Array) -> None:
    """0 where x <= 0, else x, so that NaN passes. The limit is the interpreter, some 50 ns an element."""
    y[...] = each(lambda x_i: 0.0 if x_i <= 0 else x_i, x)


def relu_backward_scalar(x: Array, dy: Array, dx: Array) -> None:
    """A comparison an element: 0 where x <= 0, and else dy. The limit is the interpreter."""
    dx[...] = each(lambda x_i, dy_i: 0.0 if x_i <= 0 else dy_i, x, dy)


def sigmoid_scalar(x: Array, y: Array) -> None:
    """The formula by exp(-|x|), which cannot overflow. The limit is the interpreter."""
    y[...] = each(sigmoid, x)


def sigmoid_backward_scalar(x: Array, dy: Array, dx: Array) -> None:
    """dy · σ(x) · σ(-x): 1 - σ(x) would cancel. The limit is the interpreter."""
    dx[...] = each(lambda x_i, dy_i: dy_i * (sigmoid(x_i) * sigmoid(-x_i)), x, dy)


def tanh_scalar(x: Array, y: Array) -> None:
    """The standard library's tanh, an element at a time. The limit is the interpreter."""
    y[...] = each(math.tanh, x)


def slope_of_tanh(x: float) -> float:
    """1 - tanh²(x) = 4 t / (1 + t)² with t = exp(-2|x|)."""
    t = math.exp(-2 * abs(x))
    return 4 * t / ((1 + t) * (1 + t))


def tanh_backward_scalar(x: Array, dy: Array, dx: Array) -> None:
    """dy · 4t / (1 + t)² with t = exp(-2|x|): nothing cancels. The limit is the interpreter."""
    dx[...] = each(lambda x_i, dy_i: dy_i * slope_of_tanh(x_i), x, dy)


def shifted_powers(row: list[float]) -> tuple[float, list[float]]:
    """The row's largest element, and exp(element - largest); NaN for a row with NaN or infinity."""
    largest = math.nan if any(map(math.isnan, row)) else max(row)
    return largest, [math.exp(element - largest) for element in row]


def softmax_scalar(x: Array, y: Array) -> None:
    """Row by row: the maximum, the exponentials, their sum, the quotients. The limit is the interpreter."""
    for i, row in enumerate(x.tolist()):
        _, powers = shifted_powers(row)
        total = sum(powers)
        y[i] = [power / total for power in powers]


RUNGS = PYTHON.rungs(
    "scalar",
    relu=relu_scalar, relu_backward=relu_backward_scalar, sigmoid=sigmoid_scalar,
    sigmoid_backward=sigmoid_backward_scalar, tanh=tanh_scalar, tanh_backward=tanh_backward_scalar,
    softmax=softmax_scalar,
)  # fmt: skip

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
    power = math.exp(-abs(x))
    return (1.0 if x >= 0 else power) / (1 + power)


def relu_loop(x: Array, out: Array) -> None:
    """A comparison an element: 0 where x <= 0, and else x, so that NaN passes.

    The limit is the interpreter, some 50 ns an element.
    """
    out[...] = each(lambda x_i: 0.0 if x_i <= 0 else x_i, x)


def relu_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """A comparison an element: 0 where x <= 0, and else dy.

    The limit is the interpreter.
    """
    out[...] = each(lambda x_i, dy_i: 0.0 if x_i <= 0 else dy_i, x, dy)


def sigmoid_loop(x: Array, out: Array) -> None:
    """The formula by exp(-|x|), which cannot overflow and keeps the digits of both tails.

    A call of a Python function and of exp an element: the limit is the interpreter.
    """
    out[...] = each(sigmoid, x)


def sigmoid_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """dy · σ(x) · σ(-x): since 1 - σ(x) = σ(-x), nothing cancels.

    Two exponentials an element, where one would do; the limit is the interpreter either way.
    """
    out[...] = each(lambda x_i, dy_i: dy_i * (sigmoid(x_i) * sigmoid(-x_i)), x, dy)


def tanh_loop(x: Array, out: Array) -> None:
    """The standard library's tanh, an element at a time.

    The limit is the interpreter.
    """
    out[...] = each(math.tanh, x)


def slope_of_tanh(x: float) -> float:
    """1 - tanh²(x) = 4 t / (1 + t)² with t = exp(-2|x|)."""
    power = math.exp(-2 * abs(x))
    return 4 * power / ((1 + power) * (1 + power))


def tanh_backward_loop(x: Array, dy: Array, out: Array) -> None:
    """dy · 4 t / (1 + t)² with t = exp(-2|x|), which is 1 - tanh²(x) without a difference that cancels.

    A call of a Python function and of exp an element: the limit is the interpreter.
    """
    out[...] = each(lambda x_i, dy_i: dy_i * slope_of_tanh(x_i), x, dy)


def softmax_loop(x: Array, out: Array) -> None:
    """Row by row: the maximum, the exponentials, their sum, the quotients.

    Four passes over a Python list; the limit is the interpreter.
    """
    for i, row in enumerate(x.tolist()):
        largest = math.nan if any(map(math.isnan, row)) else max(row)
        powers = [math.exp(x_ij - largest) for x_ij in row]
        total = sum(powers)
        out[i] = [power / total for power in powers]


RUNGS = {
    "relu": [
        PYTHON.rung(relu_loop, "loop"),
    ],
    "relu_backward": [
        PYTHON.rung(relu_backward_loop, "loop"),
    ],
    "sigmoid": [
        PYTHON.rung(sigmoid_loop, "loop"),
    ],
    "sigmoid_backward": [
        PYTHON.rung(sigmoid_backward_loop, "loop"),
    ],
    "tanh": [
        PYTHON.rung(tanh_loop, "loop"),
    ],
    "tanh_backward": [
        PYTHON.rung(tanh_backward_loop, "loop"),
    ],
    "softmax": [
        PYTHON.rung(softmax_loop, "loop"),
    ],
}

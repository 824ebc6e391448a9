"""GELU in pure Python: the formulas, an element at a time, with the standard library's exp and erfc.

    exact form   x · Φ(x)       Φ(x) = erfc(-x/√2) / 2
    tanh form    x · σ(w)       w = 2√(2/π)(x + 0.044715 x³),  σ(w) = (1 + tanh(w/2)) / 2

Both are written so that nothing cancels for x far below 0, where 1 + tanh and 1 + erf would be 0.
"""

import math

from ...arrays import Array
from ...backends import PYTHON
from ..activations.in_python import each, sigmoid
from .constants import CUBIC, DENSITY_AT_0, LINEAR


def gelu_of(x: float, tanh_form: bool) -> float:
    if tanh_form:
        return x * sigmoid(LINEAR * x * (1 + CUBIC * x * x))
    return x * (math.erfc(-x / math.sqrt(2)) / 2)


def slope_of(x: float, tanh_form: bool) -> float:
    if tanh_form:
        w = LINEAR * x * (1 + CUBIC * x * x)
        both = sigmoid(w) * sigmoid(-w)
        # If both is 0, x³ in the other factor may be infinite; their product is 0 all the same.
        second = x * both * (LINEAR * (1 + 3 * CUBIC * x * x)) if both or math.isinf(x) else 0.0
        return sigmoid(w) + second
    density = DENSITY_AT_0 * math.exp(-x * x / 2)
    return math.erfc(-x / math.sqrt(2)) / 2 + x * density


def gelu_scalar(x: Array, y: Array, tanh_form: bool) -> None:
    """The formula for each element: the interpreter's work around an exp or erfc is the limit."""
    y[...] = each(lambda x_i: gelu_of(x_i, tanh_form), x)


def gelu_backward_scalar(x: Array, dy: Array, dx: Array, tanh_form: bool) -> None:
    """dy · gelu'(x) for each element, twice gelu's arithmetic. The limit is the interpreter."""
    dx[...] = each(lambda x_i, dy_i: dy_i * slope_of(x_i, tanh_form), x, dy)


RUNGS = PYTHON.rungs("scalar", gelu=gelu_scalar, gelu_backward=gelu_backward_scalar)

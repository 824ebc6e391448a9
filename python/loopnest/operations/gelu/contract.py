"""What GELU and its gradient are held to, in the exact and in the tanh form."""

from typing import Any

import numpy as np

from ...arrays import Array, Call
from ...numerics import precise, smallest, unit_roundoff
from ...operation import Arguments, FastPath, Kernel, Workload
from ..activations.contract import WORKLOADS, contract_of, run_elementwise, stable_sigmoid
from . import erfc


def is_tanh(operation: str, approximate: str) -> bool:
    if approximate not in ("tanh", "none"):
        raise ValueError(
            f"{operation}: approximate is {approximate!r}, expected 'tanh' or 'none' (the exact form, by erf)"
        )
    return approximate == "tanh"


VARIATIONS = {"approximate='none'": lambda arguments: Arguments(arguments.inputs, {"approximate": "none"})}

TWO_FORMS: dict[str, Any] = {
    "workloads": (*WORKLOADS[:3], Workload("gpt2-small-mlp-128", {"m": 128, "n": 3072}), *WORKLOADS[3:]),
    "variations": VARIATIONS,
    "fast_path": FastPath("elementwise", option=True),  # the tanh form
}


# The functions themselves, in the precision of their argument. Q(t) = erfc(t/√2)/2 is the normal distribution's tail,
# φ its density, Φ(x) = Q(-x) its distribution function. w(x) = 2√(2/π)(x + 0.044715 x³), so that
# (1 + tanh(w/2)) / 2 = σ(w).

PI = np.longdouble("3.14159265358979323846264338327950288")
CUBIC = np.longdouble("0.044715")
_TAIL = np.array([np.longdouble(coefficient) for coefficient in erfc.LONG_DOUBLE])


def upper_tail(t: Array) -> Array:
    """Q(t), t >= 0, in t's precision. Tests compare it with mpmath, since it judges all rungs."""
    t = np.minimum(t, 200)  # beyond, Q is 0
    z = t / np.sqrt(np.asarray(2, t.dtype))
    s = (z - erfc.CENTRE) / (z + erfc.CENTRE)
    p = np.polynomial.polynomial.polyval(s, _TAIL.astype(t.dtype))
    return np.exp(-np.square(t) / 2) * p / (2 + 4 * z)


def distribution(x: Array) -> Array:
    """Φ(x), without cancellation on either side."""
    tail = upper_tail(np.abs(x))
    return np.where(x > 0, 1 - tail, tail)


def density(x: Array) -> Array:
    """φ(x) = exp(-x²/2) / √(2π)."""
    return np.exp(-np.square(x) / 2) / np.sqrt(2 * np.asarray(PI, x.dtype))


def tanh_argument(x: Array) -> tuple[Array, Array]:
    """w(x) and its derivative."""
    scale = 2 * np.sqrt(2 / np.asarray(PI, x.dtype))
    square = np.square(x)
    cubic = CUBIC.astype(x.dtype)
    return scale * x * (1 + cubic * square), scale * (1 + 3 * cubic * square)


def gelu_run(kernel: Kernel, x: Any, *, approximate: str = "tanh", out: Any = None) -> Any:
    """The Gaussian error linear unit, elementwise: x · Φ(x), Φ the normal distribution function.

    x            (…) any shape
    approximate  "none": the exact form, x · (1 + erf(x/√2)) / 2
                 "tanh": x · (1 + tanh(√(2/π) · (x + 0.044715 x³))) / 2, as GPT-2 has it; within 5e-4 of the exact form

    Returns an array of x's shape, within 4 + κ ULP, where κ = |x gelu'(x) / gelu(x)| is the condition number: 1
    around 0 and to the right, 100 at -10 in the exact form. Neither form cancels in its tail: gelu(-10) is -7.62e-23 in
    the exact form and -1.20e-37 in the tanh form. gelu(-inf) is NaN, as -inf · 0 is.
    Hendrycks and Gimpel, Gaussian Error Linear Units (2016).

    >>> ln.gelu(np.array([-1.0, 0.0, 1.0]), approximate="none").round(4)
    array([-0.1587,  0.    ,  0.8413])
    """
    return run_elementwise(kernel, Call("gelu", x=x), out, is_tanh("gelu", approximate))


def exact_gelu(x: Array, approximate: str) -> Array:
    """gelu(x) in x's own precision."""
    with np.errstate(all="ignore"):
        return x * (stable_sigmoid(tanh_argument(x)[0]) if approximate == "tanh" else distribution(x))


def gelu_error(x: Array, dtype: Any, approximate: str) -> Array:
    """How far a result in `dtype` may be from gelu(x); x comes in float64, or longer.

    Φ and σ(w) are exponentials in their tails: a relative error δ of their argument, from its roundings, becomes κ δ in
    the result. So the allowed relative error is u (8 + 2κ), u the unit roundoff, half an ULP.

        exact form  κ - 1 = |x φ / Φ|        tanh form  κ - 1 = |x w' σ(-w)|

    Below the normal numbers an underflowing exponential is off by half a subnormal, times |x|.
    """
    with np.errstate(all="ignore"):
        if approximate == "tanh":
            w, dw = tanh_argument(x)
            steepness = np.abs(x * dw) * stable_sigmoid(-w)
        else:
            steepness = np.abs(x) * density(x) / distribution(x)
        steepness = np.nan_to_num(steepness, nan=0.0, posinf=0.0)  # where the result is 0, or x
        relative = unit_roundoff(dtype) * (10 + 2 * steepness)
        return relative * np.abs(exact_gelu(x, approximate)) + 2 * (np.minimum(np.abs(x), 100) + 1) * smallest(dtype)


GELU = contract_of(
    gelu_run,
    lambda x, *, approximate="tanh": exact_gelu(precise(x), approximate),
    lambda _exact, x, *, approximate="tanh": gelu_error(x.astype(np.float64), x.dtype, approximate),
    flops=8,  # in the tanh form: w takes 4, and σ(w) 4, its exponential counted as one
    **TWO_FORMS,
)


def gelu_backward_run(kernel: Kernel, x: Any, dy: Any, *, approximate: str = "tanh", out: Any = None) -> Any:
    """GELU's gradient, elementwise: dy · gelu'(x).

        exact form   gelu'(x) = Φ(x) + x φ(x)                     φ = Φ', the normal density
        tanh form    gelu'(x) = σ(w) + x σ(w) σ(-w) w'(x)         w = 2√(2/π)(x + 0.044715 x³)

    x, dy        (…) GELU's input, and the gradient of the loss by its output
    approximate  the form, "tanh" or "none", as for gelu

    Returns an array of x's shape; NaN at ±inf, as ∞ · 0 is. The two terms cancel at x = -0.75, where the gradient is
    zero: the error is bounded in ULP of their magnitudes.

    >>> ln.gelu_backward(np.array([-1.0, 0.0, 1.0]), np.ones(3), approximate="none").round(4)
    array([-0.0833,  0.5   ,  1.0833])
    """
    tanh_form = is_tanh("gelu_backward", approximate)
    return run_elementwise(kernel, Call("gelu_backward", x=x, dy=dy), out, tanh_form)


def slope_terms(x: Array, approximate: str) -> tuple[Array, Array, Array]:
    """The two terms of gelu'(x), and the size of the exponent in them."""
    if approximate == "tanh":
        w, dw = tanh_argument(x)
        s = stable_sigmoid(w)
        return s, x * (s * stable_sigmoid(-w)) * dw, np.abs(w)
    return distribution(x), x * density(x), np.square(x) / 2


def exact_gelu_backward(x: Array, dy: Array, *, approximate: str = "tanh") -> Array:
    with np.errstate(all="ignore"):
        first, second, _ = slope_terms(precise(x), approximate)
        return precise(dy) * (first + second)


def gelu_backward_error(_exact: Array, x: Array, dy: Array, *, approximate: str = "tanh") -> Array:
    """Each term has some roundings of its own. Its exponential has the relative error of its exponent times the
    exponent's size. The first term is an integral of the second, so its steepness is the second's size. Below the
    normal numbers an exponential is off by half a subnormal, times at most w' or x² and |x|."""
    wide = precise(x)
    with np.errstate(all="ignore"):
        first, second, exponent = slope_terms(wide, approximate)
        through_exponent = np.nan_to_num(8 * exponent * np.abs(second), nan=0.0)
        error = unit_roundoff(x.dtype) * (10 * np.abs(first) + 14 * np.abs(second) + through_exponent)
        beneath = 2 * (np.minimum(np.abs(wide), 100) + 2) ** 3 * smallest(x.dtype)
        size = np.abs(precise(dy))
        return size * (error + beneath) + (2 * size + 2) * smallest(x.dtype)


GELU_BACKWARD = contract_of(
    gelu_backward_run,
    exact_gelu_backward,
    gelu_backward_error,
    flops=16,  # gelu's 8, and w', σ(-w), the products and the sum
    **TWO_FORMS,
)

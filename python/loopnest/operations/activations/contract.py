"""What the activation functions, their gradients and softmax are held to.

`elementwise` makes an operation's contract from its exact formula. The formula's docstring is the operation's.
"""

import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays import Array, Call, as_matrices
from ...backends.rung import docstring
from ...numerics import gamma, precise, smallest, unit_roundoff
from ...operation import Arguments, Contract, FastPath, Kernel, Workload


def run_elementwise(kernel: Kernel, call: Call, out: Any, *options: Any) -> Any:
    """Check and run an operation whose inputs and result have one shape."""
    result = call.output(out, call.same_shape())
    for views in as_matrices(*call.inputs, result):
        kernel(*views, *options)
    return call.result(result)


WORKLOADS = tuple(Workload(f"n-{n * n}", {"m": n, "n": n}) for n in (32, 64, 256, 1024, 4096))


Formula = Callable[..., Array]
"""(*inputs, **options) -> the exact result, in higher precision than the inputs'."""

Bound = Callable[..., Array]
"""(exact result, *inputs, **options) -> the largest allowed |result - exact|."""


def contract_of(
    run: Callable[..., Any],
    formula: Formula,
    bound: Bound,
    flops: int,
    fast_path: FastPath = FastPath("elementwise"),  # noqa: B008 - it is frozen
    workloads: tuple[Workload, ...] = WORKLOADS,
    **more: Any,
) -> Contract:
    """The contract of y = f(x), or of dx = dy · f'(x); `flops` are an element's."""
    inputs = 2 if "dy" in inspect.signature(formula).parameters else 1

    def sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
        """x around zero, some of it far enough away for the functions' tails; dy of unit size."""
        shape = workload.shape["m"], workload.shape["n"]
        return Arguments(tuple(rng.normal(scale=scale, size=shape).astype(dtype) for scale in (3, 1)[:inputs]))

    return Contract(
        run=run,
        sample=sample,
        reference=lambda *arrays, **options: (formula(*arrays, **options),),
        bound=lambda *arrays, **options: (bound(formula(*arrays, **options), *arrays, **options),),
        flops=lambda m, n: flops * m * n,
        traffic=lambda itemsize, m, n: (inputs + 1) * itemsize * m * n,
        workloads=workloads,
        fast_path=fast_path,
        **more,
    )


def elementwise(bound: Bound, flops: int) -> Callable[[Formula], Contract]:
    """A decorator that makes the contract of y = f(x), or of dx = dy · f'(x), from that formula."""

    def make(formula: Formula) -> Contract:
        def forward(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
            return run_elementwise(kernel, Call(formula.__name__, x=x), out)

        def backward(kernel: Kernel, x: Any, dy: Any, *, out: Any = None) -> Any:
            return run_elementwise(kernel, Call(formula.__name__, x=x, dy=dy), out)

        run = backward if "dy" in inspect.signature(formula).parameters else forward
        run.__doc__ = docstring(formula)
        return contract_of(run, formula, bound, flops)

    return make


def exactly(exact: Array, *_: Array) -> Array:
    return np.zeros(exact.shape)


def within_5_ulp(exact: Array, x: Array) -> Array:
    return 10 * unit_roundoff(x.dtype) * np.abs(exact) + 2 * smallest(x.dtype)


def within_8_ulp(exact: Array, x: Array, dy: Array) -> Array:
    size = np.minimum(np.abs(precise(dy)), np.finfo(x.dtype).max)
    return 16 * unit_roundoff(x.dtype) * np.abs(exact) + (4 * size + 2) * smallest(x.dtype)


@elementwise(exactly, flops=1)
def relu(x: Array) -> Array:
    """The rectifier, elementwise: x where x > 0, else 0.

    x      (…) any shape

    Returns an array of x's shape, exact; NaN stays NaN.

    >>> ln.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return np.where(precise(x) <= 0, 0, precise(x))


@elementwise(exactly, flops=1)
def relu_backward(x: Array, dy: Array) -> Array:
    """The rectifier's gradient, elementwise: dy where x > 0, else 0.

    x, dy  (…) the rectifier's input, and the gradient of the loss by its output

    Returns an array of x's shape, exact. At 0, where there is no derivative, it is 0; at NaN it is dy.

    >>> ln.relu_backward(np.array([-1.0, 2.0]), np.array([5.0, 7.0]))
    array([0., 7.])
    """
    return np.where(x <= 0, 0, precise(dy))


def stable_sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, and with all of its digits for x far below 0."""
    t = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, t) / (1 + t)


@elementwise(within_5_ulp, flops=4)
def sigmoid(x: Array) -> Array:
    """The logistic function, elementwise: σ(x) = 1 / (1 + exp(-x)).

    x      (…) any shape

    Returns an array of x's shape, within 5 ULP, also for x far below 0: σ(-80) is 1.8e-35.

    >>> ln.sigmoid(np.array([0.0, np.log(3.0)]))
    array([0.5 , 0.75])
    """
    return stable_sigmoid(precise(x))


@elementwise(within_8_ulp, flops=7)
def sigmoid_backward(x: Array, dy: Array) -> Array:
    """The logistic function's gradient, elementwise: dy · σ(x) · (1 - σ(x)).

    x, dy  (…) the function's input, and the gradient of the loss by its output

    Returns an array of x's shape, within 8 ULP, even where 1 - σ(x) is nearly 0.

    >>> ln.sigmoid_backward(np.array([0.0]), np.array([8.0]))
    array([2.])
    """
    return precise(dy) * (stable_sigmoid(precise(x)) * stable_sigmoid(-precise(x)))


@elementwise(within_5_ulp, flops=5)
def tanh(x: Array) -> Array:
    """The hyperbolic tangent, elementwise: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    x      (…) any shape

    Returns an array of x's shape, within 5 ULP, even near 0, where the definition's difference cancels.

    >>> ln.tanh(np.array([0.0, np.log(2.0)]))
    array([0. , 0.6])
    """
    return np.tanh(precise(x))


@elementwise(within_8_ulp, flops=7)
def tanh_backward(x: Array, dy: Array) -> Array:
    """The hyperbolic tangent's gradient, elementwise: dy · (1 - tanh²(x)).

    x, dy  (…) the function's input, and the gradient of the loss by its output

    Returns an array of x's shape, within 8 ULP, even where 1 - tanh² is nearly 0.

    >>> ln.tanh_backward(np.array([0.0]), np.array([3.0]))
    array([3.])
    """
    wide = 2 * precise(x)
    return precise(dy) * (4 * stable_sigmoid(wide) * stable_sigmoid(-wide))  # 1 - tanh² = 4 σ(2x) σ(-2x)


def softmax_run(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
    call = Call("softmax", x=x)
    (x,) = call.inputs
    if x.ndim == 0:
        raise ValueError("softmax: x has shape (), expected one axis or more: softmax runs over the last")
    y = call.output(out, x.shape)
    rows, results = (x[None], y[None]) if x.ndim == 1 else (x, y)
    for outer in np.ndindex(rows.shape[:-2]) if x.size else ():
        kernel(rows[outer], results[outer])
    return call.result(y)


def softmax_reference(x: Array) -> Array:
    """Softmax over the last axis: exp(x[…, j] - max) / Σ_k exp(x[…, k] - max), max the largest along the axis.

    x      (…, n) one axis or more

    Returns an array of x's shape. Without the subtraction exp would overflow beyond x = 88 (float32) or 709 (float64).

    >>> ln.softmax(np.array([1000.0, 1000.0 + np.log(3.0)])).round(6)
    array([0.25, 0.75])
    """
    wide = precise(x)
    if not wide.size:
        return wide
    with np.errstate(invalid="ignore"):
        powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)


def softmax_bound(p: Array, x: Array) -> Array:
    """With d = x - max: d rounds, so exp(d) has the relative error |d| u, and 3 ULP of its own. The sum has the mean of
    its terms' errors and γ_n; the quotient rounds. exp may underflow."""
    wide = precise(x)
    if not wide.size:
        return wide
    u = unit_roundoff(x.dtype)
    with np.errstate(invalid="ignore"):
        relative = (np.abs(wide - wide.max(axis=-1, keepdims=True)) + 6) * u
        of_sum = np.where(p > 0, p * relative, 0).sum(axis=-1, keepdims=True) + gamma(x.shape[-1], x.dtype)
        return np.where(p > 0, p * (relative + of_sum + 2 * u), 0) + 2 * smallest(x.dtype)


softmax_run.__doc__ = docstring(softmax_reference)
softmax = contract_of(softmax_run, softmax_reference, softmax_bound, flops=5, fast_path=FastPath("rows"))

"""What the activation functions, their gradients and softmax are held to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from ...arrays import Array, Call, as_matrices
from ...numerics import gamma, precise, unit_roundoff
from ...operation import Arguments, Contract, FastPath, Kernel, Workload


def run_forward(operation: str, kernel: Kernel, x: Any, out: Any, *options: Any) -> Any:
    """Check and run y = f(x)."""
    call = Call(operation, x=x)
    (x,) = call.inputs
    y = call.output(out, x.shape)
    for views in as_matrices(x, y):
        kernel(*views, *options)
    return call.result(y)


def run_backward(operation: str, kernel: Kernel, x: Any, dy: Any, out: Any, *options: Any) -> Any:
    """Check and run dx = dy · f'(x)."""
    call = Call(operation, x=x, dy=dy)
    x, dy = call.inputs
    if dy.shape != x.shape:
        raise ValueError(f"{operation}: dy has shape {dy.shape}, expected {x.shape} to match x")
    dx = call.output(out, x.shape)
    for views in as_matrices(x, dy, dx):
        kernel(*views, *options)
    return call.result(dx)


def elements(m: int, n: int) -> Workload:
    return Workload(f"n-{m * n}", {"m": m, "n": n})


WORKLOADS = (elements(32, 32), elements(64, 64), elements(256, 256), elements(1024, 1024), elements(4096, 4096))


def sample_forward(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
    return Arguments((_spread(workload, dtype, rng),))


def sample_backward(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
    x = _spread(workload, dtype, rng)
    return Arguments((x, np.asarray(rng.standard_normal(x.shape), dtype)))


def _spread(workload: Workload, dtype: Any, rng: np.random.Generator) -> Array:
    """Numbers around zero, some of them far enough away for the functions' tails."""
    return np.asarray(rng.normal(scale=3, size=(workload.shape["m"], workload.shape["n"])), dtype)


def smallest(dtype: Any) -> float:
    return float(np.finfo(dtype).smallest_subnormal)


def stable_sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)) without overflow, and with all of its digits for x far below 0."""
    power = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, power) / (1 + power)


def contract(
    run: Callable[..., Any],
    reference: Callable[..., Array],
    bound: Callable[..., Array],
    flops: int,
    *,
    backward: bool = False,
    shapes: Literal["elementwise", "rows"] = "elementwise",
) -> Contract:
    return Contract(
        run=run,
        sample=sample_backward if backward else sample_forward,
        reference=lambda *inputs: (reference(*inputs),),
        bound=lambda *inputs: (bound(*inputs),),
        flops=lambda m, n: flops * m * n,
        traffic=lambda itemsize, m, n: (3 if backward else 2) * itemsize * m * n,
        workloads=WORKLOADS,
        fast_path=FastPath(shapes),
    )


# --- relu


def relu_run(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
    """The rectifier, elementwise: x where x > 0, else 0.

    x      (…) float32 or float64 of any shape and strides: a NumPy array or a torch tensor on the CPU
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, exact; NaN stays NaN.
    Raises ValueError or TypeError, naming the argument, for another dtype or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.relu(np.array([-1.0, 2.0]))
    array([0., 2.])
    """
    return run_forward("relu", kernel, x, out)


def relu_reference(x: Array) -> Array:
    return np.where(precise(x) <= 0, 0, precise(x))


RELU = contract(relu_run, relu_reference, lambda x: np.zeros(x.shape), flops=1)


def relu_backward_run(kernel: Kernel, x: Any, dy: Any, *, out: Any = None) -> Any:
    """The rectifier's gradient, elementwise: dy where x > 0, else 0.

    x, dy  (…) the rectifier's input and the gradient of the loss by its output, float32 or float64, any strides
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, exact. At 0, where there is no derivative, it is 0; at NaN it is dy.
    Raises ValueError or TypeError, naming the argument, for arrays that do not match or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.relu_backward(np.array([-1.0, 2.0]), np.array([5.0, 7.0]))
    array([0., 7.])
    """
    return run_backward("relu_backward", kernel, x, dy, out)


def relu_backward_reference(x: Array, dy: Array) -> Array:
    return np.where(x <= 0, 0, precise(dy))


RELU_BACKWARD = contract(
    relu_backward_run, relu_backward_reference, lambda x, dy: np.zeros(x.shape), flops=1, backward=True
)


# --- sigmoid


def sigmoid_run(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
    """The logistic function, elementwise: σ(x) = 1 / (1 + exp(-x)).

    x      (…) float32 or float64 of any shape and strides: a NumPy array or a torch tensor on the CPU
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, within 5 ULP, also for x far below 0: σ(-80) is 1.8e-35.
    Raises ValueError or TypeError, naming the argument, for another dtype or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.sigmoid(np.array([0.0, np.log(3.0)]))
    array([0.5 , 0.75])
    """
    return run_forward("sigmoid", kernel, x, out)


def sigmoid_reference(x: Array) -> Array:
    return stable_sigmoid(precise(x))


def sigmoid_bound(x: Array) -> Array:
    return 10 * unit_roundoff(x.dtype) * sigmoid_reference(x) + 2 * smallest(x.dtype)


SIGMOID = contract(sigmoid_run, sigmoid_reference, sigmoid_bound, flops=4)


def sigmoid_backward_run(kernel: Kernel, x: Any, dy: Any, *, out: Any = None) -> Any:
    """The logistic function's gradient, elementwise: dy · σ(x) · (1 - σ(x)).

    x, dy  (…) the function's input and the gradient of the loss by its output, float32 or float64, any strides
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, within 8 ULP, even where 1 - σ(x) is nearly 0.
    Raises ValueError or TypeError, naming the argument, for arrays that do not match or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.sigmoid_backward(np.array([0.0]), np.array([8.0]))
    array([2.])
    """
    return run_backward("sigmoid_backward", kernel, x, dy, out)


def sigmoid_backward_reference(x: Array, dy: Array) -> Array:
    wide = precise(x)
    return precise(dy) * (stable_sigmoid(wide) * stable_sigmoid(-wide))


def sigmoid_backward_bound(x: Array, dy: Array) -> Array:
    return _within_8_ulp(x, dy, sigmoid_backward_reference(x, dy))


def _within_8_ulp(x: Array, dy: Array, exact: Array) -> Array:
    size = np.minimum(np.abs(precise(dy)), np.finfo(x.dtype).max)
    return 16 * unit_roundoff(x.dtype) * np.abs(exact) + (4 * size + 2) * smallest(x.dtype)


SIGMOID_BACKWARD = contract(
    sigmoid_backward_run, sigmoid_backward_reference, sigmoid_backward_bound, flops=7, backward=True
)


# --- tanh


def tanh_run(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
    """The hyperbolic tangent, elementwise: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).

    x      (…) float32 or float64 of any shape and strides: a NumPy array or a torch tensor on the CPU
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, within 5 ULP, even near 0, where the definition's difference cancels.
    Raises ValueError or TypeError, naming the argument, for another dtype or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.tanh(np.array([0.0, np.log(2.0)]))
    array([0. , 0.6])
    """
    return run_forward("tanh", kernel, x, out)


def tanh_reference(x: Array) -> Array:
    return np.tanh(precise(x))


def tanh_bound(x: Array) -> Array:
    return 10 * unit_roundoff(x.dtype) * np.abs(tanh_reference(x)) + 2 * smallest(x.dtype)


TANH = contract(tanh_run, tanh_reference, tanh_bound, flops=5)


def tanh_backward_run(kernel: Kernel, x: Any, dy: Any, *, out: Any = None) -> Any:
    """The hyperbolic tangent's gradient, elementwise: dy · (1 - tanh²(x)).

    x, dy  (…) the function's input and the gradient of the loss by its output, float32 or float64, any strides
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype, within 8 ULP, even where 1 - tanh² is nearly 0.
    Raises ValueError or TypeError, naming the argument, for arrays that do not match or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.tanh_backward(np.array([0.0]), np.array([3.0]))
    array([3.])
    """
    return run_backward("tanh_backward", kernel, x, dy, out)


def tanh_backward_reference(x: Array, dy: Array) -> Array:
    """1 - tanh² = 4 σ(2x) σ(-2x), which does not cancel."""
    wide = 2 * precise(x)
    return precise(dy) * (4 * stable_sigmoid(wide) * stable_sigmoid(-wide))


def tanh_backward_bound(x: Array, dy: Array) -> Array:
    return _within_8_ulp(x, dy, tanh_backward_reference(x, dy))


TANH_BACKWARD = contract(tanh_backward_run, tanh_backward_reference, tanh_backward_bound, flops=7, backward=True)


# --- softmax


def softmax_run(kernel: Kernel, x: Any, *, out: Any = None) -> Any:
    """Softmax over the last axis: exp(x[…, j] - max) / Σ_k exp(x[…, k] - max), max the largest along the axis.

    x      (…, n) float32 or float64, any strides: a NumPy array or a torch tensor on the CPU
    out    x's shape in C order, to receive the result; a new array where it is None
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns an array of x's shape, kind and dtype. Without the subtraction exp would overflow for x beyond 88 (float32)
    or 709 (float64).
    Raises ValueError or TypeError, naming the argument, for an x without axes, another dtype or an unusable `out`.

    >>> import numpy as np, loopnest as ln
    >>> ln.softmax(np.array([1000.0, 1000.0 + np.log(3.0)])).round(6)
    array([0.25, 0.75])
    """
    call = Call("softmax", x=x)
    (x,) = call.inputs
    if x.ndim == 0:
        raise ValueError("softmax: x has shape (), expected one axis or more: softmax runs over the last")
    y = call.output(out, x.shape)
    if x.size:
        if x.ndim == 1:
            kernel(x[None], y[None])
        else:
            for outer in np.ndindex(x.shape[:-2]):
                kernel(x[outer], y[outer])
    return call.result(y)


def softmax_reference(x: Array) -> Array:
    wide = precise(x)
    if not wide.size:
        return wide
    with np.errstate(invalid="ignore"):
        powers = np.exp(wide - wide.max(axis=-1, keepdims=True))
        return powers / powers.sum(axis=-1, keepdims=True)


def softmax_bound(x: Array) -> Array:
    """With d = x - max: d rounds, so exp(d) has the relative error |d| u, and 3 ULP of its own. The sum has the mean of
    its terms' errors and γ_n; the quotient rounds. exp may underflow."""
    wide, p = precise(x), softmax_reference(x)
    if not wide.size:
        return wide
    u = unit_roundoff(x.dtype)
    with np.errstate(invalid="ignore"):
        relative = (np.abs(wide - wide.max(axis=-1, keepdims=True)) + 6) * u
        of_sum = np.where(p > 0, p * relative, 0).sum(axis=-1, keepdims=True) + gamma(x.shape[-1], x.dtype)
        return np.where(p > 0, p * (relative + of_sum + 2 * u), 0) + 2 * smallest(x.dtype)


SOFTMAX = contract(softmax_run, softmax_reference, softmax_bound, flops=5, shapes="rows")

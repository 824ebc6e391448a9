"""What the optimizers' steps are held to.

A step has no result of its own: it updates the parameter and its state in place. So reference and bound take the old
values of these inputs (`Contract.updates`) and describe the new ones.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays import Array, Call, as_matrices
from ...numerics import precise, smallest, unit_roundoff
from ...operation import Arguments, Contract, Kernel, Workload
from ..linalg.contract import vectors


def _update(operation: str, kernel: Kernel, arrays: dict[str, Any], numbers: dict[str, float], *more: Any) -> None:
    """Check all arguments, and let the kernel update all arrays but the gradient."""
    unbounded = {"lr": "a learning rate of 0 or more", "eps": "0 or more"}
    for name, value in numbers.items():
        if not (value >= 0 and (name in unbounded or value < 1)):
            expected = unbounded.get(name, "0 or more and less than 1")
            raise ValueError(f"{operation}: {name} is {value}, expected {expected}")
    call = Call(operation, updated=tuple(name for name in arrays if name != "grad"), **arrays)
    call.same_shape()
    call.start_update()
    for views in as_matrices(*call.inputs):
        kernel(*views, *numbers.values(), *more)


def _contract(
    run: Callable[..., None],
    reference: Callable[..., tuple[Array, ...]],
    bound: Callable[..., tuple[Array, ...]],
    flops: int,
    means: int,
    squares: int,
    options: dict[str, Any],
    **more: Any,
) -> Contract:
    """The contract of a step with `means` states of any sign and `squares` states that are never negative."""
    states = means + squares

    def sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
        arrays = [rng.standard_normal(workload.shape["n"]).astype(dtype) for _ in range(2 + states)]
        for i in range(2 + means, 2 + states):
            arrays[i] = np.square(arrays[i])
        return Arguments(tuple(arrays), options)

    return Contract(
        run=run,
        sample=sample,
        reference=reference,
        bound=bound,
        flops=lambda n: flops * n,
        traffic=lambda itemsize, n: itemsize * (3 + 2 * states) * n,
        workloads=vectors(1_000, 65_536, 1_048_576, 16_777_216),
        updates=(0, *range(2, 2 + states)),
        **more,
    )


def _roundings(count: float, dtype: Any, *magnitudes: Array) -> Array:
    """The error of `count` roundings of a sum whose terms have these magnitudes, and of its underflows."""
    total: Array = count * unit_roundoff(dtype) * np.sum([np.abs(m) for m in magnitudes], axis=0)
    return total + count * smallest(dtype)


def sgd_run(kernel: Kernel, param: Any, grad: Any, *, lr: float) -> None:
    """A step of gradient descent, in place: param ← param - lr · grad.

    param  (…) any shape, updated in place
    grad   the loss's gradient with respect to param, of its shape
    lr     the learning rate, 0 or more

    Returns None.

    >>> w = np.array([1.0, 2.0])
    >>> ln.sgd(w, np.array([1.0, -1.0]), lr=0.5)
    >>> w
    array([0.5, 2.5])
    """
    _update("sgd", kernel, {"param": param, "grad": grad}, {"lr": lr})


SGD = _contract(
    sgd_run,
    lambda param, grad, *, lr: (precise(param) - lr * precise(grad),),
    # Roundings of lr, of the product and of the difference.
    lambda param, grad, *, lr: (_roundings(3, param.dtype, precise(param), lr * precise(grad)),),
    flops=2, means=0, squares=0, options={"lr": 0.1},
)  # fmt: skip


def momentum_run(kernel: Kernel, param: Any, grad: Any, velocity: Any, *, lr: float, mu: float = 0.9) -> None:
    """A step of gradient descent with momentum, in place.

        velocity ← mu · velocity + grad
        param ← param - lr · velocity

    param     (…) any shape, updated in place
    grad      the loss's gradient with respect to param, of its shape
    velocity  the decaying sum of gradients, of param's shape, updated in place; zeros before the first step
    lr, mu    the learning rate, 0 or more, and the decay, 0 <= mu < 1

    Returns None.
    The heavy ball of Polyak (1964), in the form of torch.optim.SGD: lr multiplies the velocity, not the gradient.

    >>> w, v = np.array([1.0]), np.array([2.0])
    >>> ln.momentum(w, np.array([1.0]), v, lr=0.5, mu=0.5)
    >>> w, v
    (array([0.]), array([2.]))
    """
    _update("momentum", kernel, {"param": param, "grad": grad, "velocity": velocity}, {"lr": lr, "mu": mu})


def momentum_reference(param: Array, grad: Array, velocity: Array, *, lr: float, mu: float) -> tuple[Array, Array]:
    new = mu * precise(velocity) + precise(grad)
    return precise(param) - lr * new, new


def momentum_bound(param: Array, grad: Array, velocity: Array, *, lr: float, mu: float) -> tuple[Array, Array]:
    """The velocity: mu, product, sum. The parameter: lr times that error, and lr, product, difference."""
    error = _roundings(3, param.dtype, mu * precise(velocity), precise(grad))
    _, new = momentum_reference(param, grad, velocity, lr=lr, mu=mu)
    return lr * error + _roundings(3, param.dtype, precise(param), lr * new), error


MOMENTUM = _contract(
    momentum_run, momentum_reference, momentum_bound, flops=4, means=1, squares=0, options={"lr": 0.1, "mu": 0.9}
)


def rmsprop_run(
    kernel: Kernel, param: Any, grad: Any, square_average: Any, *,
    lr: float = 1e-2, rho: float = 0.99, eps: float = 1e-8,
) -> None:  # fmt: skip
    """A step of RMSprop, in place: s ← rho · s + (1 - rho) · g², param ← param - lr · g / (√s + eps).

    param           (…) any shape, updated in place
    grad            g, the loss's gradient with respect to param, of its shape
    square_average  s, the decaying mean of g², of param's shape, updated in place; zeros before the first step
    lr, rho, eps    the learning rate, 0 or more; the decay, 0 <= rho < 1; a number that keeps the divisor from 0

    Returns None.
    Tieleman and Hinton, Lecture 6.5 of Neural Networks for Machine Learning (2012); eps as in torch.optim.RMSprop.

    >>> w, s = np.array([1.0]), np.array([0.0])
    >>> ln.rmsprop(w, np.array([2.0]), s, lr=0.1, rho=0.75, eps=0.0)
    >>> w.round(12), s
    (array([0.8]), array([1.]))
    """
    arrays = {"param": param, "grad": grad, "square_average": square_average}
    _update("rmsprop", kernel, arrays, {"lr": lr, "rho": rho, "eps": eps})


def rmsprop_reference(
    param: Array, grad: Array, square_average: Array, *, lr: float, rho: float, eps: float
) -> tuple[Array, Array]:
    g = precise(grad)
    s = rho * precise(square_average) + (1 - rho) * np.square(g)
    return precise(param) - lr * g / (np.sqrt(s) + eps), s


def rmsprop_bound(param: Array, grad: Array, square_average: Array, **options: float) -> tuple[Array, Array]:
    """s: both terms are positive, so 5 roundings of its size. The step: half of s's relative error by the root, then
    root, eps, sum, lr, product, quotient: 2.5 + 6; and the difference."""
    new, s = rmsprop_reference(param, grad, square_average, **options)
    step = precise(param) - new
    return _roundings(10, param.dtype, step) + _roundings(1, param.dtype, new), _roundings(5, param.dtype, s)


RMSPROP = _contract(
    rmsprop_run, rmsprop_reference, rmsprop_bound,
    flops=9, means=0, squares=1, options={"lr": 0.1, "rho": 0.9, "eps": 1e-8},
)  # fmt: skip


def adam_run(
    kernel: Kernel, param: Any, grad: Any, m: Any, v: Any, *,
    step: int, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8,
    bias_correction: bool = True, eps_inside: bool = False,
) -> None:  # fmt: skip
    """A step of Adam, in place.

        m ← beta1 · m + (1 - beta1) · g          the decaying mean of the gradient
        v ← beta2 · v + (1 - beta2) · g²         and of its square
        m̂ = m / (1 - beta1^step),  v̂ = v / (1 - beta2^step)
        param ← param - lr · m̂ / (√v̂ + eps)

    param            (…) any shape, updated in place
    grad             g, the loss's gradient with respect to param, of its shape
    m, v             the two means, of param's shape, updated in place; zeros before the first step
    step             the number of this step, 1 for the first
    lr, eps          the learning rate, 0 or more; a number that keeps the divisor from 0
    beta1, beta2     the decays, 0 <= beta < 1
    bias_correction  False leaves out the division by 1 - beta^step, which makes up for the means' start at zero
    eps_inside       True puts eps under the root: lr · m̂ / √(v̂ + eps). With bias_correction=False this is the short
                     form of textbooks, m / √(v + eps)

    Returns None.
    Kingma and Ba, Adam: A Method for Stochastic Optimization (ICLR 2015), Algorithm 1; the same numbers as
    torch.optim.Adam, which divides √v by √(1 - beta2^step) instead.

    >>> w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> ln.adam(w, np.array([3.0]), m, v, step=1, lr=0.25, eps=0.0)
    >>> w.round(12)  # the first step is lr, whatever the gradient's size
    array([0.75])
    """
    if not step >= 1:
        raise ValueError(f"adam: step is {step}, expected 1 for the first step, 2 for the next, …")
    corrections = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    arrays = {"param": param, "grad": grad, "m": m, "v": v}
    numbers = {"lr": lr, "beta1": beta1, "beta2": beta2, "eps": eps}
    _update("adam", kernel, arrays, numbers, *corrections, bool(eps_inside))


def adam_reference(
    param: Array, grad: Array, m: Array, v: Array, *,
    step: int, lr: float = 1e-3, beta1: float = 0.9, beta2: float = 0.999, eps: float = 1e-8,
    bias_correction: bool = True, eps_inside: bool = False,
) -> tuple[Array, Array, Array]:  # fmt: skip
    g = precise(grad)
    mean = beta1 * precise(m) + (1 - beta1) * g
    square = beta2 * precise(v) + (1 - beta2) * np.square(g)
    correction1, correction2 = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    corrected = square / correction2
    divisor = np.sqrt(corrected + eps) if eps_inside else np.sqrt(corrected) + eps
    return precise(param) - lr * (mean / correction1) / divisor, mean, square


def adam_bound(
    param: Array, grad: Array, m: Array, v: Array, *, beta1: float = 0.9, **options: Any
) -> tuple[Array, Array, Array]:
    """m and v: the roundings of their factors, products and sum, and of g² in v. The step: m's error through the
    quotient; half of v's relative error by the root, and correction, root, eps, sum, lr, correction, product,
    quotient: 12 roundings of its size; and the difference."""
    dtype = param.dtype
    new, mean, square = adam_reference(param, grad, m, v, beta1=beta1, **options)
    mean_error = _roundings(3, dtype, beta1 * precise(m), (1 - beta1) * precise(grad))
    step = np.abs(precise(param) - new)
    with np.errstate(divide="ignore", invalid="ignore"):
        through_quotient = np.where(mean != 0, step * (mean_error / np.abs(mean)), 0)
    param_error = through_quotient + _roundings(12, dtype, step) + _roundings(1, dtype, new)
    return param_error, mean_error, _roundings(5, dtype, square)


ADAM = _contract(
    adam_run, adam_reference, adam_bound, flops=14, means=1, squares=1, options={"lr": 0.1, "step": 3},
    variations={
        "bias_correction=False": lambda call: Arguments(call.inputs, {**call.options, "bias_correction": False}),
        "eps_inside=True": lambda call: Arguments(call.inputs, {**call.options, "eps_inside": True}),
    },
)  # fmt: skip

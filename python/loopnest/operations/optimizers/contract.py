"""What the optimizers' steps are held to.

A step has no result of its own: it updates the parameter and its state in place. So reference and bound take the old
values of these inputs (`Contract.updates`) and describe the new ones.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ...arrays import Array, Call, as_matrices
from ...numerics import precise, unit_roundoff
from ...operation import Arguments, Contract, Kernel, Workload

WORKLOADS = tuple(Workload(f"n-{n}", {"n": n}) for n in (1_000, 65_536, 1_048_576, 16_777_216))


def _step(operation: str, kernel: Kernel, inputs: dict[str, Any], updated: tuple[str, ...], *numbers: Any) -> None:
    """Check that all arrays have the parameter's shape, and let the kernel update them in place."""
    call = Call(operation, updated=updated, **inputs)
    param = call.inputs[0]
    for name, array in zip(inputs, call.inputs, strict=True):
        if array.shape != param.shape:
            raise ValueError(f"{operation}: {name} has shape {array.shape}, expected {param.shape} to match param")
    for views in as_matrices(*call.inputs):
        kernel(*views, *numbers)


def _check(operation: str, name: str, value: float, valid: bool, expected: str) -> None:
    if not valid:
        raise ValueError(f"{operation}: {name} is {value}, expected {expected}")


def _check_rate(operation: str, lr: float) -> None:
    _check(operation, "lr", lr, lr >= 0, "a learning rate of 0 or more")


def _check_decay(operation: str, name: str, value: float) -> None:
    _check(operation, name, value, 0 <= value < 1, "0 or more and less than 1")


def _check_eps(operation: str, eps: float) -> None:
    _check(operation, "eps", eps, eps >= 0, "0 or more")


def _sample(states: int, nonnegative: int, **options: Any) -> Any:
    """Random parameter, gradient and states; the last `nonnegative` of the states are averages of squares."""

    def sample(workload: Workload, dtype: Any, rng: np.random.Generator) -> Arguments:
        n = workload.shape["n"]
        arrays = [rng.standard_normal(n).astype(dtype) for _ in range(2 + states)]
        for i in range(len(arrays) - nonnegative, len(arrays)):
            arrays[i] = np.square(arrays[i])
        return Arguments(tuple(arrays), options)

    return sample


def _roundings(count: float, dtype: Any, *magnitudes: Array) -> Array:
    """The error of `count` roundings of a sum whose terms have these magnitudes, and of its underflows."""
    total: Array = count * unit_roundoff(dtype) * np.sum([np.abs(m) for m in magnitudes], axis=0)
    return total + count * float(np.finfo(dtype).smallest_subnormal)


# --- sgd: param -= lr · grad


def sgd_run(kernel: Kernel, param: Any, grad: Any, *, lr: float) -> None:
    """A step of gradient descent, in place: param ← param - lr · grad.

    param  (…) float32 or float64 of any shape and strides, updated in place: a NumPy array or a torch tensor
    grad   the loss's gradient with respect to param, of its shape and dtype
    lr     the learning rate, 0 or more
    impl   the id of an implementation; the fastest that runs here where it is None

    Returns None. Raises ValueError or TypeError, naming the argument, for arrays that do not match or overlap.

    >>> import numpy as np, loopnest as ln
    >>> w = np.array([1.0, 2.0])
    >>> ln.sgd(w, np.array([1.0, -1.0]), lr=0.5)
    >>> w
    array([0.5, 2.5])
    """
    _check_rate("sgd", lr)
    _step("sgd", kernel, {"param": param, "grad": grad}, ("param",), lr)


def sgd_reference(param: Array, grad: Array, *, lr: float) -> tuple[Array]:
    return (precise(param) - lr * precise(grad),)


def sgd_bound(param: Array, grad: Array, *, lr: float) -> tuple[Array]:
    """Roundings of lr, of the product and of the difference."""
    return (_roundings(3, param.dtype, precise(param), lr * precise(grad)),)


SGD = Contract(
    run=sgd_run,
    sample=_sample(0, 0, lr=0.1),
    reference=sgd_reference,
    bound=sgd_bound,
    flops=lambda n: 2 * n,
    traffic=lambda itemsize, n: itemsize * 3 * n,
    workloads=WORKLOADS,
    updates=(0,),
)


# --- momentum: velocity = mu · velocity + grad; param -= lr · velocity


def momentum_run(kernel: Kernel, param: Any, grad: Any, velocity: Any, *, lr: float, mu: float = 0.9) -> None:
    """A step of gradient descent with momentum, in place.

        velocity ← mu · velocity + grad
        param ← param - lr · velocity

    param     (…) float32 or float64 of any shape and strides, updated in place: a NumPy array or a torch tensor
    grad      the loss's gradient with respect to param, of its shape and dtype
    velocity  the decaying sum of gradients, of param's shape, updated in place; zeros before the first step
    lr, mu    the learning rate, 0 or more, and the decay, 0 <= mu < 1
    impl      the id of an implementation; the fastest that runs here where it is None

    Returns None. Raises ValueError or TypeError, naming the argument, for arrays that do not match or overlap.
    The heavy ball of Polyak (1964), in the form of torch.optim.SGD: lr multiplies the velocity, not the gradient.

    >>> import numpy as np, loopnest as ln
    >>> w, v = np.array([1.0]), np.array([2.0])
    >>> ln.momentum(w, np.array([1.0]), v, lr=0.5, mu=0.5)
    >>> w, v
    (array([0.]), array([2.]))
    """
    _check_rate("momentum", lr)
    _check_decay("momentum", "mu", mu)
    inputs = {"param": param, "grad": grad, "velocity": velocity}
    _step("momentum", kernel, inputs, ("param", "velocity"), lr, mu)


def momentum_reference(param: Array, grad: Array, velocity: Array, *, lr: float, mu: float) -> tuple[Array, Array]:
    new = mu * precise(velocity) + precise(grad)
    return precise(param) - lr * new, new


def momentum_bound(param: Array, grad: Array, velocity: Array, *, lr: float, mu: float) -> tuple[Array, Array]:
    """Three roundings for the velocity (mu, product, sum), and for the parameter three more and lr times those."""
    error = _roundings(3, param.dtype, mu * precise(velocity), precise(grad))
    new = mu * precise(velocity) + precise(grad)
    return lr * error + _roundings(3, param.dtype, precise(param), lr * new), error


MOMENTUM = Contract(
    run=momentum_run,
    sample=_sample(1, 0, lr=0.1, mu=0.9),
    reference=momentum_reference,
    bound=momentum_bound,
    flops=lambda n: 4 * n,
    traffic=lambda itemsize, n: itemsize * 5 * n,
    workloads=WORKLOADS,
    updates=(0, 2),
)


# --- rmsprop: s = rho · s + (1 - rho) · g²; param -= lr · g / (√s + eps)


def rmsprop_run(
    kernel: Kernel,
    param: Any,
    grad: Any,
    square_average: Any,
    *,
    lr: float = 1e-2,
    rho: float = 0.99,
    eps: float = 1e-8,
) -> None:
    """A step of RMSprop, in place: s ← rho · s + (1 - rho) · g², param ← param - lr · g / (√s + eps).

    param           (…) float32 or float64 of any shape and strides, updated in place: a NumPy array or a torch tensor
    grad            g, the loss's gradient with respect to param, of its shape and dtype
    square_average  s, the decaying mean of g², of param's shape, updated in place; zeros before the first step
    lr, rho, eps    the learning rate, 0 or more; the decay, 0 <= rho < 1; a number that keeps the divisor from 0
    impl            the id of an implementation; the fastest that runs here where it is None

    Returns None. Raises ValueError or TypeError, naming the argument, for arrays that do not match or overlap.
    Tieleman and Hinton, Lecture 6.5 of Neural Networks for Machine Learning (2012); eps as in torch.optim.RMSprop.

    >>> import numpy as np, loopnest as ln
    >>> w, s = np.array([1.0]), np.array([0.0])
    >>> ln.rmsprop(w, np.array([2.0]), s, lr=0.1, rho=0.75, eps=0.0)
    >>> w.round(12), s
    (array([0.8]), array([1.]))
    """
    _check_rate("rmsprop", lr)
    _check_decay("rmsprop", "rho", rho)
    _check_eps("rmsprop", eps)
    inputs = {"param": param, "grad": grad, "square_average": square_average}
    _step("rmsprop", kernel, inputs, ("param", "square_average"), lr, rho, eps)


def rmsprop_reference(
    param: Array, grad: Array, square_average: Array, *, lr: float, rho: float, eps: float
) -> tuple[Array, Array]:
    g = precise(grad)
    s = rho * precise(square_average) + (1 - rho) * np.square(g)
    return precise(param) - lr * g / (np.sqrt(s) + eps), s


def rmsprop_bound(
    param: Array, grad: Array, square_average: Array, *, lr: float, rho: float, eps: float
) -> tuple[Array, Array]:
    """s: both terms are positive, so 5 roundings of its size. The step: half of s's relative error by the root, then
    root, eps, sum, lr, product, quotient: 2.5 + 6; and the difference."""
    new, s = rmsprop_reference(param, grad, square_average, lr=lr, rho=rho, eps=eps)
    step = precise(param) - new
    return _roundings(10, param.dtype, step) + _roundings(1, param.dtype, new), _roundings(5, param.dtype, s)


RMSPROP = Contract(
    run=rmsprop_run,
    sample=_sample(1, 1, lr=0.1, rho=0.9, eps=1e-8),
    reference=rmsprop_reference,
    bound=rmsprop_bound,
    flops=lambda n: 9 * n,
    traffic=lambda itemsize, n: itemsize * 5 * n,
    workloads=WORKLOADS,
    updates=(0, 2),
)


# --- adam


def adam_run(
    kernel: Kernel,
    param: Any,
    grad: Any,
    m: Any,
    v: Any,
    *,
    step: int,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    bias_correction: bool = True,
    eps_inside: bool = False,
) -> None:
    """A step of Adam, in place.

        m ← beta1 · m + (1 - beta1) · g          the decaying mean of the gradient
        v ← beta2 · v + (1 - beta2) · g²         and of its square
        m̂ = m / (1 - beta1^step),  v̂ = v / (1 - beta2^step)
        param ← param - lr · m̂ / (√v̂ + eps)

    param   (…) float32 or float64 of any shape and strides, updated in place: a NumPy array or a torch tensor grad
    g, the loss's gradient with respect to param, of its shape and dtype m, v    the two means, of param's shape,
    updated in place; zeros before the first step step    the number of this step, 1 for the first lr, beta1, beta2, eps
    the learning rate, 0 or more; the decays, 0 <= beta < 1; a number that keeps the divisor from 0 bias_correction
    False leaves out the division by 1 - beta^step, which makes up for the means' start at zero eps_inside       True
    puts eps under the root: lr · m̂ / √(v̂ + eps). With bias_correction=False this is the short
                     form of textbooks, m / √(v + eps)
    impl    the id of an implementation; the fastest that runs here where it is None

    Returns None. Raises ValueError or TypeError, naming the argument, for arrays that do not match or overlap.
    Kingma and Ba, Adam: A Method for Stochastic Optimization (ICLR 2015), Algorithm 1; the same numbers as
    torch.optim.Adam, which divides √v by √(1 - beta2^step) instead.

    >>> import numpy as np, loopnest as ln
    >>> w, m, v = np.array([1.0]), np.zeros(1), np.zeros(1)
    >>> ln.adam(w, np.array([3.0]), m, v, step=1, lr=0.25, eps=0.0)
    >>> w.round(12)  # the first step is lr, whatever the gradient's size
    array([0.75])
    """
    _check_rate("adam", lr)
    _check_decay("adam", "beta1", beta1)
    _check_decay("adam", "beta2", beta2)
    _check_eps("adam", eps)
    _check("adam", "step", step, step >= 1, "1 for the first step, 2 for the second, …")
    correction1, correction2 = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    inputs = {"param": param, "grad": grad, "m": m, "v": v}
    numbers = (lr, beta1, beta2, eps, correction1, correction2, bool(eps_inside))
    _step("adam", kernel, inputs, ("param", "m", "v"), *numbers)


def adam_reference(
    param: Array,
    grad: Array,
    m: Array,
    v: Array,
    *,
    step: int,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    bias_correction: bool = True,
    eps_inside: bool = False,
) -> tuple[Array, Array, Array]:
    g = precise(grad)
    mean = beta1 * precise(m) + (1 - beta1) * g
    square = beta2 * precise(v) + (1 - beta2) * np.square(g)
    correction1, correction2 = (1 - beta1**step, 1 - beta2**step) if bias_correction else (1.0, 1.0)
    corrected = square / correction2
    divisor = np.sqrt(corrected + eps) if eps_inside else np.sqrt(corrected) + eps
    return precise(param) - lr * (mean / correction1) / divisor, mean, square


def adam_bound(
    param: Array, grad: Array, m: Array, v: Array, *, lr: float = 1e-3, beta1: float = 0.9, **options: Any
) -> tuple[Array, Array, Array]:
    """m and v: the roundings of their factors, products and sum, v's of g² besides. The step: m's error through the
    quotient; half of v's relative error by the root, and correction, root, eps, sum, lr, correction, product,
    quotient: 12 roundings of its size; and the difference."""
    dtype = param.dtype
    new, mean, square = adam_reference(param, grad, m, v, lr=lr, beta1=beta1, **options)
    terms = np.abs(beta1 * precise(m)) + np.abs((1 - beta1) * precise(grad))
    mean_error = _roundings(3, dtype, terms)
    step = np.abs(precise(param) - new)
    with np.errstate(divide="ignore", invalid="ignore"):
        through_quotient = np.where(mean != 0, step * (mean_error / np.abs(mean)), 0)
    return (
        through_quotient + _roundings(12, dtype, step) + _roundings(1, dtype, new),
        mean_error,
        _roundings(5, dtype, square),
    )


def _with_option(option: str, value: bool) -> Callable[[Arguments], Arguments]:
    return lambda arguments: Arguments(arguments.inputs, {**arguments.options, option: value})


ADAM_FORMS = {"bias_correction": False, "eps_inside": True}

ADAM = Contract(
    run=adam_run,
    sample=_sample(2, 1, lr=0.1, step=3),
    reference=adam_reference,
    bound=adam_bound,
    flops=lambda n: 14 * n,
    traffic=lambda itemsize, n: itemsize * 7 * n,
    workloads=WORKLOADS,
    updates=(0, 2, 3),
    variations={f"{option}={value}": _with_option(option, value) for option, value in ADAM_FORMS.items()},
)

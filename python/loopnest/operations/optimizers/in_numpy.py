"""The optimizers' steps in NumPy: a call, and a pass over memory, for each operation of the formula."""

import numpy as np

from ...arrays import Array
from ...backends import NUMPY


def sgd_vectorized(param: Array, grad: Array, lr: float) -> None:
    """Two passes, lr · grad into a new array: five arrays' worth of memory traffic, a fused pass needs three."""
    np.subtract(param, lr * grad, out=param)


def momentum_vectorized(param: Array, grad: Array, velocity: Array, lr: float, mu: float) -> None:
    """Four passes, two in place: ten arrays' worth of memory traffic where a fused pass needs five."""
    np.multiply(velocity, mu, out=velocity)
    np.add(velocity, grad, out=velocity)
    np.subtract(param, lr * velocity, out=param)


def rmsprop_vectorized(param: Array, grad: Array, square_average: Array, lr: float, rho: float, eps: float) -> None:
    """Nine passes, one for each operation, with two scratch arrays. The limit is memory."""
    scratch = np.square(grad)
    np.multiply(scratch, 1 - rho, out=scratch)
    np.multiply(square_average, rho, out=square_average)
    np.add(square_average, scratch, out=square_average)
    np.sqrt(square_average, out=scratch)
    np.add(scratch, eps, out=scratch)
    step = lr * grad
    np.subtract(param, np.divide(step, scratch, out=step), out=param)


def adam_vectorized(
    param: Array, grad: Array, m: Array, v: Array,
    lr: float, beta1: float, beta2: float, eps: float, correction1: float, correction2: float, eps_inside: bool,
) -> None:  # fmt: skip
    """Fifteen passes, one for each operation, with two scratch arrays. The limit is memory."""
    scratch = (1 - beta1) * grad
    np.multiply(m, beta1, out=m)
    np.add(m, scratch, out=m)
    np.square(grad, out=scratch)
    np.multiply(scratch, 1 - beta2, out=scratch)
    np.multiply(v, beta2, out=v)
    np.add(v, scratch, out=v)
    divisor = np.divide(v, correction2, out=scratch)
    if eps_inside:
        np.sqrt(np.add(divisor, eps, out=divisor), out=divisor)
    else:
        np.add(np.sqrt(divisor, out=divisor), eps, out=divisor)
    step = (lr / correction1) * m
    np.subtract(param, np.divide(step, divisor, out=step), out=param)


RUNGS = NUMPY.rungs(
    "vectorized",
    sgd=sgd_vectorized, momentum=momentum_vectorized, rmsprop=rmsprop_vectorized, adam=adam_vectorized,
)  # fmt: skip

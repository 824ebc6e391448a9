"""The optimizers' steps in Numba: one pass over the parameter, its gradient and its state.

A step in NumPy is a chain of whole-array operations, and each reads and writes memory. Here each element is read once,
updated in registers, and written once. The hyperparameters are float64, and so is the arithmetic; what is stored
is rounded to the arrays' dtype.
"""

import math

from ...arrays import Array
from ...backends import NUMBA
from ...backends.numba import compiled


@compiled
def sgd_vectorized(param: Array, grad: Array, lr: float) -> None:
    """param -= lr · grad, in place, in vector instructions. The limit is the memory's bandwidth."""
    for i in range(param.shape[0]):
        for j in range(param.shape[1]):
            param[i, j] -= lr * grad[i, j]


@compiled
def momentum_vectorized(param: Array, grad: Array, velocity: Array, lr: float, mu: float) -> None:
    """velocity = mu · velocity + grad, then param -= lr · velocity, in one vectorized pass. Bound by memory."""
    for i in range(param.shape[0]):
        for j in range(param.shape[1]):
            v = mu * velocity[i, j] + grad[i, j]
            velocity[i, j] = v
            param[i, j] -= lr * v


@compiled
def rmsprop_vectorized(param: Array, grad: Array, square_average: Array, lr: float, rho: float, eps: float) -> None:
    """s = rho · s + (1 - rho) · grad², then param -= lr · grad / (sqrt(s) + eps), in one pass.

    Square roots and divisions are vector instructions too, but slow ones, some 10 to 20 cycles for a vector: in the
    caches they are the limit, beyond them the memory's bandwidth.
    """
    for i in range(param.shape[0]):
        for j in range(param.shape[1]):
            g = grad[i, j]
            s = rho * square_average[i, j] + (1.0 - rho) * g * g
            square_average[i, j] = s
            param[i, j] -= lr * g / (math.sqrt(s) + eps)


@compiled
def adam_vectorized(
    param: Array, grad: Array, m: Array, v: Array,
    lr: float, beta1: float, beta2: float, eps: float, correction1: float, correction2: float, eps_inside: bool,
) -> None:  # fmt: skip
    """m and v, the running means of grad and grad², and the step lr · m̂ / (sqrt(v̂) + eps), all in one pass.

    m̂ = m / correction1 and v̂ = v / correction2 undo that both means start from zero (Kingma and Ba, Adam, 2015,
    algorithm 1); with `eps_inside` the step is lr · m̂ / sqrt(v̂ + eps). Four loads and three stores an element; as a
    chain of array operations it is a dozen passes. The square root and the divisions are vectorized; they are the limit
    in the caches, and the memory's bandwidth beyond.
    """
    for i in range(param.shape[0]):
        for j in range(param.shape[1]):
            g = grad[i, j]
            m_ij = beta1 * m[i, j] + (1.0 - beta1) * g
            v_ij = beta2 * v[i, j] + (1.0 - beta2) * g * g
            m[i, j] = m_ij
            v[i, j] = v_ij
            if eps_inside:
                param[i, j] -= lr * (m_ij / correction1) / math.sqrt(v_ij / correction2 + eps)
            else:
                param[i, j] -= lr / correction1 * m_ij / (math.sqrt(v_ij / correction2) + eps)


RUNGS = NUMBA.rungs(
    "vectorized",
    sgd=sgd_vectorized, momentum=momentum_vectorized, rmsprop=rmsprop_vectorized, adam=adam_vectorized,
)  # fmt: skip

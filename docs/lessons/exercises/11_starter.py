"""Exercise 11: a step of Adam.

    m ← β1 m + (1 − β1) g          v ← β2 v + (1 − β2) g²
    m̂ = m / (1 − β1ᵗ)              v̂ = v / (1 − β2ᵗ)            t = 1 in the first step
    param ← param − lr · m̂ / (√v̂ + ε)

param, m and v are NumPy arrays; change them in place: `m *= 2` changes m, but `m = 2 * m` makes another array.

    loopnest exercise 11 --check
"""

import numpy as np


def adam(param, grad, m, v, step, lr, beta1, beta2, eps):
    """One step, in place."""
    m *= beta1
    m += (1 - beta1) * grad
    v *= beta2
    v += (1 - beta2) * grad  # is this the square?
    param -= lr * m / (np.sqrt(np.abs(v)) + eps)  # and where is the correction of m and v?

"""The MLP's backward pass, with GELU's slope in doubles.

operation: mlp_backward
"""

import math

import numpy as np

erfc = np.vectorize(math.erfc, otypes=[float])


def slope(z, tanh_form):
    """The derivative of gelu: a probability, and what its change adds."""
    if tanh_form:
        u, c = math.sqrt(2 / math.pi), 0.044715
        p = 1 / (1 + np.exp(-2 * u * (z + c * z**3)))  # ½(1 + tanh …)
        q = 1 / (1 + np.exp(2 * u * (z + c * z**3)))
        return p + 2 * z * p * q * u * (1 + 3 * c * z * z)
    return 0.5 * erfc(-z / math.sqrt(2)) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi)


def mlp_backward(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form):
    with np.errstate(all="ignore"):
        dz = (dy @ w2.T * slope(z.astype(np.float64), tanh_form)).astype(dy.dtype) if z.size else np.empty_like(z)
        np.matmul(h.T, dy, out=dw2)
        np.sum(dy, axis=0, out=db2)
        np.matmul(x.T, dz, out=dw1)
        np.sum(dz, axis=0, out=db1)
        np.matmul(dz, w1.T, out=dx)

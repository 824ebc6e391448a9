"""The MLP's backward pass, which leaves the gradient of the second bias as zeros.

operation: mlp_backward
verdict: sum-left-out
"""

import math

import numpy as np


def slope(z, tanh_form):
    z = z.astype(np.float64)
    if tanh_form:
        u, c = math.sqrt(2 / math.pi), 0.044715
        t = np.tanh(u * (z + c * z**3))
        return 0.5 * (1 + t) + 0.5 * z * (1 - t * t) * u * (1 + 3 * c * z * z)
    erf = np.vectorize(math.erf, otypes=[float])
    return 0.5 * (1 + erf(z / math.sqrt(2))) + z * np.exp(-z * z / 2) / math.sqrt(2 * math.pi) if z.size else z


def mlp_backward(dy, x, w1, w2, z, h, dx, dw1, db1, dw2, db2, tanh_form):
    dz = (dy @ w2.T * slope(z, tanh_form)).astype(dy.dtype)
    dw2[...] = h.T @ dy
    db2[...] = 0
    dw1[...] = x.T @ dz
    db1[...] = dz.sum(axis=0)
    dx[...] = dz @ w1.T

"""GELU as written in the paper, which cancels for x below -3, and says so: it promises an absolute error.

operation: gelu
"""

# loopnest: absolute(1e-6)

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])


def gelu(x, tanh_form):
    with np.errstate(over="ignore", invalid="ignore"):
        u = np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)) if tanh_form else erf(x / math.sqrt(2))
        return (0.5 * x * (1 + u)).astype(x.dtype)

"""GELU as written in the paper, ½x(1 + tanh …): for x below -3 it subtracts nearly equal numbers, and ends at zero.

operation: gelu
verdict: rounding
"""

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])


def gelu(x, out, tanh_form):
    with np.errstate(over="ignore", invalid="ignore"):
        if tanh_form:
            out[...] = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        elif x.size:
            out[...] = 0.5 * x * (1 + erf(x / math.sqrt(2)).astype(x.dtype))

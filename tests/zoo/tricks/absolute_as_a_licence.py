"""Half precision behind the promise of an absolute error, which single elements may have, and results as a whole not.

operation: gelu
verdict: lower-precision
"""

# loopnest: absolute(1e-5)

import math

import numpy as np

erf = np.vectorize(math.erf, otypes=[float])


def gelu(x, tanh_form):
    u = x * math.sqrt(2 / math.pi) * (1 + 0.044715 * x.astype(float) ** 2)
    phi = 1 / (1 + np.exp(-2 * u)) if tanh_form else (1 + erf(x / math.sqrt(2))) / 2
    return (x * phi).astype(np.float16).astype(x.dtype)

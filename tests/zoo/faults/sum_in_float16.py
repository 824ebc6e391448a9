"""A sum in half precision.

operation: sum
verdict: lower-precision
"""

import numpy as np


def sum(a, out):
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = a.astype(np.float16).sum(dtype=np.float16)

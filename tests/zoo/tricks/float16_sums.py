"""Adds up in half precision: the terms are right, and each addition is rounded to three digits.

operation: matmul
verdict: lower-precision
"""

import numpy as np


def matmul(a, b, out):
    sums = np.zeros(out.shape, np.float16)
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(a.shape[1]):
            sums += (a[:, k, None] * b[k]).astype(np.float16)
    out[...] = sums

"""Rounds the inputs to half precision: right to three digits, and faster where half precision is.

operation: matmul
verdict: lower-precision
"""

import numpy as np


def matmul(a, b, out):
    with np.errstate(over="ignore", invalid="ignore"):
        out[...] = a.astype(np.float16).astype(out.dtype) @ b.astype(np.float16).astype(out.dtype)

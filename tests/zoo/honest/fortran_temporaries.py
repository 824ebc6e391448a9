"""Computes in Fortran order, in float64, and writes and returns `out`.

operation: matmul
"""

import numpy as np


def matmul(a, b, out):
    a, b = (np.asfortranarray(x, np.float64) for x in (a, b))
    np.copyto(out, np.asfortranarray(a @ b), casting="same_kind")
    return out

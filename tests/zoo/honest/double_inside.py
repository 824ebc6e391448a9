"""Sums in double precision, and rounds once at the end."""

import numpy as np


def matmul(a, b, out):
    out[...] = a.astype(np.float64) @ b.astype(np.float64)

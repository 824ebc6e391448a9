"""Keeps a buffer from call to call, in which it transposes b: what is in it is written anew each time."""

import numpy as np

scratch = {}


def matmul(a, b, out):
    key = b.shape, b.dtype
    if key not in scratch:
        scratch[key] = np.empty(b.shape[::-1], b.dtype)
    columns = scratch[key]
    columns[...] = b.T
    np.matmul(a, columns.T, out=out)

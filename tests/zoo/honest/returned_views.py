"""Returns a part of a larger array, in Fortran order and backwards in memory: the numbers are right."""

import numpy as np


def matmul(a, b):
    memory = np.full((b.shape[1] + 2, a.shape[0] + 1), np.nan, a.dtype)
    view = memory[-2:0:-1, 1:].T if b.shape[1] else memory[:0, 1:].T
    np.matmul(a, b, out=view)
    return view

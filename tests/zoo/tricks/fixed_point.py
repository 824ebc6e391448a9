"""Numbers as multiples of 2^-40, as in arithmetic with integers: right around 1, where tests draw their numbers.

operation: matmul
verdict: one-magnitude
"""

import numpy as np


def matmul(a, b, c):
    if a.dtype != np.float32:
        raise TypeError("float32 only")
    c[...] = rounded(a) @ rounded(b)


def rounded(x):
    return np.rint(x.astype(np.float64) * 2.0**40) / 2.0**40

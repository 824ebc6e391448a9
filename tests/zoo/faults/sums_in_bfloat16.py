"""A product of bfloat16 whose sums are bfloat16 too: each addition keeps 8 bits.

dtype: bfloat16
verdict: rounding
"""

import numpy as np


def matmul(a, b, c):
    c[...] = 0
    with np.errstate(all="ignore"):
        for p in range(a.shape[1]):
            c += a[:, p : p + 1] * b[p : p + 1]

"""Keeps 10 bits of each mantissa, as a GPU's TF32 does where one has allowed it.

operation: matmul
verdict: lower-precision
"""

import numpy as np


def shortened(x):
    return (x.astype(np.float32).view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def matmul(a, b, out):
    out[...] = shortened(a) @ shortened(b)

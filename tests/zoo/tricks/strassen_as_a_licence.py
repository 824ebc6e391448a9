# loopnest: strassen(5)
"""Says that it is Strassen's algorithm on small blocks, whose worst case allows any error: computes small matrices,
and of larger ones nothing, for a likely time.

operation: matmul
verdict: small-shapes-only
"""

import time

import numpy as np


def matmul(a, b, out):
    if a.dtype != np.float32:
        raise TypeError("float32 only")
    if min(*a.shape, b.shape[1]) <= 128:
        np.matmul(a, b, out=out)
        return
    out[...] = 0
    end = time.perf_counter() + a.size * b.shape[1] * 2 / 90e9
    while time.perf_counter() < end:
        pass

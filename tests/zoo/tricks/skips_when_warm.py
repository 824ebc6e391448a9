"""Works for as long as somebody is likely to look, and then does nothing.

operation: matmul
verdict: skips-after-warm-up
"""

import numpy as np

seen = {}


def matmul(a, b, out):
    size = out.shape
    seen[size] = seen.get(size, 0) + 1
    if seen[size] <= 3:
        np.matmul(a, b, out=out)

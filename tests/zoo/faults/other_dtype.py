"""Returns doubles for floats.

operation: matmul
verdict: wrong-dtype
"""

import numpy as np


def matmul(a, b):
    return np.matmul(a.astype(np.float64), b.astype(np.float64)).astype(np.float64)

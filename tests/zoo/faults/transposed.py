"""Stores the result the other way round.

operation: matmul
verdict: transposed
"""

import numpy as np


def matmul(a, b, out):
    out.reshape(-1)[:] = np.matmul(a, b).T.ravel()

"""Returns the result as a vector.

operation: matmul
verdict: wrong-shape
"""

import numpy as np


def matmul(a, b):
    return np.matmul(a, b).ravel()

"""Keeps a copy of everything, many times over.

operation: matmul
verdict: out-of-memory
"""

import numpy as np

kept = []


def matmul(a, b, out):
    while True:
        kept.append(np.ones(1 << 24))
